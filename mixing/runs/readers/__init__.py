"""The layouts in which runs tables are found, one file each; adding one is one file and one line here."""

from __future__ import annotations

import polars as pl

from mixing.errors import InputError
from mixing.runs.readers.finished_runs import ANSWERED, FINISHED_RUNS
from mixing.runs.readers.layout import Layout, Source, open_source
from mixing.runs.readers.mixinglaws import MIXINGLAWS
from mixing.runs.readers.olmix import OLMIX
from mixing.runs.readers.regmix import REGMIX
from mixing.runs.readers.slimpajama import SLIMPAJAMA
from mixing.runs.readers.text_table import check_header
from mixing.runs.readers.tidy import TIDY
from mixing.runs.readers.wide import WIDE

LAYOUTS: tuple[Layout, ...] = (FINISHED_RUNS, OLMIX, REGMIX, MIXINGLAWS, SLIMPAJAMA, WIDE, TIDY)
"""Tried in this order: the first that recognises a source reads it."""


def read_layout(path: str, decimal: str = ".") -> tuple[pl.DataFrame, list[str]]:
    """A tidy frame from a path in any layout of `LAYOUTS`, and notes on what was left out of it.

    `decimal` is the sign before decimals in text. A path is a CSV or Parquet file,
    a pair `SHARES.csv,LOSSES.csv`, or a folder that holds finished runs or one such
    pair. Raises InputError naming the file and what was expected.
    """
    return read_source(open_source(path), decimal)


def read_source(source: Source, decimal: str = ".") -> tuple[pl.DataFrame, list[str]]:
    """The same for tables that are in memory already."""
    for table in source.tables:
        check_header(table.columns, source.name)
    try:
        layout = next((layout for layout in LAYOUTS if layout.recognises(source)), None)
        if layout is None:
            raise InputError(
                f"{source.name}: the two tables share no 'run' or 'index' column", "Add one to both"
            )
        frame, notes = layout.read(source, decimal)
        # A finished run of another trainer may have any layout that one table can have.
        if layout is FINISHED_RUNS:
            frame, more = read_source(Source(source.name, (frame,)), decimal)
            notes = [*notes, *more]
        return frame, [*source.notes, *notes]
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"{source.name}: not one of the layouts we know ({str(error).splitlines()[0]})",
            "See the layouts in docs/runs-table.md",
        ) from error


__all__ = ["ANSWERED", "LAYOUTS", "Layout", "Source", "open_source", "read_layout", "read_source"]
