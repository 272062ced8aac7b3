"""Runs that were measured on other held-out text than the rest: a check first, then evidence.

The luck of a held-out sample moves all its runs together, and another sample has luck of its own. So such a run is no
level among the others: the draws of what may be true are weighed by how well they explain it (importance sampling).
It tells of the loss at its share, and of the other sample's luck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixing.arrays import Floats, Ints
from mixing.decision.critical_ratio.levels import SAME_BUDGET
from mixing.decision.critical_ratio.posterior import LossPosterior
from mixing.runs.points import Points

FEWEST_DRAWS = 0.05
"""Where fewer draws than this part explain such runs, they contradict the others, and the weights are flattened."""


@dataclass(frozen=True)
class OtherSample:
    """r runs of one other sample: share_r, tokens and losses (nats) of each run's checkpoints, rising in tokens, and
    the standard errors error_r over the sample, shared by the runs."""

    share_r: Floats
    tokens: tuple[Floats, ...]
    losses: tuple[Floats, ...]
    error_r: Floats

    def levels(self, budget: float) -> Floats:
        """levels_r at a budget, between the checkpoints on either side of it."""
        pairs = zip(self.tokens, self.losses, strict=True)
        return np.array([np.interp(np.log(budget), np.log(tokens), losses) for tokens, losses in pairs])

    def log_likelihood(self, losses: LossPosterior, budget: float) -> Floats:
        """Of each draw, log_b: runs scatter apart, their sample's luck is common."""
        _, draws_br = losses.at(self.share_r)
        left_br = self.levels(budget) - draws_br
        variance_b1 = (losses.scatter_b**2 + losses.checkpoint_sd**2)[:, None] + 1e-30
        pull_b = (left_br * self.error_r / variance_b1).sum(1)
        stiff_b = 1 + (self.error_r**2 / variance_b1).sum(1)
        logs_b1 = left_br**2 / variance_b1 + np.log(variance_b1)
        return np.asarray(-0.5 * (logs_b1.sum(1) - pull_b**2 / stiff_b + np.log(stiff_b)))


def other_samples(
    points: Points, losses_n: Floats, errors_n: Floats | None, sample_n: Ints, last: float
) -> tuple[OtherSample, ...]:
    """The runs of each sample that reached the `last` budget; without standard errors their samples count as exact."""
    found = []
    for code in np.unique(sample_n):
        shares, tokens, losses, errors = [], [], [], []
        for run in np.unique(points.run_n[sample_n == code]):
            rows = np.flatnonzero((sample_n == code) & (points.run_n == run))
            rows = rows[np.argsort(points.tokens_n[rows], kind="stable")]
            if points.tokens_n[rows[-1]] < last * (1 - SAME_BUDGET):
                continue
            shares.append(float(points.target_n[rows[0]]))
            tokens.append(points.tokens_n[rows])
            losses.append(losses_n[rows])
            errors.append(0.0 if errors_n is None else float(errors_n[rows[-1]]))
        if shares:
            found.append(OtherSample(np.array(shares), tuple(tokens), tuple(losses), np.array(errors)))
    return tuple(found)


def weighed(
    losses: LossPosterior, samples: tuple[OtherSample, ...], budget: float, rng: np.random.Generator
) -> LossPosterior:
    """What is believed of a loss once runs of other samples are known."""
    if not samples:
        return losses
    log_b = np.sum([sample.log_likelihood(losses, budget) for sample in samples], axis=0)
    weight_b = _weights(log_b)
    moved_g = weight_b @ losses.draws_bg - losses.draws_bg.mean(0)
    return losses.taking(_resampled(weight_b, rng), losses.mean_g + moved_g)


def _weights(log_b: Floats) -> Floats:
    """Weights that sum to 1; powers of the likelihood where only a few draws would be left."""
    power = 1.0
    while True:
        weight_b = np.exp(power * (log_b - log_b.max()))
        weight_b /= weight_b.sum()
        if 1 / (weight_b**2).sum() >= FEWEST_DRAWS * len(weight_b) or power < 1e-3:
            return np.asarray(weight_b)
        power *= 0.8


def _resampled(weight_b: Floats, rng: np.random.Generator) -> Ints:
    """Draws by their weights, systematically: the least noise that drawing anew adds."""
    count = len(weight_b)
    at_b = (np.arange(count) + rng.random()) / count
    chosen_b = np.minimum(np.searchsorted(np.cumsum(weight_b), at_b), count - 1)
    return np.asarray(rng.permutation(chosen_b), dtype=np.int64)
