"""A runs table from wherever it is: files in any known layout, data frames, or another system's importer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import polars as pl

from mixing.errors import InputError
from mixing.runs.columns import SETTINGS
from mixing.runs.declared import declared
from mixing.runs.metrics import DEFAULT
from mixing.runs.readers import Source, read_layout, read_source
from mixing.runs.settings import settled
from mixing.runs.table import RunTable, make_table

IMPORTERS = "mixlaw.importers"
"""The entry-point group of importers: NAME = a function from the address `NAME:REST` to a RunTable."""

_ADDRESS = re.compile(r"([a-z][a-z0-9_-]+):(?!//)")
"""Two letters at least: a drive of Windows is no importer."""


def read_runs(
    source: object,
    *,
    decimal: str = ".",
    metric: str | Mapping[str, str] | None = None,
    where: Mapping[str, object] | None = None,
    pool: str | Sequence[str] = (),
) -> RunTable:
    """Read a runs table.

    Args:
        source: one of

            - the path of a CSV or Parquet file, a pair `"SHARES.csv,LOSSES.csv"`, a folder of finished runs, or one
              that holds a single table or pair (`mixing.runs.readers` lists the layouts);
            - `"NAME:REST"`, read by the importer NAME: `"mlflow:EXPERIMENT"`;
            - a polars or pandas data frame or a pyarrow table;
            - a RunTable, handed back as it is;
            - a list of any of these: one table of all their runs. A domain that one of them does not name has
              share 0 there.
        decimal: the sign before decimals in text: "," for `0,25` and `1.600.000`.
        metric: what the losses are, of all validation sets or by set, where names do not say it: `loss` (nats per
            token, or anything else of which less is better), `perplexity`, `accuracy` (more is better),
            `bits_per_byte`.
        where: the runs to read, by a column and its value: `{"lr": 3e-4}`.
        pool: settings (`lr`, `schedule`, `base`, `group`) in which runs may differ: what they do counts as scatter.

    Returns:
        The table, checked: shares on the simplex, finite losses (of which less is better), tokens from 0 (the base
        model). What was repaired, left out or not used is in its `warnings`.

    Raises:
        InputError: naming the file, the column or the run that cannot be read, and what to do.

    Example:
        >>> import polars as pl
        >>> runs = read_runs(pl.DataFrame({
        ...     "run": ["a", "a", "b", "b"],
        ...     "share.web": [0.5, 0.5, 0.2, 0.2], "share.german": [0.5, 0.5, 0.8, 0.8],
        ...     "tokens": [10**8] * 4,
        ...     "eval": ["web", "german"] * 2, "loss": [2.86, 2.79, 2.91, 2.70],
        ... }))
        >>> runs
        RunTable(data frame: 2 runs, domains web, german, evals web, german, 100M tokens)
    """
    if decimal not in (".", ","):
        raise InputError(f"decimal {decimal!r}: not a sign before decimals", "Give '.' or ','")
    where = where or {}
    table = _read(source, decimal, tuple(where))
    if isinstance(source, RunTable) and metric is None and not where:
        return table
    pooled = (pool,) if isinstance(pool, str) else tuple(pool)
    return declared(settled(table, where, pooled), metric)


def _read(source: object, decimal: str, keep: tuple[str, ...]) -> RunTable:
    """The table as it is written; with the columns of settings, and of `keep`."""
    if isinstance(source, RunTable):
        return source
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        return _joined([_read(part, decimal, keep) for part in source], keep)
    if isinstance(source, str | Path):
        return _read_address(str(source)) or _read_path(str(source), decimal, keep)
    frame, notes = read_source(Source("data frame", (_polars(source),)), decimal)
    return make_table(frame, "data frame", notes, decimal=decimal, keep=keep)


def _read_path(path: str, decimal: str, keep: tuple[str, ...]) -> RunTable:
    frame, notes = read_layout(path, decimal)
    return make_table(frame, path, notes, decimal=decimal, keep=keep)


def _read_address(address: str) -> RunTable | None:
    """What the importer NAME of `NAME:REST` reads; None where the address is a path."""
    match = _ADDRESS.match(address)
    if match is None:
        return None
    importers = entry_points(group=IMPORTERS)
    if match[1] not in importers.names:
        if Path(address).exists() or "," in address:
            return None
        raise InputError(
            f"{address}: no such file, and no importer {match[1]!r}",
            f"Installed importers: {', '.join(sorted(importers.names)) or 'none'}",
        )
    importer: Callable[[str], RunTable] = importers[match[1]].load()
    return importer(address)


def _polars(table: Any) -> pl.DataFrame:
    """A polars, pandas or pyarrow table as a polars frame; raises InputError for anything else."""
    try:
        if isinstance(table, pl.DataFrame):
            frame = table
        elif isinstance(table, pl.LazyFrame):
            frame = table.collect()
        elif type(table).__module__.partition(".")[0] == "pandas":
            frame = pl.from_pandas(table)
        elif hasattr(table, "__arrow_c_stream__"):
            frame = pl.DataFrame(table)
        else:
            raise InputError(
                f"{type(table).__name__}: not a runs table",
                "Give a path, NAME:REST, a polars or pandas data frame, a pyarrow table, or a list of these",
            )
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"data frame: cannot be read as a table ({error})", "Give plain columns of text and numbers"
        ) from error
    if not frame.height:
        raise InputError("data frame: the table is empty", "Give a table with at least one row")
    return frame


def _joined(tables: Sequence[RunTable], keep: tuple[str, ...]) -> RunTable:
    """One table of several; raises InputError where two of them give one row different losses, or metrics."""
    if not tables:
        raise InputError("no runs table named", "Give at least one")
    if len(tables) == 1:
        return tables[0]
    source = ", ".join(table.source for table in tables)
    rows = pl.concat([table.rows for table in tables], how="diagonal")
    metrics = _same_metrics(tables, source)
    settings = [c for c in rows.columns if c in SETTINGS]
    keys = ["run", "tokens", "seed", "eval", "params", *settings]
    clashes = rows.group_by(keys, maintain_order=True).agg(pl.col("loss").n_unique().alias("losses"))
    clashes = clashes.filter(pl.col("losses") > 1)
    if clashes.height:
        row = clashes.row(0, named=True)
        raise InputError(
            f"{source}: run {row['run']!r} has different losses on {row['eval']!r} at {row['tokens']:,} tokens",
            "Give every run a name of its own in all the tables",
        )
    notes = [note for table in tables for note in table.warnings]
    joined = make_table(rows, source, notes, keep=keep, metrics=metrics)
    return replace(
        joined, ended_without_loss=tuple(sorted({r for t in tables for r in t.ended_without_loss}))
    )


def _same_metrics(tables: Sequence[RunTable], source: str) -> dict[str, str]:
    metrics: dict[str, str] = {}
    for name in dict.fromkeys(name for table in tables for name in table.evals):
        kinds = {table.metrics.get(name, DEFAULT) for table in tables if name in table.evals}
        if len(kinds) > 1:
            raise InputError(
                f"{source}: {name!r} is {' in one table and '.join(sorted(kinds))} in another",
                "Say what it is in both: a column metric, or its name",
            )
        if kinds != {DEFAULT}:
            metrics[name] = kinds.pop()
    return metrics
