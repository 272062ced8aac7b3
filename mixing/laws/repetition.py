"""The worth of text that is read more than once (Muennighoff et al. 2023, arXiv 2305.16264)."""

from __future__ import annotations

import numpy as np

from mixing.arrays import Floats

TOKEN_HALF_LIFE = 15.387756
"""R_D: the repetitions after which a further one is worth 1/e of the first."""
PARAMETER_HALF_LIFE = 5.309743
"""R_N: the same for parameters in excess of what the unique tokens need."""


def effective(amount: Floats | float, unique: Floats | float, half_life: float = TOKEN_HALF_LIFE) -> Floats:
    """What `amount` is worth in fresh units when only `unique` are different (the same units): their equation 5.

    U + U R (1 - exp(-(D / U - 1) / R)) for D above U, D itself below; an infinite U is no limit.
    """
    amount, unique = np.asarray(amount, dtype=float), np.asarray(unique, dtype=float)
    repeats = np.maximum(amount / np.maximum(unique, 1e-300) - 1, 0.0)
    limited = np.where(np.isfinite(unique), unique, 0.0)
    return np.asarray(np.minimum(amount, unique) + limited * half_life * -np.expm1(-repeats / half_life))
