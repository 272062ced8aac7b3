"""The decision with more than two sources: the best mixture under protected losses and caps, with intervals.

    minimise    the weighted (or the worst) target loss + kl * KL(p || prior)
    subject to  general loss - base <= tolerance, each protected loss - base <= its own, caps, bounds, the trained range

The optimum is searched again in every replicate of a parametric bootstrap over runs, whose laws share the replicates
(`mixing.decision.mixture.loss_models`). Without base rows (a swarm from scratch) the reference is the loss predicted at
the prior mixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from mixing.arrays import Floats
from mixing.decision import refusals
from mixing.decision.constraints import Constraints
from mixing.decision.direction import direction_doubt, unit_doubts
from mixing.decision.mixture.bounds import ROOM, Region, by_domain, make_region
from mixing.decision.mixture.doubts import OUTSIDE, answer_doubts, run_doubts
from mixing.decision.mixture.loss_models import REPLICATES, FittedLosses, fit_losses
from mixing.decision.mixture.next_mixtures import next_mixtures
from mixing.decision.mixture.objective import Problem
from mixing.decision.mixture.optimiser import (
    Candidates,
    Optimum,
    optimise,
    optimise_replicates,
    sample_candidates,
)
from mixing.decision.mixture.pareto import front
from mixing.decision.mixture.predictions import Predictor, usual_mixtures, widened
from mixing.decision.mixture.problem import (
    active_constraints,
    build_problem,
    named_losses,
    natural_shares,
    outside_hull,
    problem_doubts,
    references,
)
from mixing.decision.mixture.safe import SafeMixture, safe_mixture
from mixing.decision.mixture.slices import Slice, slice_runs
from mixing.decision.question import Question
from mixing.decision.record import FrontPoint, Interval, name_single_sets
from mixing.decision.result import Decision
from mixing.laws import LAWS
from mixing.laws.base import NotApplicable
from mixing.runs.table import RunTable

MIXTURE_STREAM = 0x50C5
"""Tells the random numbers of this decision from those of other uses of a seed."""


def decide_mixture(
    table: RunTable,
    question: Question,
    constraints: Constraints | None = None,
    *,
    law: str = "auto",
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Decision:
    """The best mixture that the question and the constraints allow, or "not yet" with the runs to add.

    `law` is auto, or the law of every loss. `on_progress(done, total)` counts laws that were tried, then replicates.

    Raises InputError for constraints that leave no mixture, unknown names, and a table without the named losses.
    """
    constraints = constraints or Constraints()
    losses = named_losses(table, question, constraints)
    progress = _Progress(on_progress, len(losses) * len(LAWS) + REPLICATES)
    data = slice_runs(table, question, losses)
    natural, known = natural_shares(table.domains, data, constraints)
    region = make_region(
        table.domains,
        data.points.shares_nd,
        low=constraints.min_shares,
        high=constraints.max_shares,
        caps=constraints.caps(question.tokens),
        freeze=constraints.freeze,
        within=natural,
    )
    rng = np.random.default_rng([seed, MIXTURE_STREAM])
    free = int((region.high_q - region.low_q > ROOM).sum())
    warnings = [*table.warnings, *data.warnings, *run_doubts(data, question, free)]
    reason = (
        refusals.no_base(table, question, constraints)
        or refusals.too_few_mixtures(data, question, free)
        or refusals.on_a_line(region, data)
    )
    if (doubt := direction_doubt(question, data.values())) is not None:
        return refusals.Refusal(doubt, []).decision(question, data.n_runs, warnings)
    warnings += unit_doubts(question, data.values())
    if reason is None:
        try:
            fitted = fit_losses(data, law, rng, step=progress.step)
        except NotApplicable as error:
            reason = f"no law fits these runs: {error}"
        else:
            targets = [name for name in losses if name.startswith("target")]
            reason = refusals.no_law_tells_mixtures_apart(fitted, targets)
    if reason is not None:
        return refusals.train_a_spread(data, reason, rng).decision(question, data.n_runs, warnings)
    fits = MixtureFits(
        data, constraints, region, natural, known, fitted, tuple(warnings), rng.bit_generator.state
    )
    return fits.decide(question, progress.step)


@dataclass(frozen=True)
class MixtureFits:
    """All that a decision on a mixture is worked out from, once every loss is fitted.

    `natural` shares are given where `known`, else those of the mean trained mixture; `warnings` are what the runs
    themselves call for. Random numbers go on from `rng_state`, so that every question is answered as if the first.
    """

    data: Slice
    constraints: Constraints
    region: Region
    natural: dict[str, float]
    known: bool
    fitted: FittedLosses
    warnings: tuple[str, ...]
    rng_state: Mapping[str, Any]

    def answer(self, question: Question) -> Decision:
        """The decision on a question that differs in its tolerance or levels."""
        return self.decide(question)

    def observed(self) -> pl.DataFrame:
        return pl.DataFrame()

    def decide(self, question: Question, step: Callable[[], None] | None = None) -> Decision:
        """The optimum with its replicates, or the refusal."""
        rng = np.random.default_rng()
        rng.bit_generator.state = self.rng_state
        data, fitted, domains = self.data, self.fitted, self.data.domains
        natural_d = np.array([self.natural[d] for d in domains])
        reference = references(data, fitted, natural_d)
        problem = build_problem(question, self.constraints, self.region, fitted, reference, natural_d)
        warnings = [*self.warnings, *problem_doubts(question, self.constraints, data, fitted, natural_d)]
        candidates = sample_candidates(problem, np.concatenate([data.mixtures_kd, natural_d[None]]), rng)
        answer = optimise(problem, candidates)
        if not answer.feasible:
            refusal = refusals.no_mixture_allowed(question, data, problem, candidates, fitted, reference)
            return refusal.decision(question, data.n_runs, warnings).remembering(self)
        safe = safe_mixture(problem, candidates, answer, question.confidence)
        if safe is None:
            refusal = refusals.no_mixture_safe(question, data, problem, candidates, fitted)
            return refusal.decision(question, data.n_runs, warnings).remembering(self)
        replicates = optimise_replicates(problem, candidates, answer, step)
        outside = outside_hull(safe.optimum.shares_d, data.mixtures_kd)
        far = refusals.far_outside(data, fitted, safe.optimum, outside)
        if far is not None:
            return far.decision(question, data.n_runs, warnings).remembering(self)
        solved = _Solved(problem, candidates, answer, safe, replicates, outside)
        predictor = Predictor(question, data, fitted, reference, rng)
        decision = self._decision(question, solved, predictor, warnings)
        return decision.remembering(self)

    def _decision(
        self, question: Question, solved: _Solved, predictor: Predictor, warnings: list[str]
    ) -> Decision:
        data, fitted, domains, answer = self.data, self.fitted, self.data.domains, solved.answer
        safe, many_bd = solved.safe, solved.shares_bd
        best = safe.optimum
        predicted = predictor.at(best.shares_d)
        protected = bool(solved.problem.loss_constraints)
        critical_ratio, interval = _target_share(question, data, answer, many_bd)
        binding, limits = active_constraints(safe.problem, safe.candidates, best)
        decision = Decision(
            question=question,
            status="decided",
            shares=by_domain(domains, best.shares_d),
            critical_ratio=critical_ratio,
            interval=interval,
            binding=binding,
            law=fitted.law,
            n_runs=data.n_runs,
            predicted=name_single_sets(predicted, question),
            baselines=usual_mixtures(predictor, solved.problem, self.natural, self.known, self.constraints),
            limits=limits,
            front=_front(question, solved, predictor),
            share_intervals={
                d: widened(many_bd[:, i], float(answer.shares_d[i]), question.level)
                for i, d in enumerate(domains)
            },
            regret=solved.regret(),
            estimate_shares=by_domain(domains, answer.shares_d),
            within=safe.within if protected else None,
            given_up=max(best.value - answer.value, 0.0) if protected else None,
            protect=dict(self.constraints.protect),
        )
        return replace(
            decision,
            warnings=[*warnings, *answer_doubts(decision, predictor, self.region, best, solved.outside)],
            next_runs=next_mixtures(
                predictor, self.region, solved.candidates, best, many_bd, first=solved.outside > OUTSIDE
            ),
        )


@dataclass(frozen=True)
class _Solved:
    """The optimum of a problem, the safe mixture, and the optima of replicates; `outside` is how far the safe mixture
    leaves the hull of trained ones."""

    problem: Problem
    candidates: Candidates
    answer: Optimum
    safe: SafeMixture
    replicates: list[Optimum]
    outside: float

    @property
    def shares_bd(self) -> Floats:
        return np.stack([optimum.shares_d for optimum in self.replicates])

    def regret(self) -> float:
        """What knowing the landscape would gain on average: each replicate's own optimum against `shares` there."""
        chosen = self.safe.optimum.shares_d[None]
        at_answer = self.problem.objective(chosen)[1:, 0]
        allowed = self.problem.violation(chosen)[1:, 0] <= 1e-6
        gains = np.array([at_answer[b] - o.value for b, o in enumerate(self.replicates) if allowed[b]])
        return float(np.maximum(gains, 0.0).mean()) if len(gains) else 0.0


def _target_share(
    question: Question, data: Slice, answer: Optimum, many_bd: Floats
) -> tuple[float | None, Interval | None]:
    """The total target share with its interval; None where there is no base model, or no such role."""
    if not data.base or not question.target_domains:
        return None, None
    columns = [data.domains.index(d) for d in question.target_domains]
    columns = [data.domains.index(d) for d in question.target_domains]
    ratio = float(answer.shares_d[columns].sum())
    return ratio, widened(many_bd[:, columns].sum(1), ratio, question.level)


def _front(question: Question, solved: _Solved, predictor: Predictor) -> list[FrontPoint]:
    """The best target loss for every general loss; empty where nothing is protected."""
    if not question.general:
        return []
    general = next(c for c in solved.problem.loss_constraints if c.name == "general")
    return [
        FrontPoint(by_domain(predictor.data.domains, o.shares_d), *predictor.both(o.shares_d))
        for o in front(solved.problem, solved.candidates, general)
    ]


@dataclass
class _Progress:
    """Counts laws that were tried, then replicates."""

    report: Callable[[int, int], None] | None
    total: int
    done: int = 0

    def step(self) -> None:
        self.done += 1
        if self.report is not None:
            self.report(min(self.done, self.total), self.total)
