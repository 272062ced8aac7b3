"""What a layout is, and how the files that hold one are opened."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import polars as pl

from mixing.corpora.compression import compression_of, decompressed
from mixing.errors import InputError
from mixing.runs.readers.text_table import decoded, text_table

DONE = "done.json"
"""The file that marks a run's folder as finished."""
TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Source:
    """What a user named: one table, two (shares and losses), or a `folder` of finished runs.

    `name` is for errors, `notes` say what was left out on opening.
    """

    name: str
    tables: tuple[pl.DataFrame, ...] = ()
    folder: Path | None = None
    notes: tuple[str, ...] = ()

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

    def read(self, source: Source, decimal: str = ".") -> tuple[pl.DataFrame, list[str]]:
        """The rows in our columns (`run`, `share.<domain>`, `tokens`, `eval`, `loss`, ...), and notes for the user.

        What is in the cells is checked later, for all layouts alike (`mixing.runs.table.make_table`). Raises
        InputError naming the source and the column. `decimal` is the sign before decimals in text.
        """
        ...


def open_source(path: str) -> Source:
    """Open a file, a pair `SHARES,LOSSES` or a folder. Raises InputError naming the path."""
    parts = [Path(p) for p in path.split(",")] if "," in path and not Path(path).exists() else [Path(path)]
    if len(parts) > 2:
        raise InputError(f"{path}: {len(parts)} files named", "Name one table, or SHARES,LOSSES")
    if len(parts) == 1 and parts[0].is_dir():
        return _open_folder(parts[0])
    return _of_files(path, parts)


def _of_files(name: str, paths: Sequence[Path]) -> Source:
    opened = [open_table(path) for path in paths]
    notes = tuple(note for _, notes in opened for note in notes)
    return Source(name, tuple(frame for frame, _ in opened), notes=notes)


def _open_folder(folder: Path) -> Source:
    """Finished runs, those of a study's folder, or the single table or pair that a folder holds."""
    for runs in (folder, folder / "runs"):
        if any(runs.glob(f"*/{DONE}")):
            return Source(str(runs), folder=runs)
    shares = [p for p in folder.glob("*.csv") if re.search(r"ratios|mixture", p.name)]
    losses = [p for p in folder.glob("*.csv") if re.search(r"metrics|loss", p.name)]
    tables = sorted(path for path in folder.iterdir() if path.suffix in TABLES)
    if len(tables) == 1:
        return _of_files(str(tables[0]), tables)
    if len(shares) != 1 or len(losses) != 1:
        held = f"it holds {', '.join(path.name for path in tables[:5])}" if tables else "it holds no table"
        raise InputError(
            f"{folder}: not finished runs (*/{DONE}), one runs table, or one pair of share and loss tables; {held}",
            "Name the table, or the pair as SHARES.csv,LOSSES.csv",
        )
    source = _of_files(str(folder), [shares[0], losses[0]])
    others = [path.name for path in tables if path not in (shares[0], losses[0])]
    left = (f"{folder}: not read: {', '.join(others)}",) if others else ()
    return replace(source, notes=(*source.notes, *left))


def open_table(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """A table with at least one row, and notes on what was left out; what a file is, its content says.

    Parquet, Arrow and JSON keep their types, of delimited text every cell is text. Raises InputError naming the file.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", "Check the path of the runs table")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "Give a CSV or Parquet file") from None
    try:
        frame, notes = _read(content, str(path))
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: not a readable table ({str(error).splitlines()[0]})", "Give a CSV or Parquet file"
        ) from error
    if not frame.height:
        raise InputError(f"{path}: the table is empty", "Give a table with at least one row")
    return frame, notes


_UNREADABLE = (pl.exceptions.PolarsError, ValueError, OSError)


def _read(content: bytes, name: str) -> tuple[pl.DataFrame, list[str]]:
    if (compression := compression_of(content)) is not None:
        content = decompressed(io.BytesIO(content), compression).read()
    if content.startswith(b"PAR1"):
        return pl.read_parquet(io.BytesIO(content)), []
    if content.startswith(b"ARROW1"):
        return pl.read_ipc(io.BytesIO(content)), []
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputError(f"{name}: is a spreadsheet or an archive, not a table", "Save it as CSV, in UTF-8")
    if not content.strip():
        raise InputError(f"{name}: the file is empty", "Give a table with at least one row")
    if content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"[", b"{")):
        return _of_records(decoded(content, name)), []
    return text_table(content, name)


def _of_records(text: str) -> pl.DataFrame:
    """A JSON array of objects, or an object per line. Raises ValueError for other JSON."""
    whole = text.lstrip().startswith("[")
    found = json.loads(text) if whole else [json.loads(line) for line in text.splitlines() if line.strip()]
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        raise ValueError("JSON, but no list of objects")
    names = list(dict.fromkeys(name for record in found for name in record))
    return pl.DataFrame({name: _column([record.get(name) for record in found]) for name in names})


def _column(values: list[object]) -> pl.Series:
    """Numbers where all are, else text: of one word among numbers the check of cells tells where it is."""
    if all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values
    ):
        return pl.Series(values, dtype=pl.Float64, strict=False)
    return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)


def literal(path: Path) -> str:
    """The path with what DuckDB would take for a wildcard escaped."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
