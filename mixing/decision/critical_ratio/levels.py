"""Each run's loss at one budget, out of all its checkpoints.

A law follows the loss over tokens. What a run's checkpoints have in common against the law is the run's luck, and is
smoothed over neighbouring checkpoints. What all runs have in common against it at one budget is the law's own fault (a
learning rate that decays at the end bends every run at once) and is believed as far as it exceeds the scatter of
checkpoints: a plane over target share for every budget, of which the smoothing sees nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixing.arrays import Floats, Ints
from mixing.fitting.engine import Solution
from mixing.runs.points import Points

NEAR = 0.5
"""Residuals within about this distance in log tokens (a factor of 1.6) tell a run's level at a budget."""
SAME_BUDGET = 0.01
"""Checkpoints of two runs whose tokens differ by less than this part are at one budget."""
MIN_RUNS = 3
"""Fewer runs at a budget don't tell what they have in common there."""
NEAREST_END = 1e-3


@dataclass(frozen=True)
class Levels:
    """levels_r and `share_r` of r runs at a budget, nats; `within` is the scatter of a run's checkpoints, 0 if unknown.

    `plane_sd` are the standard deviations of the error that all levels share: an offset and, per spread of the shares,
    a tilt.
    """

    share_r: Floats
    levels_r: Floats
    within: float
    plane_sd: tuple[float, float]

    def common_error(self, grid_g: Floats, count: int, rng: np.random.Generator) -> Floats:
        """`count` draws error_bg of what all levels may be wrong by together."""
        tilt_g = (grid_g - self.share_r.mean()) / max(float(self.share_r.std()), 1e-9)
        drawn_b2 = rng.standard_normal((count, 2)) * np.array(self.plane_sd)
        return np.asarray(drawn_b2[:, :1] + drawn_b2[:, 1:] * np.clip(tilt_g, -2, 2))


def levels_at(points: Points, losses_n: Floats, smooth: Solution, tokens: float) -> Levels:
    """The levels at a budget within the trained ones; `smooth` is the law's fit to the same rows."""
    run_r, first_r, at_n = np.unique(points.run_n, return_index=True, return_inverse=True)
    share_r = points.target_n[first_r]
    residual_n = losses_n - smooth.predict(points)[0]
    level_r = smooth.predict(points.at(share_r, np.full(len(run_r), float(tokens))))[0]
    distance_n = np.abs(np.log(points.tokens_n / tokens))
    nearest_r = np.full(len(run_r), np.inf)
    np.minimum.at(nearest_r, at_n, distance_n)
    weight_n = np.exp(-(distance_n - nearest_r[at_n]) / NEAR)
    weight_n = weight_n / np.bincount(at_n, weight_n)[at_n]
    planes = _planes(points, residual_n, share_r)
    if planes is None:
        inner = _within(residual_n, at_n, 0)
        return Levels(share_r, level_r + np.bincount(at_n, weight_n * residual_n), inner, (0.0, 0.0))
    left_n = residual_n - planes.values_n
    within = _within(left_n, at_n, planes.spent)
    coefficients_2, sd_2 = planes.at(tokens, within, weight_n)
    offset_r = np.bincount(at_n, weight_n * left_n) + planes.columns(share_r) @ coefficients_2
    return Levels(share_r, level_r + offset_r, within, (float(sd_2[0]), float(sd_2[1])))


@dataclass(frozen=True)
class EndRuns:
    """Runs at target share 0 or 1, where no law of the ratio is: their losses as measured tell what laws miss.

    `share_r` are `NEAREST_END` away from 0 or 1, where every form is finite; `tokens` and `losses` (nats) are those of
    each run's checkpoints, rising in tokens.
    """

    share_r: Floats
    tokens: tuple[Floats, ...] = ()
    losses: tuple[Floats, ...] = ()

    @classmethod
    def of(cls, points: Points, losses_n: Floats, last: float) -> EndRuns:
        """Those of the points' runs at 0 or 1 that reached the `last` budget."""
        outside_n = ~points.interior()
        shares, tokens, losses = [], [], []
        for run in np.unique(points.run_n[outside_n]):
            rows = np.flatnonzero(outside_n & (points.run_n == run))
            rows = rows[np.argsort(points.tokens_n[rows], kind="stable")]
            if points.tokens_n[rows[-1]] < last * (1 - SAME_BUDGET):
                continue
            shares.append(float(np.clip(points.target_n[rows[0]], NEAREST_END, 1 - NEAREST_END)))
            tokens.append(points.tokens_n[rows])
            losses.append(losses_n[rows])
        return cls(np.array(shares), tuple(tokens), tuple(losses))

    def levels(self, budget: float) -> Floats:
        """levels_r at a budget, between the checkpoints on either side of it."""
        pairs = zip(self.tokens, self.losses, strict=True)
        return np.array([np.interp(np.log(budget), np.log(tokens), losses) for tokens, losses in pairs])


@dataclass(frozen=True)
class _Planes:
    """What all runs have in common at each of t budgets: coefficient_t2 of an offset and a tilt over the shares.

    `values_n` are the planes at each row, `budget_n` the row's budget (-1: none), `spent` how many coefficients they
    took, `runs_t` the runs of each budget.
    """

    middle: float
    spread: float
    budget_t: Floats
    coefficient_t2: Floats
    runs_t: Floats
    values_n: Floats
    budget_n: Ints
    spent: int

    def columns(self, share_n: Floats) -> Floats:
        return np.stack([np.ones_like(share_n), (share_n - self.middle) / self.spread], 1)

    def at(self, tokens: float, within: float, weight_n: Floats) -> tuple[Floats, Floats]:
        """The coefficients at a budget and their standard deviations: smoothed over budgets like the runs' own
        residuals, and followed away from that as far as the scatter of checkpoints doesn't explain it."""
        known_n = self.budget_n >= 0
        summed_t = np.bincount(self.budget_n[known_n], weight_n[known_n], len(self.budget_t))
        weight_t = summed_t / summed_t.sum()
        smoothed_2 = weight_t @ self.coefficient_t2
        log_t = np.log(self.budget_t)
        own_2 = np.array([np.interp(np.log(tokens), log_t, column_t) for column_t in self.coefficient_t2.T])
        runs = float(np.interp(np.log(tokens), log_t, self.runs_t))
        variance = within**2 / runs * max(1 - 2 * float(weight_t[-1]) + float((weight_t**2).sum()), 0.0)
        excess_2 = (own_2 - smoothed_2) ** 2
        kept_2 = np.where(excess_2 > 0, np.maximum(1 - variance / np.maximum(excess_2, 1e-300), 0.0), 0.0)
        return smoothed_2 + kept_2 * (own_2 - smoothed_2), np.sqrt(kept_2 * within**2 / runs)


def _planes(points: Points, residual_n: Floats, share_r: Floats) -> _Planes | None:
    """None where runs have no budgets in common, or one budget only."""
    order_n = np.argsort(points.tokens_n, kind="stable")
    jump_n = np.diff(np.log(points.tokens_n[order_n]), prepend=-np.inf) > SAME_BUDGET
    group_n = np.empty(len(order_n), dtype=int)
    group_n[order_n] = np.cumsum(jump_n) - 1
    spread = float(share_r.std())
    if spread <= 0 or group_n.max() == 0:
        return None
    middle = float(share_r.mean())
    budgets: list[float] = []
    coefficients: list[Floats] = []
    runs: list[float] = []
    values_n, budget_n = np.zeros(len(residual_n)), np.full(len(residual_n), -1)
    for group in range(int(group_n.max()) + 1):
        rows = np.flatnonzero(group_n == group)
        columns_n2 = np.stack([np.ones(len(rows)), (points.target_n[rows] - middle) / spread], 1)
        if len(np.unique(points.run_n[rows])) < MIN_RUNS or np.ptp(columns_n2[:, 1]) <= 0:
            continue
        found_2 = np.linalg.lstsq(columns_n2, residual_n[rows], rcond=None)[0]
        values_n[rows] = columns_n2 @ found_2
        budget_n[rows] = len(budgets)
        budgets.append(float(np.exp(np.log(points.tokens_n[rows]).mean())))
        coefficients.append(np.asarray(found_2, dtype=float))
        runs.append(float(len(rows)))
    if len(budgets) < 2:
        return None
    spent = 2 * (len(budgets) - 1)
    found = np.array(coefficients)
    return _Planes(middle, spread, np.array(budgets), found, np.array(runs), values_n, budget_n, spent)


def _within(left_n: Floats, at_n: Ints, spent: int) -> float:
    """The scatter of checkpoints within runs, of which `spent` were needed for what runs have in common."""
    count_r = np.bincount(at_n)
    if len(left_n) == len(count_r):
        return 0.0
    mean_r = np.bincount(at_n, left_n) / count_r
    free = max(len(left_n) - len(count_r) - spent, 1)
    return float(np.sqrt(((left_n - mean_r[at_n]) ** 2).sum() / free))
