"""A decision in words: the same in the terminal, in Markdown, in notebooks and on figures."""

from __future__ import annotations

from collections.abc import Mapping

from mixing.decision.binding import Binding
from mixing.decision.record import DecisionRecord, Prediction, Test

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
    """`0.631, 90% interval [0.585, 0.667]`"""
    if decision.critical_ratio is None:
        return "not yet"
    level = f"{decision.question.level:.0%}"
    interval = f", {level} interval {span(*decision.interval)}" if decision.interval else ""
    return f"{decision.critical_ratio:.3f}{interval}"


def limited_by(decision: DecisionRecord) -> str:
    """What keeps the answer from going further: the binding test or bound, or the active constraints of a mixture."""
    if decision.share_intervals:
        return "; ".join(decision.limits) or "nothing"
    return LIMITED_BY[decision.binding]


def test_line(test: Test) -> str:
    """One feasibility test and the largest share that passes it."""
    if test.critical_ratio is None:
        return f"{TESTS[test.name]}: {test.note or 'no share passes'}"
    interval = f" {span(*test.interval)}" if test.interval else ""
    note = f" ({test.note})" if test.note else ""
    return f"{TESTS[test.name]}: up to {test.critical_ratio:.3f}{interval}{note}"


def prediction_text(prediction: Prediction | None) -> str:
    """The predicted increment over the base model with half its interval: `+0.0012 ± 0.0034`."""
    if prediction is None:
        return "-"
    half = (prediction.interval[1] - prediction.interval[0]) / 2
    return f"{signed(prediction.increment)} ± {half:.4f}"


def not_yet_line(decision: DecisionRecord) -> str:
    """`Not yet: these runs cannot support a ratio.` (or a mixture)"""
    what = "a mixture" if any(len(mixture) > 2 for mixture in decision.next_runs) else "a ratio"
    return f"Not yet: these runs cannot support {what}."


def question_line(decision: DecisionRecord) -> str:
    """`at 200,000,000 tokens, tolerance 0.02 nats, 12 runs, law cmr`"""
    question = decision.question
    # A table without a tokens column counts every run as one.
    budget = [f"at {question.tokens:,} tokens"] if question.tokens > 1 else []
    tolerance = [f"tolerance {question.tolerance:g} nats"] if question.general else []
    return ", ".join([*budget, *tolerance, f"{decision.n_runs} runs", f"law {decision.law}"])


def summary(decision: DecisionRecord) -> str:
    """A few lines: status, ratio with interval, mix, what limits it, or the reason of a "not yet"."""
    if decision.status == "not_yet":
        lines = [f"Decision: not yet. {decision.reason}"]
        lines += [f"  train next: {main_shares(mix)}" for mix in decision.next_runs[:3]]
        return "\n".join(lines)
    lines = ["Decision: decided"]
    if decision.critical_ratio is not None:
        what = "share of target tokens" if decision.share_intervals else "critical ratio"
        lines.append(f"  {what}: {ratio_line(decision)}")
    if decision.safe_ratio is not None:
        lines.append(
            f"  safe ratio at {decision.question.confidence:.0%} confidence: {decision.safe_ratio:.3f}"
        )
    lines.append(f"  mix: {main_shares(decision.shares)}")
    lines.append(f"  limited by: {limited_by(decision)}")
    lines.append(f"  {question_line(decision)}")
    if decision.warnings:
        lines.append(f"  {len(decision.warnings)} warning(s), see .warnings")
    return "\n".join(lines)
