"""Warnings about a mixture: what its runs leave open, and what the answer rests on."""

from __future__ import annotations

import numpy as np

from mixing.decision.mixture.bounds import Region
from mixing.decision.mixture.optimiser import Optimum
from mixing.decision.mixture.predictions import Predictor
from mixing.decision.mixture.slices import Slice
from mixing.decision.question import REFUSE_BEYOND, WARN_BEYOND, Question
from mixing.decision.record import DecisionRecord, Interval

RUNS_PER_PART = 3
"""Mixtures per free share, and one more such lot, below which a decision is warned of (olmix, arXiv 2602.12237)."""
OUTSIDE = 0.02
"""Share of a mixture (total variation) outside the hull of the trained ones that is warned of."""
WIDE = 0.05
"""A share whose interval is wider than +- this is warned of."""


def run_doubts(data: Slice, question: Question, free: int) -> list[str]:
    """What the runs leave open, where `free` shares are to be decided; none where they are refused for it."""
    mixtures = len(data.mixtures_kd)
    if mixtures < 2:
        return []
    out = []
    fixed = [d for d, s in zip(data.domains, np.ptp(data.points.shares_nd, axis=0), strict=True) if s < 1e-6]
    if fixed:
        out.append(f"the share of {', '.join(fixed)} never varied: it stays as trained")
    if mixtures <= free:
        return out
    if mixtures < RUNS_PER_PART * (free + 1):
        out.append(
            f"{mixtures} different mixtures for {free} free shares are few (rule of thumb: "
            f"{RUNS_PER_PART * (free + 1)}): intervals know of the runs' scatter and of rival laws, but not of what "
            "no run has tried"
        )
    reach = data.reach(question)
    if reach > REFUSE_BEYOND and data.base and question.general:
        return out
    if reach > WARN_BEYOND and data.follows:
        out.append(f"the budget asked about is {reach:.1f} times the trained one: extrapolated")
    elif reach > WARN_BEYOND:
        out.append(
            f"the laws know {int(data.reached):,} tokens; that the best mixture is the same at {question.tokens:,} is "
            "assumed (caps are those of the asked budget)"
        )
    return out


def answer_doubts(
    decision: DecisionRecord, predictor: Predictor, region: Region, answer: Optimum, outside: float
) -> list[str]:
    """What the reader must know before trusting the mixture."""
    out = []
    trained = [name for name, why, _ in region.binding(answer.q_q) if why == "trained"]
    if trained:
        out.append(
            f"{', '.join(trained)} at the end of the trained range: a better mixture may lie beyond; train there"
        )
    if outside > OUTSIDE:
        out.append(
            f"{outside:.1%} of the mixture lies outside all mixtures of trained ones: extrapolated; train it next"
        )
    out += _wide_shares(decision.share_intervals)
    predicted = decision.by_role
    if "general" in predicted:
        increment, noise = predicted["general"].increment, predictor.fitted.noise["general"]
        if predictor.data.base and 0 < abs(increment) < 3 * noise:
            out.append(
                f"the general increment ({increment:+.4f}) is under three times a run's scatter ({noise:.4f})"
            )
    target = predicted["target"]
    if predictor.data.base and target.increment >= 0:
        out.append("the target loss does not fall at the recommended mix")
    best = next(b for b in decision.baselines if b.name.startswith("best run"))
    if target.loss > best.predicted["target"].loss + 1e-9 and decision.binding != "tolerance":
        out.append(f"no better than the {best.name}, which the limits forbid or the law doubts")
    return out


def _wide_shares(intervals: dict[str, Interval]) -> list[str]:
    wide = {d: high - low for d, (low, high) in intervals.items() if high - low > 2 * WIDE}
    if not wide:
        return []
    worst = sorted(wide, key=lambda d: -wide[d])
    shown = ", ".join(f"{d} [{intervals[d][0]:.2f}, {intervals[d][1]:.2f}]" for d in worst[:4])
    some = "one share is" if len(wide) == 1 else f"{len(wide)} shares are"
    return [f"{some} uncertain by more than ±{WIDE:g}, e.g. {shown}"]
