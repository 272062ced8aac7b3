"""A decision in words: the same in the terminal, in Markdown, in notebooks and on figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixing.decision.binding import Binding
from mixing.decision.record import PROTECT, DecisionRecord, Prediction, Test
from mixing.runs.metrics import DEFAULT, METRICS

LIMITED_BY: dict[Binding, str] = {
    "tolerance": "the general loss reaches its tolerance",
    "turning_point": "above this share the general loss is still rising at this budget",
    "bound": "the trained shares, or a bound that was asked for, end there",
    "repetition": "text would be repeated beyond its max_epochs",
    "none": "nothing: every share tried is feasible",
}
"""What keeps the answer from going further, after "limited by: "."""

LIMITS: dict[str, str] = {
    "tolerance": "the tolerance",
    "turning_point": "the turning point",
    "bound": "a bound on shares",
    "repetition": "repetition",
    "none": "nothing",
}
"""The same in a word or two, for tables."""

TESTS = {"tolerance": "within the tolerance", "turning_point": "past the turning point"}
SAME = 5e-4
"""Shares closer than this are one on a screen."""
SMALL = 0.005
"""Shares below this are left out where only the main ones are named."""


def signed(value: float) -> str:
    """An increment in nats: `+0.0123`."""
    if abs(value) >= 1e4:
        return f"{value:+.5g}"
    return f"{value if abs(value) >= 5e-5 else 0.0:+.4f}"


def span(low: float, high: float, digits: int = 3) -> str:
    """`[0.585, 0.667]`"""
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def shares(mixture: Mapping[str, float]) -> str:
    """`docs 0.37, python 0.63`"""
    return ", ".join(f"{name} {share:.3g}" for name, share in mixture.items())


def main_shares(mixture: Mapping[str, float], most: int = 8) -> str:
    """`pile_cc 0.83, wikipedia_en 0.07, ...`, the largest first."""
    ordered = sorted(((d, s) for d, s in mixture.items() if s >= SMALL), key=lambda pair: -pair[1])
    return shares(dict(ordered[:most])) + (", ..." if len(ordered) > most else "")


def ratio_line(decision: DecisionRecord) -> str:
    """The best estimate: `0.631, 90% interval [0.585, 0.667]`"""
    if decision.critical_ratio is None:
        return "not yet"
    level = f"{decision.question.level:.0%}"
    interval = f", {level} interval {span(*decision.interval)}" if decision.interval else ""
    return f"{decision.critical_ratio:.3f}{interval}"


def answer_line(decision: DecisionRecord) -> str:
    """The answer, in the line that stands first: what to train with, and the best estimate beside it.

    `Train with at most 0.487 of python (safe at 90%); best estimate 0.510, 90% interval [0.433, 0.543]`
    """
    if not decision.has_answer:
        return not_yet_line(decision)
    safe = f"(safe at {decision.question.confidence:.0%})"
    if decision.share_intervals:
        return f"Best mixture {main_shares(decision.shares)}" + (f" {safe}" if decision.within else "")
    ratio, share = decision.critical_ratio or 0.0, decision.target_share or 0.0
    text = target_text(decision)
    if decision.status == "bound":
        less = f"; train with at most {share:.3f} {safe}" if share < ratio - SAME else ""
        return f"At least {ratio:.3f} of {text}: every trained share keeps the tolerance{less}"
    if decision.safe_ratio is None or abs(decision.safe_ratio - share) > SAME:
        other = "" if decision.safe_ratio is None else f"; {decision.safe_ratio:.3f} {safe}"
        return f"Train with {share:.3f} of {text}; critical ratio {ratio_line(decision)}{other}"
    return f"Train with at most {share:.3f} of {text} {safe}; best estimate {ratio_line(decision)}"


def target_text(decision: DecisionRecord) -> str:
    """What the target share is a share of: `python`, or `target text` where that has many domains."""
    domains = decision.question.target_domains
    return " + ".join(domains) if 0 < len(domains) <= 3 else "target text"


def facts(decision: DecisionRecord) -> list[str]:
    """About an answer: the mixture, what limits it, how sure it is; the reason of a "not yet"."""
    if not decision.has_answer:
        return [f"reason: {decision.reason}"]
    lines = [f"limited by: {limited_by(decision)}"]
    if not decision.share_intervals:
        lines.insert(0, f"recommended mix: {shares(decision.shares)}")
    elif decision.critical_ratio is not None:
        lines.insert(0, f"share of target tokens: {ratio_line(decision)}")
    estimate = decision.estimate_shares
    if decision.share_intervals and _moved(estimate, decision.shares):
        lines.insert(0, f"best estimate: {main_shares(estimate)}")
    if decision.within is not None:
        lines.append(f"every tolerance holds with {decision.within:.0%} probability")
    return lines


def reasons(decision: DecisionRecord) -> list[str]:
    """Why it is the answer: both tests, the question, and what knowing more could gain."""
    lines = [test_line(test) for test in decision.tests]
    if not decision.has_answer:
        return lines
    if decision.share_intervals and decision.question.general:
        sets = ", ".join(decision.question.general)
        lines.insert(
            0, f"general loss: {sets} within {decision.question.tolerance:g} {decision.question.unit}"
        )
    lines.append(question_line(decision))
    if decision.regret is not None:
        lines.append(f"knowing the losses exactly would gain about {decision.regret:.2g} nats more")
    return lines


def next_run_lines(decision: DecisionRecord) -> list[str]:
    """The mixtures to train next, each with what it buys where that is known."""
    gains = decision.next_run_gains
    if len(gains) != len(decision.next_runs):
        gains = [""] * len(decision.next_runs)
    return [
        (main_shares(mix) if len(mix) > 4 else shares(mix)) + (f": {gain}" if gain else "")
        for mix, gain in zip(decision.next_runs, gains, strict=True)
    ]


def next_runs_title(decision: DecisionRecord) -> str:
    """What stands over `next_run_lines`."""
    return (
        "Most informative next runs (token shares):"
        if decision.has_answer
        else "Train these next (token shares):"
    )


@dataclass(frozen=True)
class Increment:
    """The predicted increment of one loss at the recommended mix: a role's mean, or one validation set of it."""

    name: str
    role: str
    prediction: Prediction
    tolerance: float | None = None
    metric: str = DEFAULT

    def cells(self) -> tuple[str, str, str, str, str]:
        """As a row of a table under `INCREMENT_HEADER`."""
        tolerance = "" if self.tolerance is None else f"{self.tolerance:g}"
        known = math.isfinite(self.prediction.increment)
        if self.metric != DEFAULT and known:
            return self._in_its_unit(tolerance)
        increment = signed(self.prediction.increment) if known else "-"
        interval = span(*self.prediction.increment_interval, 4) if known else "-"
        return self.name, self.role, increment, interval, tolerance

    def _in_its_unit(self, tolerance: str) -> tuple[str, str, str, str, str]:
        """The same for another metric: by how much it changes over the base model's, itself."""
        unit, one = METRICS[self.metric].unit, self.prediction
        base, now, *interval = values(self.metric, one.loss - one.increment, one.loss, *one.interval)
        low, high = sorted(end - base for end in interval)
        name = f"{self.name} ({self.metric} {base:.4g})"
        return (
            name,
            self.role,
            signed(now - base),
            span(low, high, 4),
            f"{tolerance} {unit}" if tolerance else "",
        )


INCREMENT_TITLE = (
    "Losses at the recommended mix: predicted increments, nats per token (intervals of one new run)"
)
METRICS_TITLE = "Predicted changes at the recommended mix, of each metric itself (intervals of one new run)"
INCREMENT_HEADER = ("validation set", "role", "increment", "interval", "tolerance")


def baselines_title(decision: DecisionRecord) -> str:
    """What stands over the table of `baselines_table`."""
    unit = "each metric itself" if _other_metrics(decision) else "nats per token"
    return f"Compared with common baselines: predicted increments, {unit} (±: of one new run)"


def _other_metrics(decision: DecisionRecord) -> bool:
    return any(kind != DEFAULT for kind in decision.question.metrics.values())


def increment_title(decision: DecisionRecord) -> str:
    """What stands over the table of increments."""
    return METRICS_TITLE if _other_metrics(decision) else INCREMENT_TITLE


def increments(decision: DecisionRecord) -> list[Increment]:
    """Every loss that is predicted at the recommended mix: those of each role, then others that are protected."""
    found, predicted = [], decision.predicted
    roles = (("general", decision.question.general), ("target", decision.question.target))
    for role, weights in roles:
        tolerances = [decision.question.tolerance] if role == "general" else []
        if role in predicted:
            name = next(iter(weights)) if len(weights) == 1 else f"mean of {len(weights)}"
            tolerances += [decision.protect[name]] if name in decision.protect else []
            kind = decision.question.metric(role)
            found.append(Increment(name, role, predicted[role], min(tolerances, default=None), kind))
        if len(weights) > 1:
            found += [
                Increment(
                    name, role, predicted[name], decision.protect.get(name), decision.question.metric(name)
                )
                for name in weights
                if name in predicted
            ]
    named = {"general", "target", *(name for _, weights in roles for name in weights)}
    others = [name for name in predicted if name not in named]
    return found + [
        Increment(name, "protected", predicted[name], decision.protect.get(name)) for name in others
    ]


def baselines_table(decision: DecisionRecord) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows: the recommended mix, then the mixes that people commonly take, by the same law."""
    roles = list(decision.by_role)
    split = bool(decision.question.target_domains)
    known = any(baseline.within is not None for baseline in decision.baselines)

    def row(
        name: str, mix: Mapping[str, float], predicted: Mapping[str, Prediction], within: float | None
    ) -> tuple[str, ...]:
        share = math.fsum(mix.get(domain, 0.0) for domain in decision.question.target_domains)
        part = "-" if within is None else f"{within:.0%}"
        texts = [prediction_text(predicted.get(role), decision.question.metric(role)) for role in roles]
        return (name, *([f"{share:.3f}"] if split else []), *texts, *([part] if known else []))

    header = ("mix", *(["target share"] if split else []), *roles, *(["within tolerance"] if known else []))
    rows = [row("recommended", decision.shares, decision.predicted, decision.within)]
    rows += [row(b.name, b.shares, b.predicted, b.within) for b in decision.baselines]
    return header, rows


def _moved(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return bool(one) and any(abs(one.get(d, 0.0) - other.get(d, 0.0)) > SAME for d in {*one, *other})


def limited_by(decision: DecisionRecord) -> str:
    """What keeps the answer from going further: the binding test or bound, or the active constraints of a mixture."""
    if decision.share_intervals:
        return "; ".join(decision.limits) or "nothing"
    if decision.limits:
        return "; ".join(decision.limits)
    return LIMITED_BY[decision.binding]


def test_line(test: Test) -> str:
    """One feasibility test and the largest share that passes it."""
    protected = test.name.removeprefix(PROTECT)
    name = TESTS.get(test.name, f"{protected} within its own tolerance")
    if test.critical_ratio is None:
        return f"{name}: {test.note or 'no share passes'}"
    interval = f" {span(*test.interval)}" if test.interval else ""
    note = "; ".join(filter(None, [test.note, "" if test.binds else "reported only"]))
    return f"{name}: up to {test.critical_ratio:.3f}{interval}" + (f" ({note})" if note else "")


def prediction_text(prediction: Prediction | None, metric: str = DEFAULT) -> str:
    """The predicted increment over the base model with half its interval: `+0.0012 ± 0.0034`, in the metric's unit."""
    if prediction is None:
        return "-"
    base = prediction.loss - prediction.increment
    now, before, *ends = values(metric, prediction.loss, base, *prediction.interval)
    return f"{signed(prediction.increment if metric == DEFAULT else now - before)} ± {abs(ends[1] - ends[0]) / 2:.4f}"


def values(metric: str, *losses: float) -> list[float]:
    """Losses as what they were measured in."""
    return [float(value) for value in METRICS[metric].value(np.array(losses))]


def not_yet_line(decision: DecisionRecord) -> str:
    """`Not yet: these runs cannot support a ratio.` (or a mixture)"""
    what = "a mixture" if any(len(mixture) > 2 for mixture in decision.next_runs) else "a ratio"
    return f"Not yet: these runs cannot support {what}."


def question_line(decision: DecisionRecord) -> str:
    """`at 200,000,000 tokens, tolerance 0.02 nats, 12 runs, law cmr`"""
    question = decision.question
    # A table without a tokens column counts every run as one.
    budget = [f"at {question.tokens:,} tokens"] if question.tokens > 1 else []
    tolerance = [f"tolerance {question.tolerance:g} {question.unit}"] if question.general else []
    return ", ".join([*budget, *tolerance, f"{decision.n_runs} runs", f"law {decision.law}"])


def summary(decision: DecisionRecord) -> str:
    """A few lines: the answer, the mix and what limits it, or the reason of a "not yet"; the first next runs."""
    if decision.has_answer:
        lines = [answer_line(decision), *(f"  {line}" for line in facts(decision))]
        lines.append(f"  {question_line(decision)}")
    else:
        lines = [f"Not yet: {decision.reason}"]
    lines += [f"  train next: {line}" for line in next_run_lines(decision)[:3]]
    if decision.warnings:
        lines.append(f"  {len(decision.warnings)} warning(s), see .warnings")
    return "\n".join(lines)
