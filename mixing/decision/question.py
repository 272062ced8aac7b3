"""What is asked of a runs table, checked against it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from mixing.errors import InputError
from mixing.runs.budgets import usual_budget_of
from mixing.runs.increments import Increments, increments
from mixing.runs.metrics import DEFAULT, METRICS
from mixing.runs.table import RunTable

TurningPoint = Literal["report", "require", "off"]
"""Whether the second feasibility test binds, is only shown, or is left out."""

REFUSE_BEYOND, WARN_BEYOND = 4.0, 2.0
"""How many times the trained budget laws are followed at all, and without a warning."""

LARGE_TOLERANCE = 0.5
"""Nats above which a tolerance is taken to be a slip: .5 nats are 1.65 times the perplexity, 2 are 7.4 times."""
USUAL_TOLERANCE = "Tolerances are nats per token (0.02 is usual)"


@dataclass(frozen=True)
class Question:
    """What the user asks of a runs table.

    `general` and `target` weight validation sets (weights sum to 1); `target_domains` are the share columns
    whose sum is the target share R. `tolerance` is in nats of general loss, `tokens` the continual-pre-training
    budget and `params` the model size that are asked about (None: `mixing.runs.sizes.usual_size`).

    `level` is the confidence level of intervals. `confidence` is the probability with which the answer's `safe_ratio`
    keeps the tests, and changes nothing else. `turning_point` says whether the general loss must have turned down at
    the budget (`require`), whether that is only shown (`report`), or not looked at (`off`). `metrics` are those of
    validation sets that hold, or are said to hold, another one than a loss (`mixing.runs.metrics`).
    """

    general: dict[str, float]
    target: dict[str, float]
    target_domains: tuple[str, ...]
    tolerance: float
    tokens: int
    params: int | None = None
    level: float = 0.9
    confidence: float = 0.9
    turning_point: TurningPoint = "report"
    metrics: dict[str, str] = field(default_factory=dict)

    def metric(self, name: str) -> str:
        """The metric of a validation set, or of the role `general` or `target`."""
        sets = getattr(self, name) if name in ("general", "target") else [name]
        return next((self.metrics[one] for one in sets if one in self.metrics), DEFAULT)

    @property
    def unit(self) -> str:
        """What the tolerance is counted in: nats, unless the general sets hold another metric."""
        return METRICS[self.metric("general")].unit

    @property
    def loss_unit(self) -> str:
        """What increments of the general loss are counted in: nats per token, unless its sets hold another metric."""
        return METRICS[self.metric("general")].loss_unit

    def increments(self, table: RunTable) -> Increments:
        """The increments of the losses that it is about; raises InputError as `mixing.runs.increments` does."""
        return increments(table, self.general, self.target, self.target_domains, self.params)


def make_question(
    table: RunTable,
    general: Mapping[str, float],
    target: Mapping[str, float],
    target_domains: tuple[str, ...] | None = None,
    *,
    tolerance: float = 0.0,
    tokens: int | None = None,
    params: int | None = None,
    level: float = 0.9,
    confidence: float = 0.9,
    turning_point: TurningPoint = "report",
) -> Question:
    """Check a question against its table and fill what it leaves open.

    Weights are normalised. Target domains are the share columns named like a target validation set (case does not
    matter) unless given. `tokens` defaults to the largest budget that almost all runs reached. With more than two
    sources `general` may be empty (nothing is protected), and target domains unknown. Raises InputError.
    """
    _check_weights(table, general, target)
    if tokens is None:
        tokens = usual_budget_of(table.trained) if table.trained.height else 0
    question = Question(
        _normalised(general),
        _normalised(target),
        _target_domains(table, target, target_domains),
        tolerance,
        int(tokens),
        params,
        level,
        confidence,
        turning_point,
        {name: kind for name, kind in table.metrics.items() if name in {**general, **target}},
    )
    check_levels(question)
    if params is not None and params < 1:
        raise InputError(f"params {params}: not a model size", "Give non-embedding parameters, e.g. 70000000")
    table.check_has_sizes(params)
    if question.tokens <= 0:
        raise InputError(
            f"tokens {tokens} is not a token budget", "Give the budget asked about, e.g. 20000000000"
        )
    return question


def check_levels(question: Question) -> None:
    """Raises InputError for a level, a confidence, a tolerance or a turning point without a meaning."""
    for name, value in (("level", question.level), ("confidence", question.confidence)):
        if not 0 < value < 1:
            raise InputError(f"{name} {value} is not between 0 and 1", "Give 0.9 for 90%")
    if not math.isfinite(question.tolerance) or question.tolerance < 0:
        raise InputError(
            f"tolerance {question.tolerance} is not a number of 0 or more", "Give it in nats, e.g. 0.02"
        )
    if question.turning_point not in get_args(TurningPoint):
        raise InputError(
            f"turning_point {question.turning_point!r} is unknown",
            f"Choose among: {', '.join(get_args(TurningPoint))}",
        )


def large_tolerance(nats: float) -> str:
    """What a tolerance means as perplexity, and as the percentage that it may have been meant to be."""
    percent = f"; {nats:g}% would be about {nats / 100:g} nats" if nats >= 1 else ""
    return f"{nats:g} nats per token are {math.exp(min(nats, 50)):.3g} times the perplexity{percent}"


def _check_weights(table: RunTable, general: Mapping[str, float], target: Mapping[str, float]) -> None:
    for role, weights in (("general", general), ("target", target)):
        if not weights:
            if len(table.domains) > 2 and role == "general":
                continue
            raise InputError(
                f"no {role} validation set named",
                f"Name one as {role}; the table has: {', '.join(table.evals[:30])}",
            )
        kinds = sorted({table.metrics.get(name, DEFAULT) for name in weights})
        if len(kinds) > 1:
            raise InputError(
                f"{role}: {' and '.join(kinds)} have no mean", "Name validation sets of one metric for a role"
            )
        for name, weight in weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise InputError(f"{role} {name}: weight {weight}", "Weights are numbers of 0 or more")
        if math.fsum(weights.values()) <= 0:
            raise InputError(f"{role}: all weights are 0", "Give at least one weight above 0")
    both = sorted(set(general) & set(target))
    if both:
        raise InputError(f"{', '.join(both)} is named as general and as target", "Name it once")
    table.weighted({**general, **target})


def _target_domains(
    table: RunTable, target: Mapping[str, float], named: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The share columns that add up to the target share; empty where many sources have no such role."""
    domains = named or _named_alike(table.domains, target)
    unknown = [d for d in domains if d not in table.domains]
    if unknown:
        raise InputError(
            f"{table.source}: no share column of target domain {', '.join(unknown)}",
            f"Choose among: {', '.join(table.domains)}",
        )
    if 0 < len(domains) < len(table.domains):
        return tuple(domains)
    if len(table.domains) > 2 and not named:
        return ()
    raise InputError(
        f"{table.source}: cannot tell target domains from general ones among {', '.join(table.domains)}",
        "Name the share columns of the target as target_domains",
    )


def _named_alike(domains: tuple[str, ...], evals: Mapping[str, float]) -> tuple[str, ...]:
    folded = {name.casefold() for name in evals}
    return tuple(d for d in domains if d.casefold() in folded)


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
