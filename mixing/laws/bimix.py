"""BiMix (Ge et al. 2024, arXiv 2405.14908): a loss from its own source's share and the tokens, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.laws.base import FormulaTraits, NotApplicable, Parameter
from mixing.runs.points import Points


@dataclass(frozen=True)
class BiMix(FormulaTraits):
    """L_i(r_i, s) = A_i / r_i^alpha_i * (B_i / s^beta_i + C_i); A is absorbed, 4 parameters are identifiable."""

    name: str = "bimix"
    title: str = "BiMix"
    formula: str = "L_i(r_i, s) = (B / s^beta + C) / r_i^alpha"
    source: str = "Ge et al. 2024, arXiv 2405.14908"
    needs: str = "the share of the loss's own source; tokens where they vary"
    caution: str = "shares near 0, where it diverges; other sources that help or hurt; other sizes"
    min_mixtures: int = 3
    has_budgets: bool = False

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        own = Parameter("alpha", -3.0, 3.0, "power of the loss's own share", 0.1, 1.0)
        tokens = Parameter("beta", 0.02, 2.0, "power of tokens", 0.35, 0.3)
        return (own, tokens) if self.has_budgets else (own,)

    @property
    def linear(self) -> tuple[str, ...]:
        return ("C", "B") if self.has_budgets else ("C",)

    def usable(self, points: Points) -> NDArray[np.bool_]:
        """It diverges where the own share is 0."""
        return np.asarray(np.isnan(points.target_n) | (points.target_n > 1e-6))

    def prepare(self, points: Points) -> BiMix:
        if np.isnan(points.target_n).any():
            raise NotApplicable("needs the share of the loss's own source: a domain of the same name")
        if len(np.unique(points.target_n.round(9))) < self.min_mixtures:
            raise NotApplicable(f"needs {self.min_mixtures} different shares of the loss's own source")
        return replace(self, has_budgets=len(np.unique(points.tokens_n)) >= 3)

    def starts(self, points: Points, losses_n: Floats) -> Floats:
        return np.array([(a, 0.35)[: len(self.parameters)] for a in (-0.5, 0.05, 0.5)])

    def basis(self, theta_bq: Floats, points: Points) -> Floats:
        own_bn = np.exp(-theta_bq[:, :1] * np.log(points.target_n))
        if not self.has_budgets:
            return own_bn[..., None]
        return np.stack([own_bn, own_bn * self._tokens(theta_bq, points)], axis=-1)

    def jacobian(self, theta_bq: Floats, linear_bl: Floats, points: Points) -> Floats:
        predicted_bn = (self.basis(theta_bq, points) @ linear_bl[..., None])[..., 0]
        rows = [-np.log(points.target_n) * predicted_bn]
        if self.has_budgets:
            own_bn = np.exp(-theta_bq[:, :1] * np.log(points.target_n))
            moved_bn = own_bn * self._tokens(theta_bq, points) * linear_bl[:, 1:2]
            rows.append(-np.log(points.tokens_n / points.token_unit) * moved_bn)
        return np.stack(rows, axis=1)

    @staticmethod
    def _tokens(theta_bq: Floats, points: Points) -> Floats:
        return np.asarray(np.exp(-theta_bq[:, 1:2] * np.log(points.tokens_n / points.token_unit)))
