"""AutoScale's power form (Kang et al. 2024, arXiv 2407.20177): each source counts by a power of its own tokens.

    L = E + sum_j A_j (n_j + h_j D)^-g_j

n_j stands for what the other sources and the base model already gave of source j (the paper's N0). Sources add up,
so one never makes another worth more: the optimum moves with scale, because the powers differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixing.arrays import Floats
from mixing.laws.base import FormulaTraits, NotApplicable, Parameter
from mixing.runs.points import Points


@dataclass(frozen=True)
class AutoScale(FormulaTraits):
    """The sum of one power law per source, in tokens of that source."""

    name: str = "autoscale"
    title: str = "AutoScale's power form"
    formula: str = "L = E + sum_j A_j (n_j + h_j D)^-g_j"
    source: str = "Kang et al. 2024, arXiv 2407.20177"
    needs: str = "shares; tokens where they vary"
    caution: str = "sources that help each other; other sizes; other budgets when one was trained"
    min_mixtures: int = 4
    domains: int = 0

    floor = "+E"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        k = self.domains
        known = [
            Parameter(f"ln_n{i}", -8.0, 3.0, "tokens already known of a source", -3.0, 1.5) for i in range(k)
        ]
        powers = [Parameter(f"g{i}", 0.02, 2.0, "power of a source's tokens", 0.35, 0.2) for i in range(k)]
        return (*known, *powers)

    @property
    def linear(self) -> tuple[str, ...]:
        return ("+E", *(f"+A{i}" for i in range(self.domains)))

    def prepare(self, points: Points) -> AutoScale:
        if len(np.unique(points.mixture_n)) < self.min_mixtures:
            raise NotApplicable(f"needs {self.min_mixtures} different mixtures")
        ready = replace(self, domains=points.shares_nd.shape[1])
        if len(points) <= ready.domains + 1:
            raise NotApplicable(f"needs more than {ready.domains + 1} rows, one per source and a floor")
        return ready

    def starts(self, points: Points, losses_n: Floats) -> Floats:
        return np.array([[n] * self.domains + [g] * self.domains for n, g in ((-3.0, 0.35),)])

    def basis(self, theta_bq: Floats, points: Points) -> Floats:
        powers_bkn = self._powers(theta_bq, points)[1]
        ones_bn = np.ones((len(theta_bq), len(points)))
        return np.concatenate([ones_bn[..., None], powers_bkn.swapaxes(1, 2)], axis=-1)

    def jacobian(self, theta_bq: Floats, linear_bl: Floats, points: Points) -> Floats:
        k = self.domains
        amount_bkn, powers_bkn = self._powers(theta_bq, points)
        terms_bkn = powers_bkn * linear_bl[:, 1:, None]
        known_bk, power_bk = np.exp(theta_bq[:, :k]), theta_bq[:, k:]
        by_known_bkn = -(power_bk * known_bk)[..., None] * terms_bkn / amount_bkn
        return np.concatenate([by_known_bkn, -np.log(amount_bkn) * terms_bkn], axis=1)

    def _powers(self, theta_bq: Floats, points: Points) -> tuple[Floats, Floats]:
        k = self.domains
        seen_kn = points.shares_nd.T * (points.tokens_n / points.token_unit)
        amount_bkn = np.exp(theta_bq[:, :k, None]) + seen_kn
        return amount_bkn, np.exp(-theta_bq[:, k:, None] * np.log(amount_bkn))
