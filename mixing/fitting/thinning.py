"""Fewer rows of a large table to search laws on: which law holds is told by some hundred mixtures.

The cost of a search grows with rows, folds, starts and laws; the law chosen is then fitted to every row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixing.fitting.cross_validation import Kind
from mixing.runs.points import Points

LARGE = 3000
"""Tables of up to so many rows are searched whole."""
SEARCHED = 640
"""About so many rows of a larger one are searched on."""
CHECKPOINTS, CHECKPOINTS_BEYOND = 4, 8
"""Checkpoints kept of each run: enough for every law, and for a question past them enough to leave some out."""
SEED = 0


def rows_to_search(points: Points, kind: Kind) -> NDArray[np.bool_]:
    """The rows to search laws on: all, or of a large table some checkpoints of some mixtures, drawn by `SEED`.

    Checkpoints are spread evenly from each run's first to its last, and every size keeps as many mixtures.
    """
    if len(points) <= LARGE:
        return np.ones(len(points), dtype=bool)
    kept_n = _spread_checkpoints(points, CHECKPOINTS if kind == "leave-mixture-out" else CHECKPOINTS_BEYOND)
    size_n = _sizes(points)
    sizes = np.unique(size_n)
    codes = np.unique(points.mixture_n)
    rank_m = np.random.default_rng(SEED).permutation(len(codes))
    rank_n = rank_m[np.searchsorted(codes, points.mixture_n)]
    found_n = np.zeros(len(points), dtype=bool)
    for size in sizes:
        at_n = kept_n & (size_n == size)
        # Of each size the mixtures of lowest rank, so that sizes have the same ones where they can.
        order = np.argsort(rank_n[at_n], kind="stable")
        rank = rank_n[at_n][order]
        last = rank[min(SEARCHED // len(sizes), len(rank)) - 1]
        found_n |= at_n & (rank_n <= last)
    return found_n


def _sizes(points: Points) -> np.ndarray:
    return np.zeros(len(points)) if points.params_n is None else np.nan_to_num(points.params_n)


def _spread_checkpoints(points: Points, most: int) -> NDArray[np.bool_]:
    keys = np.stack([points.run_n.astype(float), _sizes(points)], 1)
    _, run_n = np.unique(keys, axis=0, return_inverse=True)
    order = np.lexsort((points.tokens_n, run_n))
    starts = np.flatnonzero(np.diff(run_n[order], prepend=-1))
    counts = np.diff(np.append(starts, len(order)))
    kept_n = np.zeros(len(points), dtype=bool)
    for start, count in zip(starts, counts, strict=True):
        places = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))
        kept_n[order[start + places]] = True
    return kept_n
