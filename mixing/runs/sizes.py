"""The model size that is asked about where none is named."""

from __future__ import annotations

import polars as pl

from mixing.runs.table import SHARE

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
