"""What a decision says, as plain fields: what the CLI prints, figures draw and the mix spec carries."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mixing.decision.binding import Binding
from mixing.decision.critical_ratio.cmr_law import CmrLaw
from mixing.decision.question import Question
from mixing.errors import InputError

Interval = tuple[float, float]
ROLES = ("general", "target")
PROTECT = "protect "
"""Before the name of a validation set with its own tolerance, in the name of its test."""


@dataclass(frozen=True)
class Prediction:
    """A loss in nats per token with its interval, and its increment over the base model."""

    loss: float
    interval: Interval
    increment: float

    @property
    def increment_interval(self) -> Interval:
        """The interval of the increment over the base model, nats."""
        base = self.loss - self.increment
        return self.interval[0] - base, self.interval[1] - base

    def to_dict(self) -> dict[str, Any]:
        return {
            "loss": self.loss,
            "interval": list(self.interval),
            "increment": self.increment,
            "increment_interval": list(self.increment_interval),
        }


class Predictions(dict[str, Prediction]):
    """Predictions by name; one that is not there is an error that lists those that are."""

    def __missing__(self, name: str) -> Prediction:
        raise InputError(f"nothing is predicted of {name!r}", f"Predicted are: {', '.join(self) or 'none'}")


@dataclass(frozen=True)
class Baseline:
    """A mix that people commonly take, scored by the same law. `predicted` is keyed `general` and `target`.

    `within` is the probability that every tolerance holds at this mix (None: unknown).
    """

    name: str
    shares: dict[str, float]
    predicted: dict[str, Prediction]
    within: float | None = None


@dataclass(frozen=True)
class Test:
    """A feasibility test: the largest target share that passes it at the asked budget.

    `name` is `tolerance`, `turning_point`, or `protect` and the name of a validation set with its own tolerance.
    `binds` says whether it counts for the answer, or is only shown.
    """

    name: str
    critical_ratio: float | None
    interval: Interval | None
    note: str = ""
    binds: bool = True


@dataclass(frozen=True)
class CurvePoint:
    """A point of a fitted curve with its band; `x` is tokens or target share, as the curve says."""

    x: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class FrontPoint:
    """The best mixture for a bound on the general loss: both increments in nats, with the band of the law."""

    shares: dict[str, float]
    general: Prediction
    target: Prediction


@dataclass(frozen=True)
class DecisionRecord:
    """The fields of `mixing.decision.result.Decision`, which adds how it shows itself.

    `status` is `decided`; `bound`: every trained share keeps the tolerance, so that `critical_ratio` is the largest of
    them and a lower bound; or `not_yet`: then `reason` says why, and `next_runs` are the mixtures to train first.
    `next_run_gains` has a sentence on what each of the `next_runs` buys (empty: unknown).

    `critical_ratio` is the best estimate of the largest target share, with its `interval` at `question.level`, and
    `estimate_shares` the mixture there. `safe_ratio` is the share that the critical ratio reaches with probability
    `question.confidence` (None with more than two sources): it is what is recommended, and `shares` is the mixture to
    train with, `within` the probability that every tolerance holds there (None: unknown). `binding` is what keeps the
    answer from going further, `law` the general loss's law.

    `protect` are the tolerances that single validation sets have of their own (nats), `limits` the constraints that are
    active, in words. `predicted` is keyed `general` and `target`, and by the name of each validation set whose own loss
    is predicted. Curves are for figures: `ratio_curves[role]` is the increment of that loss (nats) over target share at
    the asked budget; `cmr_curve` the critical ratio over tokens. `critical_times` maps a trained target share to the
    tokens at which its objective turns down (None: never); `cmr_law` is the law through three or more of those times.

    With more than two sources: `share_intervals` by domain; `front`, the best target loss for every general loss;
    `regret`, what a better known optimum could still gain, in nats; `given_up`, the target loss (nats) by which
    `estimate_shares`, to which `share_intervals` belong, are better.
    """

    question: Question
    status: Literal["decided", "bound", "not_yet"]
    shares: dict[str, float]
    critical_ratio: float | None
    interval: Interval | None
    binding: Binding
    law: str
    n_runs: int
    predicted: dict[str, Prediction]
    baselines: list[Baseline]
    tests: list[Test] = field(default_factory=list)
    ratio_curves: dict[str, list[CurvePoint]] = field(default_factory=dict)
    cmr_curve: list[CurvePoint] = field(default_factory=list)
    critical_times: dict[float, float | None] = field(default_factory=dict)
    cmr_law: CmrLaw | None = None
    next_runs: list[dict[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    share_intervals: dict[str, Interval] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)
    front: list[FrontPoint] = field(default_factory=list)
    regret: float | None = None
    reason: str | None = None
    safe_ratio: float | None = None
    estimate_shares: dict[str, float] = field(default_factory=dict)
    next_run_gains: list[str] = field(default_factory=list)
    within: float | None = None
    given_up: float | None = None
    protect: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "predicted", Predictions(self.predicted))

    @property
    def has_answer(self) -> bool:
        """Whether there is a mixture to train with: decided, or a bound."""
        return self.status != "not_yet"

    @property
    def target_share(self) -> float | None:
        """The share of target text in the recommended mixture; None where nothing is recommended or has that role."""
        domains = self.question.target_domains
        if not self.shares or not domains:
            return None
        return math.fsum(self.shares.get(domain, 0.0) for domain in domains)

    @property
    def by_role(self) -> dict[str, Prediction]:
        """The predictions of the general and the target loss, without the names of single validation sets."""
        return {role: self.predicted[role] for role in ROLES if role in self.predicted}

    def to_dict(self) -> dict[str, Any]:
        """The object that `mixlaw decide --json` prints: plain dicts, lists, text and numbers."""
        return {
            "status": self.status,
            "reason": self.reason,
            "shares": self.shares,
            "critical_ratio": self.critical_ratio,
            "interval": list(self.interval) if self.interval else None,
            "safe_ratio": self.safe_ratio,
            "estimate_shares": self.estimate_shares,
            "within": self.within,
            "given_up": self.given_up,
            "level": self.question.level,
            "confidence": self.question.confidence,
            "binding": self.binding,
            "law": self.law,
            "n_runs": self.n_runs,
            "predicted": {name: p.to_dict() for name, p in self.predicted.items()},
            "baselines": [
                {
                    "name": b.name,
                    "shares": b.shares,
                    "predicted": {n: p.to_dict() for n, p in b.predicted.items()},
                    "within": b.within,
                }
                for b in self.baselines
            ],
            "tests": [asdict(test) for test in self.tests],
            "critical_times": [{"target_share": r, "tokens": t} for r, t in self.critical_times.items()],
            "cmr_law": None if self.cmr_law is None else self.cmr_law.to_dict(self.question.tokens),
            "next_runs": self.next_runs,
            "next_run_gains": self.next_run_gains,
            "warnings": self.warnings,
            "tokens": self.question.tokens,
            "share_intervals": {d: list(i) for d, i in self.share_intervals.items()},
            "limits": self.limits,
            "protect": self.protect,
            "metrics": self.question.metrics,
            "regret": self.regret,
            "front": [
                {"shares": p.shares, "general": p.general.to_dict(), "target": p.target.to_dict()}
                for p in self.front
            ],
        }


def name_single_sets(predicted: dict[str, Prediction], question: Question) -> dict[str, Prediction]:
    """The same predictions, also under a validation set's own name where it alone is a role's loss."""
    named = dict(predicted)
    for role, weights in (("general", question.general), ("target", question.target)):
        name = next(iter(weights), "")
        if role in predicted and len(weights) == 1 and name not in ROLES:
            named[name] = predicted[role]
    return named
