"""What a decision rests on: both surfaces, what is believed of both losses at a budget, and the two tests there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.decision.critical_ratio.feasibility import largest_passing, turning_ratios
from mixing.decision.critical_ratio.loss_surface import MIN_RATIOS, Surface, fitted
from mixing.decision.critical_ratio.model_sizes import extend, line_weights
from mixing.decision.critical_ratio.posterior import Curves
from mixing.decision.question import Question
from mixing.laws.base import NotApplicable
from mixing.runs.increments import Increments
from mixing.runs.table import RunTable

DRAWS = 1000
"""Draws of the loss over shares at the asked budget."""
LAMBDA = 1000.0
"""Weight of the general loss in F; published range 100 to 7000."""
REFUSE_BEYOND = 4.0
"""How many times the largest trained budget a law is followed at all."""


@dataclass(frozen=True)
class Evidence:
    """Both surfaces, what is believed of both losses at the asked budget, and the two tests there; `extended` where
    the losses are those of another size than the surfaces.

    `tolerance_b` and `turning_b` are the largest shares that pass in each draw (1: every share), `*_one` those of
    the best estimate; `turning` is None where the law cannot turn.
    """

    surfaces: dict[str, Surface]
    now: dict[str, Curves]
    tolerance_one: float
    tolerance_b: Floats
    turning_one: float | None
    turning_b: Floats | None
    extended: bool = False

    @property
    def one(self) -> float:
        return self.tolerance_one if self.turning_one is None else min(self.tolerance_one, self.turning_one)

    @property
    def both_b(self) -> Floats:
        return self.tolerance_b if self.turning_b is None else np.minimum(self.tolerance_b, self.turning_b)


def evidence_of(table: RunTable, question: Question, seed: int = 0) -> Evidence | None:
    """What `decide` would rest on; None where it says "not yet" before any fit. Raises as `decide` does."""
    data = question.increments(in_order(table))
    inside = data.points.interior()
    enough = len(np.unique(data.points.target_n[inside].round(9))) >= MIN_RATIOS
    if not enough or question.tokens > REFUSE_BEYOND * float(data.points.tokens_n[inside].max()):
        return None
    try:
        surfaces = surfaces_of(data, inside, question, np.random.default_rng([seed, 0xB007]))
    except NotApplicable:
        return None
    return evidence(surfaces, question, question.tokens, DRAWS, seed)


def evidence(
    surfaces: dict[str, Surface], question: Question, tokens: float, draws: int, seed: int
) -> Evidence:
    now = {
        name: surface.curve(tokens, draws, [seed, number, int(tokens)])
        for number, (name, surface) in enumerate(surfaces.items())
    }
    general = now["general"]
    one, many = (
        largest_passing(values_bg, question.tolerance)
        for values_bg in (general.mean_g[None], general.draws_bg)
    )
    first, second = surfaces["general"], surfaces["target"]
    turning_one_b = turning_ratios(first.fit, second.fit, first.points, tokens, LAMBDA)
    turning_b = turning_ratios(first.replicates, second.replicates, first.points, tokens, LAMBDA)
    turning_one = None if turning_one_b is None else float(turning_one_b[0])
    if turning_b is not None:
        # Levels and slopes are told by different things, offsets of runs and their course: drawn apart.
        turning_b = turning_b[np.arange(draws) % len(turning_b)]
    return Evidence(surfaces, now, float(one[0]), many, turning_one, turning_b)


def across_sizes(
    table: RunTable, question: Question, sizes: list[int], largest: Evidence, seed: int
) -> tuple[Evidence, dict[str, float], list[str]] | None:
    """Evidence and base losses at a size that was not trained, and what to say of them."""
    assert question.params is not None
    asked = [replace(question, params=size) for size in sizes]
    smaller = [evidence_of(table, each, seed) for each in asked[:-1]]
    found = [*(one for one in smaller if one is not None), largest]
    if len(found) < len(sizes):
        return None
    now, notes = {}, []
    for number, name in enumerate(("general", "target")):
        rng = np.random.default_rng([seed, number, question.params])
        now[name], miss = extend([one.now[name] for one in found], sizes, question.params, rng)
        notes.append(
            f"across sizes: the {name} loss of {sizes[-1]:,} parameters was missed by {miss:.2g} nats"
        )
    reach = question.params / sizes[-1]
    notes.append(
        f"{question.params:,} parameters are {reach:.2g} times the largest size trained: extrapolated"
    )
    weight_k = line_weights(sizes, question.params)
    bases = [each.increments(table).base for each in asked]
    base = {n: float(sum(w * b[n] for w, b in zip(weight_k, bases, strict=True))) for n in now}
    one, many_b = (
        largest_passing(v, question.tolerance) for v in (now["general"].mean_g[None], now["general"].draws_bg)
    )
    return Evidence(largest.surfaces, now, float(one[0]), many_b, None, None, True), base, notes


def surfaces_of(
    data: Increments, inside: NDArray[np.bool_], question: Question, rng: np.random.Generator
) -> dict[str, Surface]:
    losses = {"general": (data.points, data.general_n), "target": (data.target_points, data.target_n)}
    return {
        name: fitted(points.take(inside), losses_n[inside], question.tokens, rng)
        for name, (points, losses_n) in losses.items()
    }


def in_order(table: RunTable) -> RunTable:
    """The order of rows means nothing, so it may not reach even the last digit of a sum."""
    rows = table.rows.sort("eval", "run", "params", "seed", "tokens")
    return RunTable(rows, table.source, table.warnings)
