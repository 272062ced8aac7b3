"""What the runs did, beside what their law had predicted: for tables and figures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import polars as pl

from flows.pipeline.analysis import Analysis
from flows.pipeline.confirmation import Confirmation
from flows.pipeline.files import runs_table
from flows.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Observations:
    """Increments over the base model in nats per token; the columns are those of `mixing.plots.ratio`.

    `observed` has a row per run and checkpoint, `predicted` one per run and role; `base` holds the losses of the
    base model by role.
    """

    observed: pl.DataFrame
    predicted: pl.DataFrame
    base: dict[str, float]


PREDICTED = {
    "run": pl.String,
    "kind": pl.String,
    "eval": pl.String,
    "observed": pl.Float64,
    "predicted": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def observe(
    workspace: Workspace, analysis: Analysis, base: str, confirmation: Confirmation | None
) -> Observations:
    """Increments as observed and as predicted; each run of the fit is predicted from the other mixtures."""
    data = analysis.question.increments(analysis.table)
    confirming = "" if confirmation is None else confirmation.run
    frames = [data.observed().filter(pl.col("run") != confirming).with_columns(kind=pl.lit("swarm"))]
    predicted: list[dict[str, Any]] = [
        {**dataclasses.asdict(run), "kind": "swarm", "low": None, "high": None}
        for run in analysis.left_out
        if run.run != confirming
    ]
    if confirmation is not None:
        table = runs_table(workspace.folder.runs, [base, confirmation.run])
        frames.append(
            analysis.question.increments(table).observed().with_columns(kind=pl.lit("confirmation"))
        )
        predicted += [
            {
                "run": confirmation.run,
                "kind": "confirmation",
                "eval": role,
                "observed": confirmation.observed[role],
                "predicted": value,
                "low": low,
                "high": high,
            }
            for role, (value, low, high) in confirmation.predicted.items()
        ]
    return Observations(
        pl.concat(frames).select("run", "kind", "share", "tokens", "general", "target"),
        pl.DataFrame(predicted, schema=PREDICTED),
        data.base,
    )
