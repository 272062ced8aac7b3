"""The critical mixture ratio with an interval (Gu et al. 2024): two tests, and which one binds.

With two sources, or several of fixed proportions within each role, one number is decided: the target share R.
(tolerance)     the general loss at the asked budget is within the tolerance of the base model's
(turning point) F = dL_target + LAMBDA * dL_general falls at that budget: the general loss has turned down
The critical ratio is the largest R that passes both. Its interval is that of draws from the posterior of both losses
over target share (`mixing.decision.critical_ratio.posterior`): an average over published forms, exponents, the scatter
of runs and the law's misfit. Slopes over tokens are those of refits to replicated runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from mixing.decision import baselines, refusals
from mixing.decision.binding import Binding
from mixing.decision.constraints import Constraints, ratio_range
from mixing.decision.critical_ratio.curves import interval_of, with_budgets, with_curves
from mixing.decision.critical_ratio.evidence import (
    DRAWS,
    Evidence,
    across_sizes,
    evidence,
    fit_surfaces,
    surface_generator,
)
from mixing.decision.critical_ratio.ratio_runs import RatioRuns, ratio_runs, role_of, set_of
from mixing.decision.critical_ratio.telling_ratios import telling_ratios
from mixing.decision.direction import unit_doubts
from mixing.decision.question import WARN_BEYOND, Question
from mixing.decision.record import PROTECT, Baseline, Interval, Prediction, name_single_sets
from mixing.decision.result import Decision
from mixing.errors import InputError
from mixing.laws.base import NotApplicable
from mixing.runs.budgets import runs_beyond, tiny_budget
from mixing.runs.suspicious import without_suspicious
from mixing.runs.table import RunTable

WIDE = 0.05
"""An interval wider than +- this deserves a warning, and more runs."""
NEXT_RUNS = 2
SIGNAL = 3.0
"""Increments of the general loss below this many times the scatter of runs say little."""


def decide_ratio(
    table: RunTable,
    question: Question,
    constraints: Constraints | None = None,
    *,
    composition: Mapping[str, float] | None = None,
    seed: int = 0,
    curves: bool = True,
) -> Decision:
    """The largest target share that the question allows, or "not yet" with the runs to add.

    Of the constraints `max_shares` and repetition are respected; natural shares add a baseline. `composition` is each
    domain's share within its role, where it is known. Without `curves` the ratio over budgets, for figures only, is
    left out: 40 % of the time.

    Raises InputError for a table without base rows, without the named validation sets, or whose shares within a role
    vary between runs, and for caps that leave no mixture.
    """
    constraints = constraints or Constraints()
    table = without_suspicious(table, [*question.general, *question.target, *constraints.protect])
    runs = ratio_runs(table, question, composition, constraints.protect)
    warnings = [*table.warnings, *runs.increments.warnings]
    if not runs.inside.all():
        warnings.append(
            "runs at target share 0 or 1 are outside the ratio law: they tell the loss there, and nothing of how it "
            "goes on over tokens"
        )
    refusal = refusals.too_few_ratios(runs) or refusals.budget_too_far(runs) or refusals.other_direction(runs)
    if refusal is not None:
        return refusal.decision(question, runs.n_runs, warnings)
    warnings += [*_budget_doubts(runs), *unit_doubts(question, runs.values())]
    rng = surface_generator(seed)
    try:
        surfaces = fit_surfaces(runs, rng)
    except NotApplicable as error:
        return refusals.no_ratio_law(runs, error).decision(question, runs.n_runs, warnings)
    protect = {role_of(question, name) or name: nats for name, nats in constraints.protect.items()}
    believed, base = evidence(surfaces, question, question.tokens, DRAWS, seed, protect), runs.base
    if runs.sizes is not None:
        extension = across_sizes(runs, believed, seed)
        if extension is None:
            return refusals.too_few_at_a_size(runs).decision(question, runs.n_runs, warnings)
        believed, base, notes = extension
        warnings += notes
    fits = RatioFits(runs, constraints, believed, base, tuple(warnings), rng.bit_generator.state)
    decision = fits.decide(question)
    if curves and decision.ratio_curves:
        decision = with_budgets(decision, believed, runs.ratios, seed)
    return decision.remembering(replace(fits, over_budgets=decision))


@dataclass(frozen=True)
class RatioFits:
    """All that a decision on one ratio is worked out from, once both losses are fitted.

    `base` are the base model's losses, `warnings` what the runs themselves call for. The random numbers of new runs go
    on from `rng_state`, so that every question is answered as if it had been the first. `over_budgets` holds what does
    not depend on the question's tolerance and levels.
    """

    runs: RatioRuns
    constraints: Constraints
    evidence: Evidence
    base: dict[str, float]
    warnings: tuple[str, ...]
    rng_state: Mapping[str, Any]
    over_budgets: Decision | None = None

    def answer(self, question: Question) -> Decision:
        """The decision on a question that differs in its tolerance, levels, or in what it asks of turning points."""
        decision = self.decide(question)
        if self.over_budgets is not None and decision.ratio_curves and question.turning_point != "off":
            first = self.over_budgets
            decision = replace(decision, critical_times=first.critical_times, cmr_law=first.cmr_law)
        return decision.remembering(self)

    def observed(self) -> pl.DataFrame:
        return self.runs.increments.observed()

    def decide(self, question: Question) -> Decision:
        """The answer within its bounds, or the refusal; without curves over budgets."""
        runs, believed = replace(self.runs, question=question), self.evidence.at(question)
        bounds = RatioBounds.of(runs, self.constraints)
        refusal = refusals.no_ratio(runs, believed.tests, bounds.low)
        if refusal is not None:
            decision = refusal.decision(question, runs.n_runs, list(self.warnings))
            return with_curves(decision, believed, runs.ratios)
        ratio = min(believed.one, bounds.ceiling)
        drawn_b = np.clip(believed.both_b, 0.0, bounds.highest)
        low, high = interval_of(drawn_b, question.level)
        interval = (min(low, ratio), max(high, ratio))
        safe = min(float(np.quantile(drawn_b, 1 - question.confidence)), ratio)
        refusal = refusals.unsure(runs, ratio, safe, interval, bounds.low)
        if refusal is not None:
            decision = refusal.decision(question, runs.n_runs, list(self.warnings))
            return with_curves(decision, believed, runs.ratios)
        binding = bounds.binding(believed)
        predict = _Predictor(believed, self.base, question, self._rng())
        predicted = predict.at(safe)
        status: Literal["decided", "bound"] = "decided"
        next_ratios, gains = self._next(believed, question)
        if binding == "bound" and bounds.user[1] >= bounds.trained:
            status = "bound"
            next_ratios, gains = [round((1 + runs.trained[-1]) / 2, 3)], ["it shows where the tolerance ends"]
        decision = Decision(
            question,
            status,
            runs.mix(safe),
            ratio,
            interval,
            binding,
            believed.surfaces["general"].law.name,
            runs.n_runs,
            name_single_sets(predicted, question),
            self._baselines(predict, believed),
            next_runs=[runs.mix(r) for r in next_ratios],
            next_run_gains=gains,
            warnings=[*self.warnings, *_doubts(runs, believed, ratio, interval, predicted)],
            safe_ratio=safe,
            estimate_shares=runs.mix(ratio),
            within=believed.within(safe),
            limits=_limits(believed, question, binding),
            protect=dict(self.constraints.protect),
        )
        return with_curves(decision, believed, runs.ratios)

    def _baselines(self, predict: _Predictor, believed: Evidence) -> list[Baseline]:
        natural = self.constraints.natural_shares(self.runs.table.domains)
        ratios = baselines.usual_ratios(self.runs.question.target_domains, natural)
        return [
            Baseline(name, self.runs.mix(share), predict.at(share), believed.within(share))
            for name, share in ratios.items()
        ]

    def _next(self, believed: Evidence, question: Question) -> tuple[list[float], list[str]]:
        telling = telling_ratios(believed, question, self.runs.trained, NEXT_RUNS)
        return [one.ratio for one in telling], [one.gain() for one in telling]

    def _rng(self) -> np.random.Generator:
        rng = np.random.default_rng()
        rng.bit_generator.state = self.rng_state
        return rng


@dataclass(frozen=True)
class RatioBounds:
    """The target shares that an answer may have: as repetition, the user and the trained runs allow them.

    `trained` is the largest share of a run, `reachable` where a crossing beyond the trained shares is still followed.
    """

    repetition: Interval
    user: Interval
    reachable: Interval
    trained: float

    @classmethod
    def of(cls, runs: RatioRuns, constraints: Constraints) -> RatioBounds:
        """Raises InputError where caps leave no mixture."""
        repetition = _range(constraints.caps(runs.question.tokens), runs)
        user = _range(constraints.max_shares, runs)
        bounds = cls(repetition, user, runs.reachable, runs.trained[-1])
        if bounds.low > min(repetition[1], user[1]):
            raise InputError(
                "the caps leave no mixture: every domain together may not fill the budget",
                "Raise max_epochs or max_shares, add text, or lower the token budget",
            )
        return bounds

    @property
    def low(self) -> float:
        """The least target share: more general text than that is not there, or not wanted."""
        return max(self.repetition[0], self.user[0])

    @property
    def ceiling(self) -> float:
        """The largest share that is recommended: no run tells that a larger one keeps the tolerance."""
        return min(self.trained, self.highest)

    @property
    def highest(self) -> float:
        """The largest share that may be true, or is allowed."""
        return min(self.repetition[1], self.user[1])

    def binding(self, believed: Evidence) -> Binding:
        """What keeps the answer from being a larger share."""
        if believed.one > self.ceiling:
            return "repetition" if self.repetition[1] < min(self.trained, self.user[1]) else "bound"
        if believed.one >= 1:
            return "none"
        return "turning_point" if believed.binding == "turning_point" else "tolerance"


def _range(caps: Mapping[str, float], runs: RatioRuns) -> Interval:
    """The range of target shares that no domain's cap forbids."""
    return ratio_range(caps, runs.within, runs.question.target_domains)


@dataclass(frozen=True)
class _Predictor:
    """Both losses of a new run at a target share: the scatter of one run and checkpoint is part of the interval."""

    believed: Evidence
    base: dict[str, float]
    question: Question
    rng: np.random.Generator

    def at(self, ratio: float) -> dict[str, Prediction]:
        predictions = {}
        for name, curve in self.believed.now.items():
            value, draws_b = curve.of_new_run(ratio, self.rng)
            low, high = interval_of(draws_b, self.question.level)
            base = self.base[name]
            predictions[name] = Prediction(
                base + value, (base + min(low, value), base + max(high, value)), value
            )
        return predictions


def _limits(believed: Evidence, question: Question, binding: Binding) -> list[str]:
    """The protected set whose tolerance binds, in words."""
    name = believed.binding.removeprefix(PROTECT)
    if binding != "tolerance" or name not in believed.protect:
        return []
    return [f"{set_of(question, name)} loss at its tolerance of {believed.protect[name]:g} nats"]


def _budget_doubts(runs: RatioRuns) -> list[str]:
    """Warnings about a budget that the runs don't have."""
    tokens, first = runs.question.tokens, runs.points.tokens_n.min()
    reach = tokens / runs.usual_budget
    warnings = tiny_budget(runs.usual_budget)
    warnings += runs_beyond(runs.increments.runs_n, runs.increments.points.tokens_n, runs.usual_budget)
    if reach > WARN_BEYOND:
        warnings.append(
            f"the budget asked about is {reach:.1f} times the largest trained budget that almost all runs reached: "
            "extrapolated"
        )
    if tokens < first:
        warnings.append(
            f"{tokens:,} tokens are fewer than at the first checkpoint of any run ({int(first):,}): extrapolated; "
            "are these tokens, not steps?"
        )
    return warnings


def _doubts(
    runs: RatioRuns,
    believed: Evidence,
    ratio: float,
    interval: Interval,
    predicted: dict[str, Prediction],
) -> list[str]:
    """Warnings about an answer."""
    warnings: list[str] = []
    if ratio < runs.trained[0]:
        warnings.append(f"the critical ratio {ratio:.3f} lies below the trained shares: extrapolated")
    levels_r = believed.surfaces["general"].levels(min(runs.question.tokens, runs.usual_budget)).levels_r
    scatter, moved = believed.now["general"].scatter(), float(np.abs(levels_r).max())
    if moved < SIGNAL * scatter:
        warnings.append(
            f"the general loss moved by at most {moved:.2g} nats, less than {SIGNAL:g} times the scatter "
            f"of one run ({scatter:.2g}): train longer, or repeat mixtures with other seeds"
        )
    if interval[1] - interval[0] > 2 * WIDE:
        warnings.append(f"the interval is wider than +-{WIDE}: train the next runs that are named")
    if not believed.surfaces["general"].knows_sampling:
        warnings.append(
            "the sampling error of the validation set is not in the intervals: the table has no stderr of its losses"
        )
    if predicted["target"].increment >= 0:
        warnings.append(
            "the target loss does not fall at the recommended mix: the second condition of the law fails"
        )
    return warnings
