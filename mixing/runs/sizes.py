"""The model size that is asked about where none is named, and the rows of one size."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from mixing.errors import InputError
from mixing.runs.table import SHARE, RunTable

ENOUGH = 0.5
"""A size with less than this part as many mixtures as another says too little to be asked about unnamed."""


def usual_size(trained: pl.DataFrame) -> int:
    """The size that is asked about where none is named: the largest with at least half as many mixtures as any."""
    shares = [column for column in trained.columns if column.startswith(SHARE)]
    counts = (
        trained.drop_nulls("params")
        .group_by("params")
        .agg(pl.struct(pl.col(shares).round(9)).n_unique().alias("mixtures"))
        .filter(pl.col("mixtures") >= ENOUGH * pl.col("mixtures").max())
    )
    return int(counts["params"].max())  # type: ignore[arg-type]


def said_of(size: int, sizes: list[int]) -> str:
    """Which of several sizes an answer is for, in words."""
    which = "the largest" if size == max(sizes) else "the largest with enough mixtures"
    return f"{which}, {size:,}: name another with params"


def trained_sizes(table: RunTable) -> list[int]:
    """The sizes of trained runs, rising."""
    return [int(size) for size in table.trained["params"].drop_nulls().unique().sort()]


def rows_of_size(table: RunTable, size: int) -> tuple[RunTable, list[str]]:
    """The rows of one trained size, and a note on runs that name none.

    Base rows without a size are of the only size that was trained. Raises InputError where sizes are several and
    base rows do not say of which they are.
    """
    sizes = trained_sizes(table)
    rows, notes = table.rows, []
    unnamed = rows.filter(pl.col("params").is_null())
    base = unnamed.filter(pl.col("tokens") == 0)
    if len(sizes) > 1 and base.height:
        raise InputError(
            f"{table.source}: base row {base['run'][0]!r} on {base['eval'][0]!r} names no size (params), and runs have "
            f"{len(sizes)}: {', '.join(f'{n:,}' for n in sizes[:6])}",
            "Give base rows of every size, with their params",
        )
    if runs := unnamed.filter(pl.col("tokens") > 0)["run"].unique().sort().to_list():
        shown = ", ".join(runs[:5]) + (", ..." if len(runs) > 5 else "")
        taken = "left out" if len(sizes) > 1 else f"taken to have {size:,} as all others do"
        notes.append(f"{table.source}: no params in runs {shown}: {taken}")
    mine = pl.col("params") == size
    rows = rows.filter(mine if len(sizes) > 1 else mine | pl.col("params").is_null())
    elsewhere = table.base["params"].drop_nulls().unique().sort().to_list()
    if elsewhere and not rows.filter(pl.col("tokens") == 0).height:
        notes.append(
            f"{table.source}: base rows are of {', '.join(f'{n:,}' for n in elsewhere[:6])} parameters, and none of "
            f"{size:,}"
        )
    return replace(table, rows=rows), notes
