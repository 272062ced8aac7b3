"""Stacking (Wolpert 1992; Breiman 1996): models averaged with the weights that predict best what none of them saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from mixing.arrays import Floats
from mixing.laws.base import Fitted
from mixing.runs.points import Points

SMALLEST = 0.03
"""Weights below are dropped: a model that adds so little is not worth its cost."""


@dataclass(frozen=True)
class Blend:
    """A weighted mean of fitted models; `weights` by name sum to 1."""

    members: Sequence[Fitted]
    weights: dict[str, float]

    def predict(self, points: Points) -> Floats:
        return np.asarray(
            sum(w * m.predict(points) for w, m in zip(self.weights.values(), self.members, strict=True))
        )

    def named(self) -> dict[str, float]:
        return {f"weight {name}": weight for name, weight in self.weights.items()}


def blend_weights(held_out_mn: Floats, losses_n: Floats) -> Floats:
    """weights_m >= 0 that sum to 1, from predictions of m models for rows that their fits had not seen."""
    # The sum is one more equation, weighed so that it holds.
    centred_nm = (held_out_mn - losses_n).T
    weight = 1e3 * (np.abs(centred_nm).max() + 1e-12) * np.sqrt(len(losses_n))
    design = np.concatenate([centred_nm, np.full((1, len(held_out_mn)), weight)])
    found_m = nnls(design, np.concatenate([np.zeros(len(losses_n)), [weight]]))[0]
    found_m = np.where(found_m < SMALLEST * found_m.sum(), 0.0, found_m)
    return np.asarray(found_m / found_m.sum())


def cross_fitted(held_out_mn: Floats, losses_n: Floats, folds: Sequence[np.ndarray]) -> Floats:
    """The blend's own held-out predictions: each fold is blended with weights found on the other folds."""
    predicted_n = np.full(len(losses_n), np.nan)
    for fold in folds:
        others = ~fold & ~np.isnan(held_out_mn).any(0)
        weights_m = blend_weights(held_out_mn[:, others], losses_n[others])
        predicted_n[fold] = weights_m @ held_out_mn[:, fold]
    return predicted_n
