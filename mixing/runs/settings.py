"""Learning rates, schedules, bases and groups of runs: one of each, unless the user says that they count as scatter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from mixing.amounts import parse_number
from mixing.errors import InputError
from mixing.runs.columns import SETTINGS
from mixing.runs.table import RunTable

MOST_NAMED = 6


def settled(table: RunTable, where: Mapping[str, object], pool: Sequence[str]) -> RunTable:
    """The runs whose columns have the values of `where`, with one value of every setting that `pool` does not name.

    Base rows are kept whatever a run was trained with, but only of the base that is asked about. Raises InputError
    where runs differ in a setting that is neither chosen nor pooled, for a column that the table lacks, and a value
    that no run has.
    """
    here = [name for name in dict.fromkeys((*SETTINGS, *where)) if name in table.rows.columns]
    _check(table, where, pool)
    rows, notes = table.rows, []
    for name, value in where.items():
        rows = _chosen(rows, name, value, table.source)
    for name in here:
        if name in SETTINGS and name not in where:
            rows, said = _one_value(rows, name, name in pool, table.source)
            notes += said
    if not here:
        return table
    drop = [name for name in here if name in SETTINGS or name in where]
    return replace(
        table, rows=rows.drop(name for name in drop if name not in _OWN), warnings=[*table.warnings, *notes]
    )


_OWN = ("run", "eval", "params", "tokens", "seed", "heldout", "loss")
"""Columns that stay, also where `where` chose among their values."""


def _check(table: RunTable, where: Mapping[str, object], pool: Sequence[str]) -> None:
    for argument, names in (("where", list(where)), ("pool", list(pool))):
        for name in names:
            if argument == "pool" and name not in SETTINGS:
                raise InputError(f"pool {name}: not a setting of runs", f"Settings: {', '.join(SETTINGS)}")
            if name not in table.rows.columns:
                columns = [c for c in table.rows.columns if not c.startswith("share.")]
                raise InputError(
                    f"{argument} {name}: {table.source} has no such column", f"It has: {', '.join(columns)}"
                )


def _chosen(rows: pl.DataFrame, name: str, value: object, source: str) -> pl.DataFrame:
    """The runs with one value of a column; base rows too, if the column says nothing about them."""
    texts = [t for t in rows[name].cast(pl.String).unique().sort().to_list() if t is not None]
    same = [text for text in texts if _alike(text, str(value))]
    trained = rows.filter((pl.col("tokens") > 0) & pl.col(name).cast(pl.String).is_in(same))
    if not trained.height:
        raise InputError(
            f"where {name}={value}: {source} has no such run",
            f"Its values: {', '.join(texts[:MOST_NAMED]) or 'none'}",
        )
    base = rows.filter(pl.col("tokens") == 0)
    if name in ("base", "group", "params"):
        mine = pl.col(name).cast(pl.String).is_in(same)
        _refuse_unnamed_bases(rows, name, source)
        base = base.filter(mine | pl.col(name).is_null())
    return pl.concat([base, trained])


def _alike(one: str, other: str) -> bool:
    """Whether two texts are one value: `3e-4` is `0.0003`."""
    if one.strip() == other.strip():
        return True
    numbers = parse_number(one), parse_number(other)
    return None not in numbers and numbers[0] == numbers[1]


def _refuse_unnamed_bases(rows: pl.DataFrame, name: str, source: str) -> None:
    """Raises InputError where runs start from several bases, and base rows do not say which they are."""
    if name != "base":
        return
    bases = rows.filter(pl.col("tokens") > 0)["base"].n_unique()
    unnamed = rows.filter((pl.col("tokens") == 0) & pl.col("base").is_null())
    if bases > 1 and unnamed.height:
        raise InputError(
            f"{source}: base row {unnamed['run'][0]!r} on {unnamed['eval'][0]!r} does not say which base it is, and "
            f"runs start from {bases}",
            "Fill the column base in base rows too",
        )


def _one_value(rows: pl.DataFrame, name: str, pooled: bool, source: str) -> tuple[pl.DataFrame, list[str]]:
    trained = rows.filter(pl.col("tokens") > 0)
    counts = trained.group_by(name).agg(pl.col("run").n_unique().alias("runs")).sort(name, nulls_last=True)
    kinds = _kinds(counts)
    if len(kinds) < 2:
        return (_of_the_base(rows, kinds, source) if name == "base" else rows), []
    shown = ", ".join(f"{value}: {runs} run{'' if runs == 1 else 's'}" for value, runs in kinds[:MOST_NAMED])
    if not pooled:
        value = next(value for value, _ in kinds)
        raise InputError(
            f"{source}: runs differ in {name} ({shown}), and are not compared unseen",
            f"Choose with where {name}={value}; or, if the difference is scatter to you, say pool={name}",
        )
    if name == "base":
        _refuse_unnamed_bases(rows, name, source)
    several = trained.group_by("run").agg(pl.col(name).n_unique().alias("n")).filter(pl.col("n") > 1)["run"]
    own = pl.concat_str("run", pl.lit(f" {name}="), pl.col(name).fill_null("-"))
    rows = rows.with_columns(
        pl.when(pl.col("run").is_in(several.to_list())).then(own).otherwise("run").alias("run")
    )
    return rows, [f"{source}: runs differ in {name} ({shown}): counted as scatter, as you say"]


def _kinds(counts: pl.DataFrame) -> list[tuple[str, int]]:
    """The different values, each as first written, with its runs."""
    kinds: list[tuple[str, int]] = []
    for value, runs in counts.iter_rows():
        text = "none named" if value is None else str(value)
        same = next((at for at, (other, _) in enumerate(kinds) if _alike(text, other)), None)
        if same is None:
            kinds.append((text, runs))
        else:
            kinds[same] = (kinds[same][0], kinds[same][1] + runs)
    return kinds


def _of_the_base(rows: pl.DataFrame, kinds: list[tuple[str, int]], source: str) -> pl.DataFrame:
    """Without the base rows of other bases than the one of all runs. Raises InputError where none is left."""
    if not kinds or kinds[0][0] == "none named":
        return rows
    mine = (pl.col("tokens") > 0) | pl.col("base").is_null() | (pl.col("base") == kinds[0][0])
    left = rows.filter(mine)
    if left.filter(pl.col("tokens") == 0).height or not rows.filter(pl.col("tokens") == 0).height:
        return left
    raise InputError(
        f"{source}: runs start from base {kinds[0][0]!r}, and no base row is of that one",
        "Correct the column base",
    )
