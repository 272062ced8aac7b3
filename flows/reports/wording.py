"""A result in words and rows, for the terminal, for Prefect and for MLflow alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from mixing.decision.binding import Binding
from mixing.decision.result import Decision, Prediction, Test

if TYPE_CHECKING:
    from flows.pipeline.result import StudyResult

LIMITED_BY: dict[Binding, str] = {
    "tolerance": "the general loss reaches its tolerance",
    "turning_point": "above this share the general loss is still rising at this budget",
    "bound": "the trained shares, or a bound that was asked for, end there",
    "repetition": "text would be repeated beyond its max_epochs",
    "none": "nothing: every share tried is feasible",
}

SMALL = 0.005
"""Shares below this are left out where only the main ones are named."""

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


def run_rows(result: StudyResult) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Every run with its increments over the base at its end (nats per token); failed ones with a dash."""
    last = result.observations.observed.filter(pl.col("tokens") == pl.col("tokens").max().over("run"))
    rows: list[tuple[str, ...]] = [
        (
            result.names.get(row["run"], row["run"]),
            f"{row['share']:g}",
            f"{row['tokens']:,.0f}",
            signed(row["general"]),
            signed(row["target"]),
        )
        for row in last.sort(pl.col("kind") != "swarm", "share", "run").iter_rows(named=True)
    ]
    rows += [(name, "-", "failed", "-", "-") for name in result.failures]
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


def prediction_text(prediction: Prediction | None) -> str:
    """The predicted increment over the base model with its interval."""
    if prediction is None:
        return "-"
    half = (prediction.interval[1] - prediction.interval[0]) / 2
    return f"{signed(prediction.increment)} ± {half:.4f}"


def main_shares(mixture: Mapping[str, float], most: int = 8) -> str:
    """`pile_cc 0.83, wikipedia_en 0.07, ...`, the largest first."""
    ordered = sorted(((d, s) for d, s in mixture.items() if s >= SMALL), key=lambda pair: -pair[1])
    return shares(dict(ordered[:most])) + (", ..." if len(ordered) > most else "")


def limited_by(decision: Decision) -> str:
    """What keeps the answer from going further: the binding test or bound, or a mixture's active constraints."""
    if decision.share_intervals:
        return "; ".join(decision.limits) or "nothing"
    return LIMITED_BY[decision.binding]


def not_yet_line(decision: Decision) -> str:
    """`Not yet: these runs cannot support a ratio.` (or a mixture)"""
    what = "a mixture" if any(len(mixture) > 2 for mixture in decision.next_runs) else "a ratio"
    return f"Not yet: these runs cannot support {what}."


def question_line(decision: Decision) -> str:
    """`at 200,000,000 tokens, tolerance 0.02 nats, 12 runs, law cmr`"""
    question = decision.question
    # A table without a tokens column counts every run as one.
    budget = [f"at {question.tokens:,} tokens"] if question.tokens > 1 else []
    tolerance = [f"tolerance {question.tolerance:g} nats"] if question.general else []
    return ", ".join([*budget, *tolerance, f"{decision.n_runs} runs", f"law {decision.law}"])


def decision_markdown(result: StudyResult) -> str:
    """The decision, as a page. The answer stands first: MLflow folds all but the first lines away."""
    from flows.reports.conclusion import conclude

    lines = conclude(result.analysis.decision, result.confirmation, result.analysis.fits.chosen).markdown()
    if result.confirmation is not None:
        lines += ["", "| confirmation | predicted | observed |", "|---|---|---|"]
        for role, (value, low, high) in result.confirmation.predicted.items():
            observed = signed(result.confirmation.observed[role])
            lines.append(f"| {role} | {signed(value)} {span(low, high, 4)} | {observed} |")
    header, rows = run_rows(result)
    lines += ["", f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
