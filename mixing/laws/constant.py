"""The constant baseline: at each checkpoint, the mean over mixtures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mixing.arrays import Floats
from mixing.laws.base import FormulaTraits, NotApplicable, Parameter
from mixing.runs.points import Points


def nearest_checkpoint(tokens_n: Floats, checkpoints_t: Floats) -> Floats:
    """One-hot onehot_nt of the nearest checkpoint in log tokens."""
    if not len(checkpoints_t):
        return np.zeros((len(tokens_n), 0))
    distance_nt = np.abs(np.log(tokens_n)[:, None] - np.log(checkpoints_t)[None, :])
    return np.asarray(np.eye(len(checkpoints_t))[distance_nt.argmin(1)])


@dataclass(frozen=True)
class Constant(FormulaTraits):
    """L(p, T_t) = m_t. What any law must beat; it carries the nearest checkpoint to other budgets."""

    name: str = "constant"
    title: str = "Constant"
    formula: str = "L(p, T_t) = m_t"
    source: str = "baseline"
    needs: str = "nothing but losses"
    caution: str = "cannot rank mixtures; other budgets get the nearest checkpoint"
    min_mixtures: int = 1
    checkpoints_t: Floats = field(default_factory=lambda: np.empty(0), compare=False)

    baseline = True
    ranks_mixtures = False
    per_budget = True

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    @property
    def linear(self) -> tuple[str, ...]:
        return tuple(f"mean:{int(t)}" for t in self.checkpoints_t)

    def prepare(self, points: Points) -> Constant:
        if not len(points):
            raise NotApplicable("no rows")
        return replace(self, checkpoints_t=np.unique(points.tokens_n))

    def starts(self, points: Points, losses_n: Floats) -> Floats:
        return np.empty((1, 0))

    def basis(self, theta_bq: Floats, points: Points) -> Floats:
        onehot_nt = nearest_checkpoint(points.tokens_n, self.checkpoints_t)
        return np.broadcast_to(onehot_nt, (len(theta_bq), *onehot_nt.shape))

    def jacobian(self, theta_bq: Floats, linear_bl: Floats, points: Points) -> Floats:
        return np.empty((len(theta_bq), 0, len(points)))
