"""The quadratic mixture polynomial (Scheffe 1958): linear in shares and in products of two shares."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mixing.arrays import Floats
from mixing.laws.base import FormulaTraits, NotApplicable, Parameter
from mixing.laws.constant import nearest_checkpoint
from mixing.runs.points import Points


@dataclass(frozen=True)
class Scheffe(FormulaTraits):
    """L(p, T_t) = sum_d a_td p_d + sum_{d<e} b_tde p_d p_e; k (k + 1) / 2 parameters per checkpoint."""

    name: str = "scheffe"
    title: str = "Quadratic Scheffe polynomial"
    formula: str = "L(p, T_t) = sum_d a_td p_d + sum_{d<e} b_tde p_d p_e"
    source: str = "Scheffe 1958, J. R. Stat. Soc. B 20(2)"
    needs: str = "shares, and more mixtures than pairs of sources"
    caution: str = "the edges of the simplex, shares outside the trained ones, other budgets"
    min_mixtures: int = 4
    checkpoints_t: Floats = field(default_factory=lambda: np.empty(0), compare=False)
    n_domains: int = 0

    per_budget = True

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    @property
    def linear(self) -> tuple[str, ...]:
        k = self.n_domains
        terms = [f"a{d}" for d in range(k)] + [f"b{d}.{e}" for d in range(k) for e in range(d + 1, k)]
        return tuple(f"{term}:{int(t)}" for t in self.checkpoints_t for term in terms)

    def prepare(self, points: Points) -> Scheffe:
        k = points.shares_nd.shape[1]
        mixtures = len(np.unique(points.mixture_n))
        if mixtures <= k * (k + 1) // 2:
            raise NotApplicable(
                f"has {k * (k + 1) // 2} parameters for {k} sources, and {mixtures} mixtures were trained"
            )
        return replace(self, checkpoints_t=np.unique(points.tokens_n), n_domains=k)

    def starts(self, points: Points, losses_n: Floats) -> Floats:
        return np.empty((1, 0))

    def basis(self, theta_bq: Floats, points: Points) -> Floats:
        first, second = np.triu_indices(self.n_domains, 1)
        terms_nm = np.concatenate(
            [points.shares_nd, points.shares_nd[:, first] * points.shares_nd[:, second]], 1
        )
        onehot_nt = nearest_checkpoint(points.tokens_n, self.checkpoints_t)
        basis_nl = (onehot_nt[:, :, None] * terms_nm[:, None, :]).reshape(len(points), -1)
        return np.broadcast_to(basis_nl, (len(theta_bq), *basis_nl.shape))

    def jacobian(self, theta_bq: Floats, linear_bl: Floats, points: Points) -> Floats:
        return np.empty((len(theta_bq), 0, len(points)))
