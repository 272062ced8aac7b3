"""A law, and what it leaves unexplained given to a regressor: the formula carries, the correction follows the runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.fitting.engine import fit
from mixing.laws.base import Fitted, Law, NotApplicable, Regressor, Traits
from mixing.runs.points import Points

FEWEST = 30
"""Mixtures below which residuals hold little but noise: with 20 the correction of a process was none."""


@dataclass(frozen=True)
class FittedCorrection:
    law: Fitted
    correction: Fitted

    def predict(self, points: Points) -> Floats:
        return self.law.predict(points) + self.correction.predict(points)

    def named(self) -> dict[str, float]:
        return self.law.named() | self.correction.named()


@dataclass(frozen=True)
class Corrected(Traits):
    """`law` fitted first, then `regressor` on its residuals."""

    name: str
    title: str
    law: Law
    regressor: Regressor
    source: str = "ours: universal kriging with a law as its mean, and the same with trees"

    @property
    def needs(self) -> str:
        return self.law.needs

    @property
    def caution(self) -> str:
        return f"past the trained range it knows no more than its law ({self.law.caution})"

    @property
    def formula(self) -> str:
        return f"{self.law.name} + {self.regressor.name} on its residuals"

    @property
    def min_mixtures(self) -> int:
        return max(self.law.min_mixtures, self.regressor.min_mixtures, FEWEST)

    def usable(self, points: Points) -> NDArray[np.bool_]:
        return self.law.usable(points) & self.regressor.usable(points)

    def fit(self, points: Points, losses_vn: Floats) -> list[FittedCorrection]:
        """Raises NotApplicable where the law or the regressor does."""
        mixtures = len(np.unique(points.mixture_n))
        if mixtures < self.min_mixtures:
            raise NotApplicable(f"needs {self.min_mixtures} different mixtures")
        laws = fit(self.law, points, losses_vn)
        rest_vn = losses_vn - np.concatenate([solution.predict(points) for solution in laws])
        corrections = self.regressor.fit(points, rest_vn)
        return [FittedCorrection(*pair) for pair in zip(laws, corrections, strict=True)]
