"""The two feasibility tests of the critical mixture ratio, read off fitted surfaces (Gu et al. 2024)."""

from __future__ import annotations

import numpy as np

from mixing.arrays import Floats, Ints
from mixing.fitting.engine import Solution
from mixing.runs.points import Points

GRID = np.linspace(0.005, 0.995, 199)
"""Target shares at which the tests are evaluated; crossings are interpolated between them."""


def largest_passing(values_bg: Floats, limit: float) -> Floats:
    """The first share on GRID where a rising curve passes `limit`, interpolated; 1 where it never does, 0 at once."""
    return _crossing(values_bg, (values_bg > limit).argmax(1), limit)


def largest_feasible(values_bg: Floats, limit: float) -> Floats:
    """The largest share on GRID whose value is within `limit`, interpolated; 0 where none is.

    A slope may be above 0 at small shares too, where a law sees little: the paper takes the maximum of the set.
    """
    passes_bg = values_bg <= limit
    count = values_bg.shape[1]
    last_b = count - 1 - passes_bg[:, ::-1].argmax(1)
    return _crossing(values_bg, np.where(passes_bg.any(1), np.minimum(last_b + 1, count - 1), 0), limit)


def _crossing(values_bg: Floats, next_b: Ints, limit: float) -> Floats:
    """Between the share before `next_b` and that one, if the latter is above `limit`; 1 if it is not."""
    rows = np.arange(len(values_bg))
    before_b = np.maximum(next_b - 1, 0)
    low_b, high_b = values_bg[rows, before_b], values_bg[rows, next_b]
    span_b = np.where(high_b > low_b, high_b - low_b, 1.0)
    crossing_b = GRID[before_b] + (limit - low_b) / span_b * (GRID[next_b] - GRID[before_b])
    crossing_b = np.where(next_b == 0, 0.0, crossing_b)
    return np.asarray(np.where(high_b > limit, crossing_b, 1.0))


def objective_slope(general: Solution, target: Solution, points: Points, weight: float) -> Floats | None:
    """d/dlnT of F = dL_target + weight * dL_general, slope_bn; None where a law knows no slope over tokens."""
    slopes = []
    for fitted in (general, target):
        basis_bnl = fitted.law.basis_slope(fitted.theta_bq, points)
        if basis_bnl is None:
            return None
        slopes.append(np.einsum("bnl,bl->bn", basis_bnl, fitted.linear_bl))
    return np.asarray(weight * slopes[0] + slopes[1])


def turning_ratios(
    general: Solution, target: Solution, points: Points, tokens: float, weight: float
) -> Floats | None:
    """The largest share whose objective falls at `tokens`, in every problem of the solutions (0: none, 1: all).

    None where the general law cannot rise, then fall.
    """
    if not general.law.turns:
        return None
    slope_bg = objective_slope(general, target, points.at(GRID, np.full(len(GRID), float(tokens))), weight)
    return None if slope_bg is None else largest_feasible(slope_bg, 0.0)


def critical_times(
    general: Solution, target: Solution, points: Points, ratios: list[float], tokens: float, weight: float
) -> dict[float, float | None]:
    """For each share, the tokens T0 of the last change of F from rising to falling up to 4x `tokens`.

    0 where F falls everywhere, None where it rises at the end.
    """
    budgets_t = np.geomspace(float(points.tokens_n.min()), 4 * tokens, 400)
    times: dict[float, float | None] = {}
    for ratio in ratios:
        slope_bn = objective_slope(general, target, points.at(np.full(400, ratio), budgets_t), weight)
        if slope_bn is None:
            return {}
        rising = slope_bn[0] > 0
        if not rising.any():
            times[ratio] = 0.0
        elif rising[-1]:
            times[ratio] = None
        else:
            times[ratio] = float(budgets_t[np.flatnonzero(rising)[-1]])
    return times
