"""What is decided, and how sure we are: the answer that the CLI prints and the mix spec carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mixing.decision.binding import Binding
from mixing.decision.critical_ratio.cmr_law import CmrLaw
from mixing.decision.question import Question

Interval = tuple[float, float]


@dataclass(frozen=True)
class Prediction:
    """A loss in nats per token with its interval, and its increment over the base model."""

    loss: float
    interval: Interval
    increment: float


@dataclass(frozen=True)
class Baseline:
    """A mix that people would guess, scored by the same law. `predicted` is keyed `general` and `target`."""

    name: str
    shares: dict[str, float]
    predicted: dict[str, Prediction]


@dataclass(frozen=True)
class Test:
    """One of the two feasibility tests: the largest target share that passes it at the asked budget."""

    name: Literal["tolerance", "turning_point"]
    critical_ratio: float | None
    interval: Interval | None
    note: str = ""


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
class Decision:
    """The chosen mixture, or an honest "not yet" (`critical_ratio` None, `status` says why, `next_runs` what to add).

    `predicted` is keyed `general` and `target`. Curves are for figures: `ratio_curves[name]` is the increment
    of that loss (nats) against target share at the asked budget; `cmr_curve` the critical ratio against tokens.
    `critical_times` maps a trained target share to the tokens at which its objective turns down (None: never);
    `cmr_law` is the law through those times, where there are three or more.

    With more than two sources: `share_intervals` by domain, `limits` that the mixture lies at, in words; `front` the
    best target loss for every general loss; `regret` what a better known optimum could still gain, in nats.
    """

    question: Question
    status: Literal["decided", "not_yet"]
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


def not_yet(
    question: Question, reason: str, *, n_runs: int, next_runs: list[dict[str, float]], warnings: list[str]
) -> Decision:
    """No answer: the reason is the last of the warnings, and `next_runs` are the mixtures to train first."""
    return Decision(
        question=question,
        status="not_yet",
        shares={},
        critical_ratio=None,
        interval=None,
        binding="none",
        law="none",
        n_runs=n_runs,
        predicted={},
        baselines=[],
        next_runs=next_runs,
        warnings=[*warnings, f"not yet: {reason}"],
    )
