"""Which target shares would shrink the interval of a critical ratio most, and to what width.

The draws behind an interval are an ensemble of what may be true: the critical ratio and the general loss at any share
vary together over it. A run at a share would take from the ratio's variance what its loss explains, given that run's
own scatter; the share that takes most comes first, then the best besides it
(`mixing.decision.mixture.next_mixtures.most_telling`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixing.decision.critical_ratio.evidence import Evidence
from mixing.decision.mixture.next_mixtures import most_telling
from mixing.decision.question import Question

LOWEST, HIGHEST = 0.02, 0.98
APART = 0.01
"""Shares closer than this are one mixture."""
NEAR = 3.0
"""Draws farther than this many widths of the interval from the answer say little of what a run near it tells."""


@dataclass(frozen=True)
class TellingRatio:
    """A target share to train next: with it, and those before it, the interval goes from `width` to `narrowed`."""

    ratio: float
    width: float
    narrowed: float

    def gain(self) -> str:
        """What the run buys, in words."""
        return f"the interval narrows from {self.width:.3f} to about {self.narrowed:.3f}"


def telling_ratios(
    believed: Evidence, question: Question, trained: list[float], k: int
) -> list[TellingRatio]:
    """At most k target shares that were not trained, the most telling first; none where the draws say too little."""
    lowest, highest = trained[0] / 2, (1 + trained[-1]) / 2
    ratio_b = np.clip(believed.both_b, lowest, highest)
    low, high = np.quantile(ratio_b, [(1 - question.level) / 2, (1 + question.level) / 2])
    width = float(high - low)
    near_b = np.abs(ratio_b - min(max(believed.one, lowest), highest)) <= NEAR * max(width, 1e-3)
    if near_b.sum() < 20 or float(np.ptp(ratio_b[near_b])) <= 0:
        return []
    grid_m = np.arange(LOWEST, HIGHEST + 1e-9, APART)
    new_m = grid_m[(np.abs(grid_m[:, None] - np.array(trained)) > APART).all(1)]
    tolerated = [believed.now[name] for name in dict.fromkeys(["general", *believed.protect])]
    losses_vbm = np.stack([loss.told_by_runs().at(new_m)[1][near_b] for loss in tolerated])
    noise_v = np.array([loss.scatter() for loss in tolerated])
    chosen, left = most_telling(ratio_b[near_b][:, None], losses_vbm, noise_v, k)
    return [
        TellingRatio(round(float(new_m[m]), 4), width, width * float(np.sqrt(part)))
        for m, part in zip(chosen, left, strict=True)
    ]
