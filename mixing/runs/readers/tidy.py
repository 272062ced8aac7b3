"""Our own layout: a row per run, checkpoint and validation set."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from mixing.errors import InputError
from mixing.runs.columns import METRIC
from mixing.runs.metrics import DEFAULT, metric_of_name
from mixing.runs.readers.layout import Source


@dataclass(frozen=True)
class Tidy:
    """`run`, `share.<domain>`, `tokens`, `eval`, and `loss` or a column named after another metric.

    It is taken as it is; what is missing is named by the checks.
    """

    name: str = "tidy"

    def recognises(self, source: Source) -> bool:
        return len(source.tables) == 1

    def read(self, source: Source, decimal: str = ".") -> tuple[pl.DataFrame, list[str]]:
        frame = source.tables[0]
        if "loss" in frame.columns or "eval" not in frame.columns:
            return frame, []
        values = {c: metric for c in frame.columns if c != METRIC and (metric := metric_of_name(c))}
        if len(values) > 1:
            raise InputError(
                f"{source.name}: no column 'loss', but {' and '.join(map(repr, values))}",
                "Name the one that counts loss, and leave the others out",
            )
        for column, metric in values.items():
            frame = frame.rename({column: "loss"})
            if metric != DEFAULT and METRIC not in frame.columns:
                frame = frame.with_columns(pl.lit(metric).alias(METRIC))
            return frame, [f"{source.name}: column {column!r} read as the {metric}"]
        return frame, []


TIDY = Tidy()
