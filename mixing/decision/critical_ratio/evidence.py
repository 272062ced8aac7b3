"""What a decision rests on: both surfaces, what is believed of both losses at a budget, and the two tests there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from mixing.arrays import Floats
from mixing.decision.critical_ratio.feasibility import largest_passing, turning_ratios
from mixing.decision.critical_ratio.loss_surface import MIN_RATIOS, Surface, fit_surface
from mixing.decision.critical_ratio.model_sizes import extend, line_weights
from mixing.decision.critical_ratio.posterior import LossPosterior
from mixing.decision.critical_ratio.ratio_runs import RatioRuns, ratio_runs
from mixing.decision.question import REFUSE_BEYOND, Question
from mixing.decision.record import PROTECT
from mixing.laws.base import NotApplicable

DRAWS = 1000
"""Draws of the loss over shares at the asked budget."""
LAMBDA = 1000.0
"""Weight of the general loss in the objective F (Gu et al. 2024), whose published range is 100 to 7000."""
SURFACE_STREAM = 0xB007
"""Tells the random numbers behind surfaces from those of other uses of a seed."""


@dataclass(frozen=True)
class Evidence:
    """Both surfaces, what is believed of both losses at the asked budget, and the two tests there; `extended` where
    the losses are those of another size than the surfaces. `protect` are the tolerances of single validation sets, by
    name in `now`.

    `tolerance_b` and `turning_b` are the largest shares that pass in each draw (1: every share), `*_one` those of
    the best estimate; `turning` is None where the law cannot turn, or nobody asked. `require_turning` says whether the
    second test binds.
    """

    surfaces: dict[str, Surface]
    now: dict[str, LossPosterior]
    tolerance_one: float
    tolerance_b: Floats
    turning_one: float | None
    turning_b: Floats | None
    require_turning: bool = True
    extended: bool = False
    protect: Mapping[str, float] = field(default_factory=dict)

    @property
    def tests(self) -> dict[str, tuple[float, Floats]]:
        """The tests that bind: the best estimate of the largest share that passes, and that of each draw."""
        tests = {"tolerance": (self.tolerance_one, self.tolerance_b)}
        for name, allowed in self.protect.items():
            tests[PROTECT + name] = _largest_within(self.now[name], allowed)
        if self.require_turning and self.turning_one is not None and self.turning_b is not None:
            tests["turning_point"] = self.turning_one, self.turning_b
        return tests

    @cached_property
    def binding(self) -> str:
        """The test that keeps the best estimate from being larger."""
        tests = self.tests
        return min(tests, key=lambda name: tests[name][0])

    @cached_property
    def one(self) -> float:
        """The critical ratio, the best estimate."""
        return self.tests[self.binding][0]

    @cached_property
    def both_b(self) -> Floats:
        """The critical ratio in each draw."""
        return np.asarray(np.minimum.reduce([many_b for _, many_b in self.tests.values()]))

    def within(self, ratio: float) -> float:
        """The probability that a target share passes the tests that bind."""
        return float((self.both_b >= ratio - 1e-9).mean())

    def at(self, question: Question) -> Evidence:
        """The tests of a question that differs in its tolerance or in what it asks of turning points."""
        one, many_b = _largest_within(self.now["general"], question.tolerance)
        require = question.turning_point == "require"
        return replace(self, tolerance_one=one, tolerance_b=many_b, require_turning=require)


def surface_generator(seed: int) -> np.random.Generator:
    """The random numbers that replicates of surfaces, then scatter of new runs, are drawn with."""
    return np.random.default_rng([seed, SURFACE_STREAM])


def evidence_of(runs: RatioRuns, seed: int = 0) -> Evidence | None:
    """What `decide` would rest on at a trained size; None where it says "not yet" before any fit."""
    question = runs.question
    if len(runs.ratios) < MIN_RATIOS or question.tokens > REFUSE_BEYOND * runs.usual_budget:
        return None
    try:
        surfaces = fit_surfaces(runs, surface_generator(seed))
    except NotApplicable:
        return None
    return evidence(surfaces, question, question.tokens, DRAWS, seed)


def evidence(
    surfaces: dict[str, Surface],
    question: Question,
    tokens: float,
    draws: int,
    seed: int,
    protect: Mapping[str, float] | None = None,
) -> Evidence:
    """What the surfaces say at a budget, in `draws` draws; `protect` are tolerances by name of a surface."""
    now = {
        name: surface.curve(tokens, draws, [seed, number, int(tokens)])
        for number, (name, surface) in enumerate(surfaces.items())
    }
    one, many_b = _largest_within(now["general"], question.tolerance)
    first, second = surfaces["general"], surfaces["target"]
    turning_one_b = turning_ratios(first.fit, second.fit, first.points, tokens, LAMBDA)
    turning_b = turning_ratios(first.replicates, second.replicates, first.points, tokens, LAMBDA)
    turning_one = None if turning_one_b is None else float(turning_one_b[0])
    if turning_b is not None:
        # Levels and slopes are told by different things, offsets of runs and their course: drawn apart.
        turning_b = turning_b[np.arange(draws) % len(turning_b)]
    require = question.turning_point == "require"
    return Evidence(surfaces, now, one, many_b, turning_one, turning_b, require, protect=dict(protect or {}))


def across_sizes(
    runs: RatioRuns, largest: Evidence, seed: int
) -> tuple[Evidence, dict[str, float], list[str]] | None:
    """Evidence and base losses at a size that was not trained, and notes on how; None where a size has too few runs."""
    question, sizes = runs.question, runs.sizes
    assert question.params is not None
    assert sizes is not None
    questions = [replace(question, params=size) for size in sizes]
    of_size = [ratio_runs(runs.table, each, runs.within, runs.alone) for each in questions]
    smaller = [evidence_of(each, seed) for each in of_size[:-1]]
    evidence_k = [*(one for one in smaller if one is not None), largest]
    if len(evidence_k) < len(sizes):
        return None
    now, notes = {}, []
    for number, name in enumerate(largest.now):
        rng = np.random.default_rng([seed, number, question.params])
        now[name], miss = extend([one.now[name] for one in evidence_k], sizes, question.params, rng)
        notes.append(
            f"across sizes: the {name} loss of {sizes[-1]:,} parameters was missed by {miss:.2g} nats"
        )
    reach = question.params / sizes[-1]
    notes.append(
        f"{question.params:,} parameters are {reach:.2g} times the largest size trained: extrapolated"
    )
    weight_k = line_weights(sizes, question.params)
    bases = [each.base for each in of_size]
    base = {n: float(sum(w * b[n] for w, b in zip(weight_k, bases, strict=True))) for n in now}
    one, many_b = _largest_within(now["general"], question.tolerance)
    require = question.turning_point == "require"
    extended = Evidence(
        largest.surfaces, now, one, many_b, None, None, require, extended=True, protect=largest.protect
    )
    return extended, base, notes


def fit_surfaces(runs: RatioRuns, rng: np.random.Generator) -> dict[str, Surface]:
    """A surface of each loss; raises NotApplicable."""
    data = runs.increments
    losses = {
        "general": (data.points, data.general_n, data.general_sampling_n, data.sample_n),
        "target": (data.target_points, data.target_n, data.target_sampling_n, data.sample_n),
        **{
            name: (one.points, one.general_n, one.general_sampling_n, one.sample_n)
            for name, one in runs.alone.items()
        },
    }
    # Whether a single set's loss rises with the target share, nobody knows: text that helps it may be in either.
    rising = {"general": True, "target": False}
    return {
        name: fit_surface(
            points,
            losses_n,
            runs.question.tokens,
            rng,
            rising=rising.get(name),
            sampling_n=errors_n,
            sample_n=sample_n,
        )
        for name, (points, losses_n, errors_n, sample_n) in losses.items()
    }


def _largest_within(loss: LossPosterior, tolerance: float) -> tuple[float, Floats]:
    """The largest share within the tolerance: the best estimate, and that of each draw."""
    one_b = largest_passing(loss.mean_g[None], tolerance)
    return float(one_b[0]), largest_passing(loss.draws_bg, tolerance)
