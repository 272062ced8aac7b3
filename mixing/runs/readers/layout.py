"""What a layout is, and how the files that hold one are opened (by DuckDB)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
import polars as pl

from mixing.errors import InputError

DONE = "done.json"
"""The file that marks a run's folder as finished."""


@dataclass(frozen=True)
class Source:
    """What a user named: one table, two (shares and losses), or a `folder` of finished runs; `name` is for errors."""

    name: str
    tables: tuple[pl.DataFrame, ...] = ()
    folder: Path | None = None

    @property
    def columns(self) -> list[str]:
        """The columns of a single table; none where there are two, or a folder."""
        return self.tables[0].columns if len(self.tables) == 1 else []


class Layout(Protocol):
    """One way to write down runs. A reader may refuse, and names what it leaves out; it never guesses in silence."""

    @property
    def name(self) -> str: ...

    def recognises(self, source: Source) -> bool:
        """Whether the source is written so, by its columns or its files."""
        ...

    def read(self, source: Source) -> tuple[pl.DataFrame, list[str]]:
        """The rows in our columns (`run`, `share.<domain>`, `tokens`, `eval`, `loss`, ...), and notes for the user.

        What is in the cells is checked later, for all layouts alike (`mixing.runs.table.make_table`). Raises
        InputError naming the source and the column.
        """
        ...


def open_source(path: str) -> Source:
    """Open a file, a pair `SHARES,LOSSES` or a folder. Raises InputError naming the path."""
    parts = [Path(p) for p in path.split(",")] if "," in path and not Path(path).exists() else [Path(path)]
    if len(parts) > 2:
        raise InputError(f"{path}: {len(parts)} files named", "Name one table, or SHARES,LOSSES")
    if len(parts) == 1 and parts[0].is_dir():
        return _open_folder(parts[0])
    return Source(path, tuple(open_table(part) for part in parts))


def _open_folder(folder: Path) -> Source:
    if any(folder.glob(f"*/{DONE}")):
        return Source(str(folder), folder=folder)
    shares = [p for p in folder.glob("*.csv") if re.search(r"ratios|mixture", p.name)]
    losses = [p for p in folder.glob("*.csv") if re.search(r"metrics|loss", p.name)]
    tables = sorted(path for path in folder.iterdir() if path.suffix in (".csv", ".parquet"))
    if len(tables) == 1:
        return Source(str(tables[0]), (open_table(tables[0]),))
    if len(shares) != 1 or len(losses) != 1:
        held = f"it holds {', '.join(path.name for path in tables[:5])}" if tables else "it holds no table"
        raise InputError(
            f"{folder}: not finished runs (*/{DONE}), one runs table, or one pair of share and loss tables; {held}",
            "Name the table, or the pair as SHARES.csv,LOSSES.csv",
        )
    return Source(str(folder), (open_table(shares[0]), open_table(losses[0])))


def open_table(path: Path) -> pl.DataFrame:
    """A CSV or Parquet file with at least one row. Raises InputError naming it."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", "Check the path of the runs table")
    reader = "read_parquet" if path.suffix == ".parquet" else "read_csv"
    options = ", union_by_name => true" if reader == "read_parquet" else ", sample_size => -1"
    try:
        with duckdb.connect() as connection:
            query = f"SELECT * FROM {reader}($path{options})"
            frame: pl.DataFrame = connection.sql(query, params={"path": literal(path)}).pl()
    except duckdb.Error as error:
        raise InputError(
            f"{path}: not a readable table ({str(error).splitlines()[0]})", "Give a CSV or Parquet file"
        ) from error
    if not frame.height:
        raise InputError(f"{path}: the table is empty", "Give a table with at least one row")
    return frame


def literal(path: Path) -> str:
    """The path with what DuckDB would take for a wildcard escaped."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
