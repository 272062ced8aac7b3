"""The D-CPT law (Que et al., NeurIPS 2024, arXiv 2406.01375): one loss over size N, tokens D and its own share r.

    L(N, D, r) = E + A / N^alpha + B r^eta / D^beta + C / (r + eps)^gamma

r is the share of the corpus whose loss is predicted. All coefficients are positive, so that L falls with N and D; it
falls with r where the last term outweighs the third, which `mixing.laws.reference.falls_with_share` checks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.laws.base import FormulaTraits, NotApplicable, Parameter
from mixing.runs.points import Points


@dataclass(frozen=True)
class DCpt(FormulaTraits):
    """Terms in N and D are there where a table has several sizes and checkpoints."""

    name: str = "d-cpt"
    title: str = "D-CPT law"
    formula: str = "L(N,D,r) = E + A/N^alpha + B r^eta/D^beta + C/(r+eps)^gamma"
    source: str = "Que et al. 2024, arXiv 2406.01375"
    needs: str = "the share of the loss's own source; params and tokens where they vary"
    caution: str = "small shares, where it is steep; wherever `falls_with_share` does not hold"
    min_mixtures: int = 3
    has_sizes: bool = False
    has_budgets: bool = False
    size_unit: float = 1.0

    floor = "+E"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        parameters = [
            Parameter("gamma", 0.02, 4.0, "power of the share", 0.5, 0.7),
            Parameter(
                "ln_eps", -7.0, 1.0, "what keeps the share's term finite at 0, as a logarithm", -2.0, 1.5
            ),
        ]
        if self.has_sizes:
            parameters.append(Parameter("alpha", 0.02, 2.0, "power of size", 0.35, 0.2))
        if self.has_budgets:
            parameters.append(Parameter("beta", 0.02, 2.0, "power of tokens", 0.35, 0.2))
            parameters.append(
                Parameter("eta", 0.0, 4.0, "power of the share in the term of tokens", 0.3, 0.5)
            )
        return tuple(parameters)

    @property
    def linear(self) -> tuple[str, ...]:
        return ("+E", "+C", *(("+A",) if self.has_sizes else ()), *(("+B",) if self.has_budgets else ()))

    def usable(self, points: Points) -> NDArray[np.bool_]:
        return np.asarray(np.isnan(points.target_n) | (points.target_n > 1e-6))

    def prepare(self, points: Points) -> DCpt:
        if np.isnan(points.target_n).any():
            raise NotApplicable("needs the share of the loss's own source: a domain of the same name")
        if len(np.unique(points.target_n.round(9))) < self.min_mixtures:
            raise NotApplicable(f"needs {self.min_mixtures} different shares of the loss's own source")
        sizes = np.empty(0) if points.params_n is None else np.unique(points.params_n[points.params_n > 0])
        return replace(
            self,
            has_sizes=len(sizes) >= 2,
            has_budgets=len(np.unique(points.tokens_n)) >= 3,
            size_unit=float(np.exp(np.log(sizes).mean())) if len(sizes) else 1.0,
        )

    def starts(self, points: Points, losses_n: Floats) -> Floats:
        expected = np.array([p.expected for p in self.parameters])
        rows = []
        for gamma, ln_eps in ((0.3, -3.0), (1.0, -1.0), (3.0, 0.5)):
            row = expected.copy()
            row[:2] = gamma, ln_eps
            rows.append(row)
        return np.array(rows)

    def basis(self, theta_bq: Floats, points: Points) -> Floats:
        shifted_bn = points.target_n + np.exp(theta_bq[:, 1:2])
        columns = [np.ones_like(shifted_bn), shifted_bn ** -theta_bq[:, :1]]
        columns += [self._size(theta_bq, points)] if self.has_sizes else []
        columns += [self._tokens(theta_bq, points)] if self.has_budgets else []
        return np.stack(columns, axis=-1)

    def jacobian(self, theta_bq: Floats, linear_bl: Floats, points: Points) -> Floats:
        eps_b1 = np.exp(theta_bq[:, 1:2])
        shifted_bn = points.target_n + eps_b1
        term_bn = linear_bl[:, 1:2] * shifted_bn ** -theta_bq[:, :1]
        rows = [-np.log(shifted_bn) * term_bn, -theta_bq[:, :1] * eps_b1 / shifted_bn * term_bn]
        if self.has_sizes:
            log_n = np.log(self._sizes(points))
            rows.append(-log_n * self._size(theta_bq, points) * linear_bl[:, 2:3])
        if self.has_budgets:
            term_bn = self._tokens(theta_bq, points) * linear_bl[:, -1:]
            rows += [
                -np.log(points.tokens_n / points.token_unit) * term_bn,
                np.log(points.target_n) * term_bn,
            ]
        return np.stack(rows, axis=1)

    def _sizes(self, points: Points) -> Floats:
        if points.params_n is None:
            raise NotApplicable("the points name no sizes")
        return np.asarray(points.params_n / self.size_unit)

    def _size(self, theta_bq: Floats, points: Points) -> Floats:
        return np.asarray(np.exp(-theta_bq[:, 2:3] * np.log(self._sizes(points))))

    def _tokens(self, theta_bq: Floats, points: Points) -> Floats:
        tokens_bn = np.exp(-theta_bq[:, -2:-1] * np.log(points.tokens_n / points.token_unit))
        return np.asarray(tokens_bn * np.exp(theta_bq[:, -1:] * np.log(points.target_n)))
