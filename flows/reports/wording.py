"""An outcome in words and rows, for the terminal, for Prefect and for MLflow alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from mixing.decision.binding import Binding
from mixing.decision.result import Decision, Prediction, Test

if TYPE_CHECKING:
    from flows.pipeline.result import Outcome

BINDING: dict[Binding, str] = {
    "tolerance": "the general loss reaches its tolerance",
    "turning_point": "above it, the general loss has not yet turned down at this budget",
    "bound": "the range of trained shares, or a bound that was asked for, ends there",
    "repetition": "the target text would be repeated beyond its max_epochs",
    "none": "nothing: every share that was tried is feasible",
}

TESTS = {"tolerance": "within the tolerance", "turning_point": "past the turning point"}

RUNS_HEADER = ("run", "target share", "tokens", "general", "target")


def signed(value: float) -> str:
    if abs(value) >= 1e4:
        return f"{value:+.5g}"
    return f"{value if abs(value) >= 5e-5 else 0.0:+.4f}"


def span(low: float, high: float, digits: int = 3) -> str:
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def shares(mixture: Mapping[str, float]) -> str:
    """`docs 0.37, python 0.63`"""
    return ", ".join(f"{name} {share:.3g}" for name, share in mixture.items())


def run_rows(outcome: Outcome) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Every run with its increments over the base at its end (nats per token); failed ones with a dash."""
    last = outcome.seen.observed.filter(pl.col("tokens") == pl.col("tokens").max().over("run"))
    rows = [
        (
            outcome.names.get(row["run"], row["run"]),
            f"{row['share']:g}",
            f"{row['tokens']:,.0f}",
            signed(row["general"]),
            signed(row["target"]),
        )
        for row in last.sort(pl.col("kind") != "swarm", "share", "run").iter_rows(named=True)
    ]
    rows += [(name, "-", "failed", "-", "-") for name in outcome.failures]
    return RUNS_HEADER, rows


def ratio_line(decision: Decision) -> str:
    """`0.631, 90% interval [0.585, 0.667]`"""
    if decision.critical_ratio is None:
        return "not yet"
    level = f"{decision.question.level:.0%}"
    interval = f", {level} interval {span(*decision.interval)}" if decision.interval else ""
    return f"{decision.critical_ratio:.3f}{interval}"


def test_line(test: Test) -> str:
    """One feasibility test and the largest share that passes it."""
    if test.critical_ratio is None:
        return f"{TESTS[test.name]}: {test.note or 'no share passes'}"
    interval = f" {span(*test.interval)}" if test.interval else ""
    note = f" ({test.note})" if test.note else ""
    return f"{TESTS[test.name]}: up to {test.critical_ratio:.3f}{interval}{note}"


def law_note(decision: Decision, chosen: Mapping[str, str]) -> str:
    """Why the decision's law is not the one chosen in the table of laws; empty where it is."""
    if set(chosen.values()) <= {decision.law}:
        return ""
    return (
        f"the decision rests on {decision.law} and averages over published forms in the share, whatever has the *: "
        "it needs a turning point, and an interval that knows of misfit (docs/laws.md)"
    )


def prediction_text(prediction: Prediction | None) -> str:
    """The predicted increment over the base model with its interval."""
    if prediction is None:
        return "-"
    half = (prediction.interval[1] - prediction.interval[0]) / 2
    return f"{signed(prediction.increment)} ± {half:.4f}"


def next_runs(decision: Decision) -> list[str]:
    """The runs to add, one line each."""
    return [shares(mixture) for mixture in decision.next_runs]


def decision_markdown(outcome: Outcome) -> str:
    """The decision, as a page. The answer stands first: MLflow folds all but the first lines away."""
    decision = outcome.given.decision
    lines: list[str] = []
    if decision.status == "decided":
        lines += [
            f"**Critical ratio (share of target tokens): {ratio_line(decision)}**",
            "",
            f"Recommended mix: {shares(decision.shares)}.  ",
            f"What binds: {BINDING[decision.binding]}.  ",
            f"Tolerance {decision.question.tolerance:g} nats at {decision.question.tokens:,} tokens; "
            f"{decision.n_runs} runs; law `{decision.law}`.",
            "",
        ]
    else:
        lines += ["**Not yet: these runs cannot support a ratio.**", ""]
    lines += [f"- {test_line(test)}" for test in decision.tests]
    if decision.next_runs:
        lines += ["", "Train these next:", ""] + [f"- {line}" for line in next_runs(decision)]
    if outcome.confirmation is not None:
        lines += ["", "| confirmation | predicted | observed |", "|---|---|---|"]
        for role, (value, low, high) in outcome.confirmation.predicted.items():
            observed = signed(outcome.confirmation.observed[role])
            lines.append(f"| {role} | {signed(value)} {span(low, high, 4)} | {observed} |")
    header, rows = run_rows(outcome)
    lines += ["", f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    if decision.warnings:
        lines += ["", *(f"> {warning}" for warning in decision.warnings)]
    return "\n".join(lines) + "\n"
