"""When no mixture is recommended: the reason, and the mixtures to train first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixing.arrays import Floats
from mixing.decision.mixture.bounds import Region, by_domain, make_region
from mixing.decision.mixture.constraints import what_binds
from mixing.decision.mixture.loss_models import FittedLosses, Slice
from mixing.decision.mixture.next_mixtures import NEXT_RUNS, spread
from mixing.decision.mixture.optimiser import Optimum, Problem, Search, least_excess
from mixing.decision.question import Question
from mixing.decision.result import Decision, Test, not_yet

REFUSE_BEYOND, WARN_BEYOND = 4.0, 2.0
"""How far past the trained budget an increment over the base is followed, and followed without a warning."""
FAR_OUTSIDE = 0.3
"""Share of a mixture (total variation) outside the hull of the trained ones above which it is refused."""
RUNS_PER_PART = 3
"""Mixtures per free share, and one more such lot, below which a decision is warned of (olmix, arXiv 2602.12237)."""


def too_little(data: Slice, question: Question, region: Region, warnings: list[str]) -> str | None:
    """Why these runs cannot carry a decision at all; adds to the warnings where they can, but barely."""
    if len(data.mixtures_kd) < 2:
        return "all runs have one mixture, so nothing is known about another"
    fixed = [d for d, s in zip(data.domains, np.ptp(data.points.shares_nd, axis=0), strict=True) if s < 1e-6]
    if fixed:
        warnings.append(f"the share of {', '.join(fixed)} never varied: it stays as trained")
    free, mixtures = int((region.high_q - region.low_q > 1e-9).sum()), len(data.mixtures_kd)
    if mixtures <= free:
        return (
            f"{mixtures} different mixtures cannot tell {free} free shares apart and show how far a law misses; "
            f"train at least {free + 1}"
        )
    if mixtures < RUNS_PER_PART * (free + 1):
        warnings.append(
            f"{mixtures} different mixtures for {free} free shares are few (rule of thumb: "
            f"{RUNS_PER_PART * (free + 1)}): intervals know of the runs' scatter and of rival laws, but not of what "
            "no run has tried"
        )
    if data.reached <= 1:  # a table without a tokens column
        return None
    reach = max(question.tokens / data.reached, data.reached / question.tokens)
    if reach > REFUSE_BEYOND and data.base and question.general:
        return (
            f"the runs are at {int(data.reached):,} tokens and {question.tokens:,} are asked about: an increment over "
            "the base model is not followed that far; train proxies nearer to it"
        )
    if reach > WARN_BEYOND and data.follows:
        warnings.append(f"the budget asked about is {reach:.1f} times the trained one: extrapolated")
    elif reach > WARN_BEYOND:
        warnings.append(
            f"the laws know {int(data.reached):,} tokens; that the best mixture is the same at {question.tokens:,} is "
            "assumed (caps are those of the asked budget)"
        )
    return None


def train_a_spread(
    question: Question, data: Slice, warnings: list[str], reason: str, rng: np.random.Generator
) -> Decision:
    """Mixtures spread over the whole simplex, away from the trained ones, are to be trained first."""
    wide = make_region(data.domains, np.eye(len(data.domains)))
    centre = np.full((1, len(data.domains)), 1 / len(data.domains))
    options = wide.shares(np.concatenate([centre, wide.sample(centre, 400, rng)]))
    wanted = max(NEXT_RUNS, 2 * len(data.domains) - len(data.mixtures_kd))
    chosen = spread(options, data.mixtures_kd, min(wanted, 12))
    return not_yet(
        question,
        reason,
        n_runs=data.n_runs,
        next_runs=[by_domain(data.domains, options[m].round(3)) for m in chosen],
        warnings=warnings,
    )


def far_outside(
    question: Question,
    data: Slice,
    fitted: FittedLosses,
    answer: Optimum,
    outside: float,
    warnings: list[str],
) -> Decision:
    """The best mixture is `outside` (total variation) of all mixtures of trained ones: it is to be trained first."""
    silent = not_yet(
        question,
        f"{outside:.0%} of the best mixture lies outside all mixtures of trained ones; train it first",
        n_runs=data.n_runs,
        next_runs=[by_domain(data.domains, answer.shares_d)],
        warnings=warnings,
    )
    return replace(silent, law=fitted.law)


def no_mixture_allowed(
    question: Question,
    data: Slice,
    problem: Problem,
    found: Search,
    fitted: FittedLosses,
    reference: dict[str, Floats],
    warnings: list[str],
) -> Decision:
    """No mixture keeps its tolerances: by how much at best, where, and what to allow."""
    least = least_excess(problem, found)
    over = []
    for guarded in problem.protected:
        key = "general" if guarded.name == "general" else f"protect:{guarded.name}"
        loss = float(guarded.model.losses(least.shares_d[None])[0, 0])
        if loss > guarded.limit_b[0] + 1e-6:
            over.append(f"{guarded.name} {loss - float(reference[key][0]):+.4g}")
    held = (
        "; ".join(said for said in what_binds(problem, found, least)[1] if "tolerance" not in said)
        or "no other limit"
    )
    reason = (
        f"no mixture keeps every protected loss within its tolerance; the least increments within reach are "
        f"{', '.join(over)} nats (there: {held}). Allow that much, relax the limits, or train mixtures nearer to it"
    )
    increment = float(least.excess) + question.tolerance
    tests = (
        [Test("tolerance", None, None, f"the least increment is {increment:+.4g} nats")]
        if question.general
        else []
    )
    silent = not_yet(
        question,
        reason,
        n_runs=data.n_runs,
        next_runs=[by_domain(data.domains, least.shares_d.round(3))],
        warnings=warnings,
    )
    return replace(silent, binding="tolerance", law=fitted.law, tests=tests)
