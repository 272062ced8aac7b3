"""A decision held against the clean twins of its validation sets: near-duplicates in training text flatter a loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mixing.amounts import format_amount
from mixing.decision.refusals import Refusal
from mixing.decision.result import Decision
from mixing.runs.clean_twins import CleanTwin

NAMED = 0.05
"""Part of a validation set with a twin in training text from which on it is named, whatever that does."""
ERRORS = 2.0
"""Standard errors by which the clean documents differ from all, that are no luck."""


@dataclass(frozen=True)
class RoleGap:
    """By how much more a loss of the question rises on clean documents (nats), and the error of that."""

    gap: float
    stderr: float

    @property
    def real(self) -> bool:
        return abs(self.gap) > ERRORS * self.stderr


@dataclass(frozen=True)
class Leaked:
    """A validation set that leaks: the part of its documents that recur in training text, and in how many of the
    tokens of the run that is decided about (0: unknown)."""

    part: float
    tokens: float


def against_clean_text(
    decision: Decision, twins: Sequence[CleanTwin], leaked: Mapping[str, Leaked]
) -> Decision:
    """The decision with a warning for every validation set that leaks, or "not yet" where that may change the answer.

    `twins` are those of one run, the nearest to the recommended mixture. There is no answer where the general loss, or
    one with a tolerance of its own, keeps its tolerance at the recommended mixture on all documents and breaks it on
    the clean ones, by more than the errors of the difference.
    """
    by_eval = {twin.eval: twin for twin in twins}
    warnings = [
        _leak(name, leak, by_eval.get(name))
        for name, leak in sorted(leaked.items())
        if leak.part >= NAMED or _gap({name: 1.0}, by_eval).real
    ]
    if not warnings:
        return decision
    warnings = [*decision.warnings, *warnings]
    reasons = _broken(decision, by_eval)
    if not reasons or not decision.has_answer:
        return replace(decision, warnings=warnings)
    remedy = "remove the near-duplicates of the validation set from the training text, and run again"
    refusal = Refusal(f"{'; '.join(reasons)}: {remedy}", [], law=decision.law, tests=decision.tests)
    return refusal.decision(decision.question, decision.n_runs, warnings)


def _leak(name: str, leak: Leaked, twin: CleanTwin | None) -> str:
    said = f"{name}: {leak.part:.1%} of its documents have a near-duplicate in training text"
    if leak.tokens:
        said += f" ({format_amount(round(leak.tokens))} tokens of the run)"
    if twin is None:
        return f"{said}; too few are clean, or were measured, to tell what that does to its loss"
    return (
        f"{said}; run {twin.run}: {twin.increment:+.4f} nats on all documents, {twin.clean_increment:+.4f} on the "
        f"clean ones (difference {twin.gap:+.4f}, standard error {twin.stderr:.4f})"
    )


def _broken(decision: Decision, by_eval: Mapping[str, CleanTwin]) -> list[str]:
    """A sentence for each tolerance that the recommended mixture breaks on clean documents."""
    question = decision.question
    limits = [("general", question.general, question.tolerance)]
    limits += [(name, {name: 1.0}, limit) for name, limit in decision.protect.items()]
    reasons = []
    for name, weights, limit in limits:
        if name not in decision.predicted:
            continue
        gap = _gap(weights, by_eval)
        clean = decision.predicted[name].increment + gap.gap
        if gap.real and clean - ERRORS * gap.stderr > limit:
            reasons.append(
                f"{name} loss is predicted {clean:+.4f} nats above the base on documents that don't recur in training "
                f"text, beyond the tolerance of {limit:g}"
            )
    return reasons


def _gap(weights: Mapping[str, float], by_eval: Mapping[str, CleanTwin]) -> RoleGap:
    known = [(weight, by_eval[name]) for name, weight in weights.items() if name in by_eval]
    return RoleGap(
        math.fsum(weight * twin.gap for weight, twin in known),
        math.hypot(*(weight * twin.stderr for weight, twin in known)),
    )
