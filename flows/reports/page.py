"""The decision of a study and its runs as a Markdown page, for Prefect and MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from flows.reports.conclusion import conclude, markdown_table
from mixing.decision import wording

if TYPE_CHECKING:
    from flows.pipeline.result import StudyResult

RUNS_HEADER = ("run", "target share", "tokens", "general", "target")


def decision_markdown(result: StudyResult) -> str:
    """The decision, as a page. The answer stands first: MLflow folds all but the first lines away."""
    lines = conclude(result.analysis.decision, result.confirmation, result.analysis.fits.chosen).markdown()
    if result.confirmation is not None:
        rows = []
        for role, (value, low, high) in result.confirmation.predicted.items():
            observed = wording.signed(result.confirmation.observed[role])
            rows.append((role, f"{wording.signed(value)} {wording.span(low, high, 4)}", observed))
        lines += ["", *markdown_table(("confirmation", "predicted", "observed"), rows)]
    lines += ["", *markdown_table(*run_rows(result))]
    return "\n".join(lines) + "\n"


def run_rows(result: StudyResult) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Every run with its increments over the base at its end (nats per token); failed ones with a dash."""
    last = result.observations.observed.filter(pl.col("tokens") == pl.col("tokens").max().over("run"))
    rows: list[tuple[str, ...]] = [
        (
            result.names.get(row["run"], row["run"]),
            f"{row['share']:g}",
            f"{row['tokens']:,.0f}",
            wording.signed(row["general"]),
            wording.signed(row["target"]),
        )
        for row in last.sort(pl.col("kind") != "swarm", "share", "run").iter_rows(named=True)
    ]
    rows += [(name, "-", "failed", "-", "-") for name in result.failures]
    return RUNS_HEADER, rows
