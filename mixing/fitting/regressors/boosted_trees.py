"""LightGBM, as RegMix uses it (Liu et al., ICLR 2025, arXiv 2407.01492), without its stop on the test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixing.arrays import Floats
from mixing.fitting.regressors.gaussian_process import inputs
from mixing.laws.base import NotApplicable, Traits
from mixing.runs.points import Points

TREES, LEARNING_RATE = 300, 0.03
"""Fixed: an early stop would need rows that then may not be scored."""


@dataclass(frozen=True)
class FittedTrees:
    booster: Any

    def predict(self, points: Points) -> Floats:
        return np.asarray(self.booster.predict(inputs(points), num_threads=1))[None, :]

    def named(self) -> dict[str, float]:
        return {"trees": float(self.booster.num_trees())}


@dataclass(frozen=True)
class BoostedTrees(Traits):
    """Gradient-boosted regression trees on the shares: flexible, and flat beyond the runs they have seen."""

    name: str = "lightgbm"
    title: str = "LightGBM"
    formula: str = "L(p) = sum of regression trees"
    source: str = "Ke et al. 2017; RegMix, arXiv 2407.01492"
    needs: str = "shares; tokens and params where they vary"
    caution: str = "beyond the trained shares, budgets or sizes, where it is flat"
    min_mixtures: int = 30
    trees: int = TREES

    def fit(self, points: Points, losses_vn: Floats) -> list[FittedTrees]:
        """One booster per loss; raises NotApplicable for too few mixtures to split."""
        if len(np.unique(points.mixture_n)) < self.min_mixtures:
            raise NotApplicable(f"needs {self.min_mixtures} different mixtures")
        import lightgbm

        settings = {
            "objective": "l2",
            "learning_rate": LEARNING_RATE,
            "min_data_in_leaf": 10,
            "num_threads": 1,
            "deterministic": True,
            "seed": 0,
            "verbose": -1,
        }
        x_nm = inputs(points)
        return [
            FittedTrees(lightgbm.train(settings, lightgbm.Dataset(x_nm, y_n), self.trees))
            for y_n in losses_vn
        ]
