"""Many runs as few: what a surface over shares and tokens needs of a large table.

A surface has a handful of parameters, so that runs of nearly one share tell it no more than their mean does. Levels and
scatter are still those of every run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixing.arrays import Floats, Ints
from mixing.decision.critical_ratio.run_noise import Noise
from mixing.runs.points import Points

MOST_RUNS = 30
"""More runs than this are brought together in so many groups of neighbours in share."""


@dataclass(frozen=True)
class MergedRuns:
    """Points of groups of runs; `group_n` is the merged row of each row, `runs_per_group` how many runs are in one."""

    points: Points
    group_n: Ints
    runs_per_group: float

    def mean(self, values_n: Floats) -> Floats:
        """The mean of the values at each merged row."""
        return np.asarray(np.bincount(self.group_n, values_n) / np.bincount(self.group_n))

    def noise(self, of_runs: Noise) -> Noise:
        """The noise of a group's mean."""
        root = np.sqrt(self.runs_per_group)
        return replace(of_runs, run=of_runs.run / root, checkpoint=of_runs.checkpoint / root)


def merged_runs(points: Points) -> MergedRuns:
    """The same points where runs are few, or have no budgets in common; else at most `MOST_RUNS` for each budget."""
    run_r, first_r, run_of_n = np.unique(points.run_n, return_index=True, return_inverse=True)
    same = MergedRuns(points, np.arange(len(points)), 1.0)
    if len(run_r) <= MOST_RUNS:
        return same
    rank_r = np.argsort(np.argsort(points.target_n[first_r], kind="stable"), kind="stable")
    part_r = rank_r * MOST_RUNS // len(run_r)
    _, budget_n = np.unique(points.tokens_n, return_inverse=True)
    _, first_m, group_n = np.unique(
        part_r[run_of_n] * (budget_n.max() + 1) + budget_n, return_index=True, return_inverse=True
    )
    if len(first_m) > len(points) / 2:
        return same
    count_m = np.bincount(group_n)
    share_m = np.bincount(group_n, points.target_n) / count_m
    shares_md = np.stack([np.bincount(group_n, column_n) / count_m for column_n in points.shares_nd.T], 1)
    merged = replace(
        points.take(first_m),
        shares_nd=shares_md,
        target_n=share_m,
        run_n=part_r[run_of_n][first_m],
        mixture_n=part_r[run_of_n][first_m],
    )
    return MergedRuns(merged, group_n, len(run_r) / MOST_RUNS)
