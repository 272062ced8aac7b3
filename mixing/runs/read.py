"""A runs table from wherever it is: files in any known layout, data frames, or another system's importer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import polars as pl

from mixing.errors import InputError
from mixing.runs.readers import Source, read_layout, read_source
from mixing.runs.table import RunTable, make_table

IMPORTERS = "mixlaw.importers"
"""The entry-point group of importers: NAME = a function from the address `NAME:REST` to a RunTable."""

_ADDRESS = re.compile(r"([a-z][a-z0-9_-]+):(?!//)")
"""Two letters at least: a drive of Windows is no importer."""


def read_runs(source: object) -> RunTable:
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

    Returns:
        The table, checked: shares on the simplex, finite losses (nats per token, or any metric where lower is
        better), tokens from 0 (the base model). What was repaired or left out is in its `warnings`.

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
    if isinstance(source, RunTable):
        return source
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        return _joined([read_runs(part) for part in source])
    if isinstance(source, str | Path):
        return _read_address(str(source)) or _read_path(str(source))
    frame, notes = read_source(Source("data frame", (_polars(source),)))
    return make_table(frame, "data frame", notes)


def _read_path(path: str) -> RunTable:
    frame, notes = read_layout(path)
    return make_table(frame, path, notes)


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


def _joined(tables: Sequence[RunTable]) -> RunTable:
    """One table of several; raises InputError where two of them give one row different losses."""
    if not tables:
        raise InputError("no runs table named", "Give at least one")
    if len(tables) == 1:
        return tables[0]
    source = ", ".join(table.source for table in tables)
    rows = pl.concat([table.rows for table in tables], how="diagonal")
    keys = ["run", "tokens", "seed", "eval", "params"]
    clashes = rows.group_by(keys, maintain_order=True).agg(pl.col("loss").n_unique().alias("losses"))
    clashes = clashes.filter(pl.col("losses") > 1)
    if clashes.height:
        row = clashes.row(0, named=True)
        raise InputError(
            f"{source}: run {row['run']!r} has different losses on {row['eval']!r} at {row['tokens']:,} tokens",
            "Give every run a name of its own in all the tables",
        )
    return make_table(rows, source, [note for table in tables for note in table.warnings])
