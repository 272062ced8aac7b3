"""The wide layout: a row per run and checkpoint, a column per validation set."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from mixing.runs.readers.layout import Source

LOSS = "loss."
ERRORS = ("stderr", "increment_stderr")
"""Standard errors, as columns `stderr.<eval>` and `increment_stderr.<eval>`."""


@dataclass(frozen=True)
class Wide:
    """`share.<domain>` and `loss.<eval>` columns, and those of `ERRORS` where standard errors are known."""

    name: str = "wide"

    def recognises(self, source: Source) -> bool:
        return "loss" not in source.columns and any(c.startswith(LOSS) for c in source.columns)

    def read(self, source: Source) -> tuple[pl.DataFrame, list[str]]:
        return long(source.tables[0]), []


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
