"""The linear baseline: at each checkpoint, a loss that is linear in the shares."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mixing.arrays import Floats
from mixing.laws.base import FormulaTraits, NotApplicable, Parameter
from mixing.laws.constant import nearest_checkpoint
from mixing.runs.points import Points


@dataclass(frozen=True)
class Linear(FormulaTraits):
    """L(p, T_t) = sum_d a_td p_d; shares sum to 1, so an intercept would say nothing new."""

    name: str = "linear"
    title: str = "Linear"
    formula: str = "L(p, T_t) = sum_d a_td p_d"
    source: str = "baseline"
    needs: str = "shares"
    caution: str = (
        "a loss that bends with a share, fewer mixtures than sources, budgets past the trained ones"
    )
    min_mixtures: int = 2
    checkpoints_t: Floats = field(default_factory=lambda: np.empty(0), compare=False)
    n_domains: int = 0

    baseline = True
    per_budget = True

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    @property
    def linear(self) -> tuple[str, ...]:
        return tuple(f"a{d}:{int(t)}" for t in self.checkpoints_t for d in range(self.n_domains))

    def prepare(self, points: Points) -> Linear:
        if len(np.unique(points.mixture_n)) < 2:
            raise NotApplicable("needs two different mixtures")
        return replace(self, checkpoints_t=np.unique(points.tokens_n), n_domains=points.shares_nd.shape[1])

    def starts(self, points: Points, losses_n: Floats) -> Floats:
        return np.empty((1, 0))

    def basis(self, theta_bq: Floats, points: Points) -> Floats:
        onehot_nt = nearest_checkpoint(points.tokens_n, self.checkpoints_t)
        basis_nl = np.einsum("nt,nd->ntd", onehot_nt, points.shares_nd).reshape(len(points), -1)
        return np.broadcast_to(basis_nl, (len(theta_bq), *basis_nl.shape))

    def jacobian(self, theta_bq: Floats, linear_bl: Floats, points: Points) -> Floats:
        return np.empty((len(theta_bq), 0, len(points)))
