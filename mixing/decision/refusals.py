"""Every "not yet": when no answer is recommended, why, and the mixtures to train first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mixing.arrays import Floats
from mixing.decision.binding import Binding
from mixing.decision.constraints import Constraints
from mixing.decision.critical_ratio.loss_surface import MIN_RATIOS
from mixing.decision.critical_ratio.ratio_runs import RatioRuns, set_of
from mixing.decision.direction import direction_doubt
from mixing.decision.mixture.bounds import Region, by_domain, make_region
from mixing.decision.mixture.loss_models import FittedLosses
from mixing.decision.mixture.next_mixtures import NEXT_RUNS, spread
from mixing.decision.mixture.objective import Problem
from mixing.decision.mixture.optimiser import FEASIBLE, Candidates, Optimum, least_violation
from mixing.decision.mixture.problem import active_constraints
from mixing.decision.mixture.slices import Slice
from mixing.decision.question import REFUSE_BEYOND, Question
from mixing.decision.record import PROTECT, Test
from mixing.decision.result import Decision
from mixing.laws import LAWS
from mixing.laws.base import NotApplicable
from mixing.runs.table import RunTable

FAR_OUTSIDE = 0.3
"""Share of a mixture (total variation) outside the hull of the trained ones above which it is refused."""
WIDEST = 0.5
"""An interval of a share that is wider than this decides nothing."""
FIRST_RATIOS = (0.25, 0.5, 0.75, 0.9)
"""Target shares that let a ratio law be fitted, where none or few were trained."""


@dataclass(frozen=True)
class Refusal:
    """Why there is no answer yet, and the mixtures to train first; what is known all the same."""

    reason: str
    next_runs: list[dict[str, float]]
    binding: Binding = "none"
    law: str = "none"
    tests: list[Test] = field(default_factory=list)

    def decision(self, question: Question, n_runs: int, warnings: list[str]) -> Decision:
        """The decision "not yet"."""
        return Decision(
            question=question,
            status="not_yet",
            shares={},
            critical_ratio=None,
            interval=None,
            binding=self.binding,
            law=self.law,
            n_runs=n_runs,
            predicted={},
            baselines=[],
            tests=self.tests,
            next_runs=self.next_runs,
            warnings=warnings,
            reason=self.reason,
        )


# One ratio.


def too_few_ratios(runs: RatioRuns) -> Refusal | None:
    """Fewer target shares than the ratio law has parameters."""
    count = len(runs.ratios)
    if count >= MIN_RATIOS:
        return None
    return _train_ratios(
        runs,
        f"the ratio law has three parameters and {count} target share(s) strictly between 0 and 1 were trained; "
        "train the mixtures of next_runs",
        _first_ratios(runs),
    )


def budget_too_far(runs: RatioRuns) -> Refusal | None:
    """A budget so far past the trained ones that no law is followed there."""
    tokens = runs.question.tokens
    reach = tokens / runs.usual_budget
    if reach <= REFUSE_BEYOND:
        return None
    return _train_ratios(
        runs,
        f"{tokens:,} tokens are {reach:.1f} times the largest trained budget that almost all runs reached; train "
        f"proxies for at least {int(np.ceil(tokens / REFUSE_BEYOND)):,} tokens",
        runs.ratios,
    )


def other_direction(runs: RatioRuns) -> Refusal | None:
    """Losses that move as something of which more is better."""
    reason = direction_doubt(runs.question, runs.values())
    return None if reason is None else Refusal(reason, [])


def no_ratio_law(runs: RatioRuns, error: NotApplicable) -> Refusal:
    """No law can be fitted."""
    return _train_ratios(runs, f"no law fits these runs: {error}", _first_ratios(runs))


def too_few_at_a_size(runs: RatioRuns) -> Refusal:
    """A model size, of those that are extended to another, cannot carry a law by itself."""
    return _train_ratios(runs, "one of the sizes has too few mixtures for a law of its own", runs.ratios)


def no_ratio(runs: RatioRuns, tests: Mapping[str, tuple[float, Floats]], low_cap: float) -> Refusal | None:
    """No share within reach passes the tests, or leaves enough general text: `low_cap` is the least target share.

    `tests` have the largest share that passes each, and that of draws.
    """
    low, high = runs.reachable
    critical_ratio, failed = min((one, name) for name, (one, _) in tests.items())
    if low_cap > min(max(critical_ratio, low), high):
        # The scarce general text sets a least target share, which must be allowed and within reach of the runs.
        allowed = critical_ratio >= low_cap
        remedy = (
            f"the largest trained is {runs.trained[-1]:g}; train higher shares"
            if allowed
            else f"the general loss allows {critical_ratio:.3g}; add general text, or allow more forgetting"
        )
        return _train_ratios(
            runs,
            f"the caps on general text need a target share of at least {low_cap:.3g}, and {remedy}",
            [round(low_cap, 3)] if allowed and low_cap < 1 else [],
        )
    if critical_ratio < low:
        remedy = "train lower shares, or allow more forgetting"
        if failed == "turning_point":
            tolerated = min(one for name, (one, _) in tests.items() if name != failed)
            fault = (
                f"the tolerance allows up to {tolerated:.3f}, but at no trained target share has the general loss "
                "turned down at this budget"
            )
            remedy = "train longer or at lower shares, or do not require a turning point"
        elif failed == "tolerance":
            within = f"{runs.question.tolerance:g} {runs.question.unit}"
            fault = f"no trained target share keeps the general loss within {within}"
        else:
            name = set_of(runs.question, failed.removeprefix(PROTECT))
            fault = f"no trained target share keeps the loss of {name} within its tolerance"
        return _train_ratios(
            runs,
            f"{fault}; {remedy}",
            [round(runs.trained[0] / 2, 3), round(runs.trained[0] / 4, 3)],
        )
    return None


def unsure(
    runs: RatioRuns, ratio: float, safe: float, interval: tuple[float, float], low_cap: float
) -> Refusal | None:
    """An interval that says nothing, or no share that is safe with the asked confidence."""
    question, width = runs.question, interval[1] - interval[0]
    if width > WIDEST:
        edges = [round(float(edge), 3) for edge in np.linspace(*interval, 4)[1:3]]
        return _train_ratios(
            runs,
            f"the best estimate is {ratio:.3f}, but its {question.level:.0%} interval "
            f"[{interval[0]:.3f}, {interval[1]:.3f}] is too wide to decide anything; train the mixtures of next_runs",
            edges,
        )
    if safe < max(low_cap, runs.reachable[0]):
        return _train_ratios(
            runs,
            f"the best estimate is {ratio:.3f}, but no share within reach keeps the general loss within "
            f"{question.tolerance:g} {question.unit} with {question.confidence:.0%} confidence; train lower shares, "
            "or ask for less confidence",
            [round(runs.trained[0] / 2, 3), round(ratio, 3)],
        )
    return None


def _train_ratios(runs: RatioRuns, reason: str, ratios: list[float]) -> Refusal:
    return Refusal(reason, [runs.mix(ratio) for ratio in ratios])


def _first_ratios(runs: RatioRuns) -> list[float]:
    """Target shares that would let a ratio law be fitted, away from those already trained."""
    new = [r for r in FIRST_RATIOS if all(abs(r - trained) > 0.05 for trained in runs.trained)]
    return new[: MIN_RATIOS + 1]


# A mixture of many sources.


def no_base(table: RunTable, question: Question, constraints: Constraints) -> str | None:
    """Why a tolerance cannot be kept: it is over the losses of the base model, and the table has none."""
    known = set(table.base["eval"].unique())
    unknown = [n for n in dict.fromkeys([*question.general, *constraints.protect]) if n not in known]
    if not unknown:
        return None
    return (
        f"no base rows (tokens 0) for {', '.join(unknown[:5])}, over whose losses the tolerance is asked; add the base "
        "model's losses with tokens 0, or ask without protected losses and bound shares instead"
    )


def too_few_mixtures(data: Slice, question: Question, free: int) -> str | None:
    """Why these runs cannot carry a decision at all; `free` shares are to be decided."""
    mixtures = len(data.mixtures_kd)
    if mixtures < 2:
        return "all runs have one mixture, so nothing is known about another"
    if mixtures <= free:
        return (
            f"{mixtures} different mixtures cannot tell {free} free shares apart and show how far a law misses; "
            f"train at least {free + 1}"
        )
    if data.reach(question) > REFUSE_BEYOND and data.base and question.general:
        return (
            f"the runs are at {int(data.reached):,} tokens and {question.tokens:,} are asked about: an increment over "
            "the base model is not followed that far; train proxies nearer to it"
        )
    return None


def on_a_line(region: Region, data: Slice) -> str | None:
    """Why runs whose shares move together determine no mixture."""
    known, needed = region.directions(data.mixtures_kd)
    if known >= needed:
        return None
    return (
        f"the trained mixtures vary in {known} direction(s) and cannot tell {needed + 1} free shares apart; train the "
        "mixtures of next_runs, or freeze the domains that moved together"
    )


def no_law_tells_mixtures_apart(fitted: FittedLosses, targets: list[str]) -> str | None:
    """Why laws that don't rank mixtures decide nothing; `targets` are the losses to lower."""
    if any(LAWS[fitted.laws[name]].ranks_mixtures for name in targets):
        return None
    return "no law beats the constant on held-out mixtures: these runs do not tell mixtures apart"


def train_a_spread(data: Slice, reason: str, rng: np.random.Generator) -> Refusal:
    """Mixtures spread over the whole simplex, away from the trained ones, are to be trained first."""
    wide = make_region(data.domains, np.eye(len(data.domains)))
    centre = np.full((1, len(data.domains)), 1 / len(data.domains))
    options = wide.shares(np.concatenate([centre, wide.sample(centre, 400, rng)]))
    count = max(NEXT_RUNS, 2 * len(data.domains) - len(data.mixtures_kd))
    chosen = spread(options, data.mixtures_kd, min(count, 12))
    return Refusal(reason, [by_domain(data.domains, options[m].round(3)) for m in chosen])


def far_outside(data: Slice, fitted: FittedLosses, answer: Optimum, outside: float) -> Refusal | None:
    """The best mixture is `outside` (total variation) of all mixtures of trained ones: it is to be trained first."""
    if outside <= FAR_OUTSIDE:
        return None
    return Refusal(
        f"{outside:.0%} of the best mixture lies outside all mixtures of trained ones; train it first, or stay nearer "
        "to them (kl, e.g. 0.05 nats)",
        [by_domain(data.domains, answer.shares_d)],
        law=fitted.law,
    )


def no_mixture_safe(
    question: Question, data: Slice, problem: Problem, candidates: Candidates, fitted: FittedLosses
) -> Refusal:
    """A mixture keeps its tolerances by the best estimate, but none as probably as was asked."""
    part_m = (candidates.violation_bm[1:] <= FEASIBLE).mean(0)
    at = int(part_m.argmax())
    shares_d = problem.region.shares(candidates.q_mq[[at]])[0]
    names = ", ".join(c.name for c in problem.loss_constraints)
    return Refusal(
        f"no mixture keeps the tolerance ({names}) with {question.confidence:.0%} confidence; the safest within reach "
        f"does with {part_m[at]:.0%}. Train it next, allow more, or ask for less confidence",
        [by_domain(data.domains, shares_d.round(3))],
        binding="tolerance",
        law=fitted.law,
    )


def no_mixture_allowed(
    question: Question,
    data: Slice,
    problem: Problem,
    candidates: Candidates,
    fitted: FittedLosses,
    reference: dict[str, Floats],
) -> Refusal:
    """No mixture keeps its tolerances: by how much at best, where, and what to allow."""
    least = least_violation(problem, candidates)
    over = []
    for constraint in problem.loss_constraints:
        key = "general" if constraint.name == "general" else f"protect:{constraint.name}"
        loss = float(constraint.model.losses(least.shares_d[None])[0, 0])
        if loss > constraint.limit_b[0] + 1e-6:
            over.append(f"{constraint.name} {loss - float(reference[key][0]):+.4g}")
    words = active_constraints(problem, candidates, least)[1]
    there = "; ".join(line for line in words if "tolerance" not in line) or "no other limit"
    increment = float(least.violation) + question.tolerance
    note = f"the least increment is {increment:+.4g} nats"
    return Refusal(
        f"no mixture keeps every protected loss within its tolerance; the least increments within reach are "
        f"{', '.join(over)} nats (there: {there}). Allow that much, relax the limits, or train mixtures nearer to it",
        [by_domain(data.domains, least.shares_d.round(3))],
        binding="tolerance",
        law=fitted.law,
        tests=[Test("tolerance", None, None, note)] if question.general else [],
    )
