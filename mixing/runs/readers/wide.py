"""The wide layout: a row per run and checkpoint, a column per validation set."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from mixing.errors import InputError
from mixing.runs.columns import METRIC
from mixing.runs.metrics import DEFAULT, metric_of_name
from mixing.runs.readers.layout import Source

LOSS = "loss."
_VALUE = re.compile(r"([A-Za-z_]+)[./](.+)")
ERRORS = ("stderr", "increment_stderr")
"""Standard errors, as columns `stderr.<eval>` and `increment_stderr.<eval>`."""


@dataclass(frozen=True)
class Wide:
    """`share.<domain>` and `loss.<eval>` columns, and those of `ERRORS` where standard errors are known.

    Other metrics are columns named after them: `perplexity.<eval>` or `ppl.<eval>`, `accuracy.<eval>`.
    """

    name: str = "wide"

    def recognises(self, source: Source) -> bool:
        return "loss" not in source.columns and any(map(_of_set, source.columns))

    def read(self, source: Source, decimal: str = ".") -> tuple[pl.DataFrame, list[str]]:
        frame = source.tables[0]
        if "eval" in frame.columns:
            raise InputError(
                f"{source.name}: a column 'eval' and a column per validation set",
                "Keep one of the two layouts",
            )
        found = {c: of for c in frame.columns if (of := _of_set(c)) is not None}
        sets = [name for _, name in found.values()]
        # Two metrics of one set are two losses.
        names = {
            c: name if sets.count(name) == 1 else f"{name}_{metric}" for c, (metric, name) in found.items()
        }
        metrics = {names[c]: metric for c, (metric, _) in found.items() if metric != DEFAULT}
        rows = long(frame.rename({c: LOSS + name for c, name in names.items()}))
        if metrics and METRIC not in rows.columns:
            of_row = pl.col("eval").replace_strict(metrics, default=None, return_dtype=pl.String)
            rows = rows.with_columns(of_row.alias(METRIC))
        return rows, []


def _of_set(column: str) -> tuple[str, str] | None:
    """The metric and the validation set of a column such as `loss.web`, `ppl.web` or `accuracy/web`."""
    match = _VALUE.fullmatch(column)
    metric = metric_of_name(match[1]) if match else None
    return (metric, match[2]) if match and metric and match[1].casefold() not in ERRORS else None


def long(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns `loss.<eval>` and standard errors as rows of (eval, loss, stderr, increment_stderr)."""
    rows = _unpivoted(frame, "loss")
    for column in ERRORS:
        errors = _unpivoted(frame, column).select("_row", "eval", column)
        rows = rows.join(errors, on=["_row", "eval"], how="left", maintain_order="left")
    return rows.drop("_row")


def _unpivoted(frame: pl.DataFrame, value: str) -> pl.DataFrame:
    """Columns `VALUE.<eval>` as rows of (eval, VALUE); `_row` is the wide table's row."""
    prefixes = (LOSS, *(f"{error}." for error in ERRORS))
    others = [c for c in frame.columns if not c.startswith(prefixes)]
    columns = [c for c in frame.columns if c.startswith(f"{value}.")]
    rows = frame.with_row_index("_row").unpivot(
        on=columns, index=["_row", *others], variable_name="eval", value_name=value
    )
    return rows.with_columns(pl.col("eval").str.strip_prefix(f"{value}."))


WIDE = Wide()
