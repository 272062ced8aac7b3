"""Does a loss depend on the mixture at all, or is what runs differ by their luck?

A law chosen among many always finds something in luck, and the luck of a run is shared by its checkpoints, so rows
are no evidence against it; runs are. Each mixture's mean deviation from the others' at the same budgets is explained
by Gaussian processes over the shares (straight lines, smooth curves; Rasmussen & Williams 2006, eq. 2.30), and their
mean marginal likelihood is compared with that of luck alone, with what the same ratio comes to on normal luck of the
same design. Where mixtures were trained several times, the variance between them is also compared with that within.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc, logsumexp

from mixing.arrays import Floats, Ints
from mixing.runs.budgets import common_budgets
from mixing.runs.points import Points

BY_LUCK = 0.03
"""A loss depends on the mixture where luck alone would look so in at most 3 tables of pure luck in 100."""
DRAWS, SEED = 1000, 0
FEWEST = 3
"""Mixtures below which nothing can be told."""
MANY = 200
"""Mixtures of a larger table that are looked at: enough for any effect, and the cost is cubic."""
POWERS, LEAST = (1.0, 0.3, 0.0), 0.02
"""Shares enter as they are and as what losses follow near 0: a power, and (0) the logarithm of the share + LEAST."""
NOISES, LENGTHS = (3e-4, 3e-3, 0.03, 0.3), (1.0, 2.0)
"""Variance of luck as a part of the effect's, and lengths in units of what two mixtures are apart."""
FAR = 3.5
"""Deviations beyond this many robust standard deviations count as so many: one diverged run hides no effect."""


@dataclass(frozen=True)
class _Runs:
    """value_r, each run's mean deviation (nats), its mixture_r (0 to m - 1), and shares_md of the mixtures."""

    value_r: Floats
    mixture_r: Ints
    shares_md: Floats


def luck_alone(points: Points, losses_n: Floats) -> float | None:
    """The probability that runs without any effect of the mixture look as dependent on it; None for too few.

    Only the later half of the budgets that (almost) all runs of a size reached count, as effects grow with tokens.
    """
    codes = np.unique(points.mixture_n)
    if len(codes) > MANY:
        some_n = np.isin(points.mixture_n, np.random.default_rng(SEED).choice(codes, MANY, replace=False))
        points, losses_n = points.take(some_n), losses_n[some_n]
    runs = _deviations(points, losses_n)
    if runs is None:
        return None
    rng = np.random.default_rng(SEED)
    count_m = np.bincount(runs.mixture_r)
    drawn_rb = rng.standard_normal((len(runs.value_r), DRAWS))
    both_rb = np.concatenate([runs.value_r[:, None], drawn_rb], axis=1)
    mean_mb = (
        np.stack([np.bincount(runs.mixture_r, weights=column_r) for column_r in both_rb.T], axis=1)
        / count_m[:, None]
    )
    if np.ptp(runs.value_r) <= 1e-12 * (np.abs(losses_n).max() + 1e-300):
        return 1.0
    evidence_b = _evidence(_bounded(mean_mb), runs.shares_md)
    smooth = float((1 + (evidence_b[1:] >= evidence_b[0]).sum()) / (1 + DRAWS))
    repeated = _between_against_within(runs)
    return smooth if repeated is None else min(1.0, 2 * min(smooth, repeated))


def no_effect(name: str, by_luck: float | None) -> str:
    """What to tell of a loss that shows no effect of the mixture."""
    chance = "" if by_luck is None else f" (luck alone would look as dependent in {by_luck:.0%} of tables)"
    return (
        f"{name}: these runs do not show that it depends on the mixture{chance}, so the constant is all that can be "
        "said: train mixtures further apart, or longer"
    )


def _deviations(points: Points, losses_n: Floats) -> _Runs | None:
    size_n = np.zeros(len(points)) if points.params_n is None else np.nan_to_num(points.params_n)
    used_n = np.zeros(len(points), dtype=bool)
    deviation_n = np.zeros(len(points))
    for size in np.unique(size_n):
        budgets = common_budgets(points.tokens_n[size_n == size])
        for budget in budgets[len(budgets) // 2 :]:
            at_n = (size_n == size) & (points.tokens_n == budget)
            if len(np.unique(points.mixture_n[at_n])) >= FEWEST:
                used_n |= at_n
                deviation_n[at_n] = losses_n[at_n] - losses_n[at_n].mean()
    if not used_n.any():
        return None
    run_r, row_n = np.unique(np.stack([points.run_n[used_n], size_n[used_n]], 1), axis=0, return_inverse=True)
    first_r = np.array([np.flatnonzero(row_n == r)[0] for r in range(len(run_r))])
    value_r = np.bincount(row_n, weights=deviation_n[used_n]) / np.bincount(row_n)
    _, place_m, mixture_r = np.unique(
        points.mixture_n[used_n][first_r], return_index=True, return_inverse=True
    )
    return _Runs(value_r, mixture_r, points.shares_nd[used_n][first_r][place_m])


def _bounded(mean_mb: Floats) -> Floats:
    middle_b = np.median(mean_mb, axis=0)
    limit_b = FAR * 1.4826 * np.median(np.abs(mean_mb - middle_b), axis=0)
    return np.asarray(np.clip(mean_mb, middle_b - limit_b, middle_b + limit_b))


def _evidence(mean_mb: Floats, shares_md: Floats) -> Floats:
    """The log of the mean likelihood ratio of an effect and of luck alone, for each column; the scale is integrated
    out, the mean of all mixtures too."""
    count = len(mean_mb)
    centred_mb = mean_mb - mean_mb.mean(0)
    total_b = (centred_mb**2).sum(0) + 1e-300
    ratios = []
    for kernel_mm in _kernels(shares_md):
        values, vectors = np.linalg.eigh(kernel_mm)
        # The first is the mean's, whose value is 0.
        square_mb = (vectors[:, 1:].T @ centred_mb) ** 2
        for noise in NOISES:
            variance_m = np.maximum(values[1:], 0) + noise
            left_b = (square_mb / variance_m[:, None]).sum(0) / total_b + 1e-300
            ratios.append(-0.5 * np.log(variance_m).sum() - 0.5 * (count - 1) * np.log(left_b))
    return np.asarray(logsumexp(ratios, axis=0) - np.log(len(ratios))) if ratios else np.zeros(len(total_b))


def _kernels(shares_md: Floats) -> list[Floats]:
    """Covariances kernel_mm of effects, less their mean, each of variance 1 on average."""
    count = len(shares_md)
    centring_mm = np.eye(count) - 1 / count
    found = []
    for exponent in POWERS:
        x_md = shares_md**exponent if exponent else np.log(shares_md + LEAST)
        x_md = x_md - x_md.mean(0)
        gram_mm = x_md @ x_md.T
        if not np.trace(gram_mm) > 0:
            continue
        square_mm = np.diag(gram_mm)[:, None] + np.diag(gram_mm)[None, :] - 2 * gram_mm
        curves = [np.exp(-square_mm / (length**2 * square_mm.mean())) for length in LENGTHS]
        found += [
            centring_mm @ kernel @ centring_mm for kernel in (gram_mm * count / np.trace(gram_mm), *curves)
        ]
    return found


def _between_against_within(runs: _Runs) -> float | None:
    """The p-value of a one-way analysis of variance; None where no mixture was trained twice."""
    count_m = np.bincount(runs.mixture_r)
    within_dof = len(runs.value_r) - len(count_m)
    if within_dof < 1 or len(count_m) < 2:
        return None
    mean_m = np.bincount(runs.mixture_r, weights=runs.value_r) / count_m
    within = ((runs.value_r - mean_m[runs.mixture_r]) ** 2).sum() / within_dof
    between = (count_m * (mean_m - runs.value_r.mean()) ** 2).sum() / (len(count_m) - 1)
    if within <= 0:
        return 0.0 if between > 0 else 1.0
    return float(fdtrc(len(count_m) - 1, within_dof, between / within))
