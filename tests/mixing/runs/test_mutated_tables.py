"""However a table is written, it is the same table; and what cannot be one is refused by its place."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixing.errors import InputError
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable
from tests.mixing.runs.small_tables import small_rows

ROWS = [{key: "" if cell is None else cell for key, cell in row.items()} for row in small_rows()]
COLUMNS = list(ROWS[0])
KEYS = ["run", "tokens", "eval", "seed"]
FOLDER = tempfile.TemporaryDirectory()

COUNTS = st.sampled_from(
    [
        str,
        lambda n: f"{n / 1e9:g}B",
        lambda n: f"{n // 10**6}M",
        lambda n: f"{n // 1000} k",
        lambda n: f"{n:,}",
        lambda n: f"{n:_}",
        lambda n: f"{n:,}".replace(",", "\u00a0"),
        lambda n: f"{n:.2f}" if n else "0",
        lambda n: f"{n:e}",
        lambda n: f"{n // 10**6} million tokens",
    ]
)
SHARES = st.sampled_from(
    [str, lambda s: f"{100 * s:g}%", lambda s: f"{s:.6f}", lambda s: f"{s:e}", lambda s: f"{s:g}".lstrip("0")]
)
NOTHING = st.sampled_from(["", "None", "N/A", "NA", "null", "-", "#N/A", "missing", "<NA>", " ", "NaN", "?"])
JUNK = st.sampled_from(["high", "1,2,3", "0..5", "12x", "true", "2.5.1", "seven", "1e", "--5", "0,871"])


def text(rows: list[dict[str, Any]], columns: list[str], delimiter: str, quoting: int, end: str) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def read(content: bytes) -> RunTable:
    path = Path(FOLDER.name) / "mutated.csv"
    path.write_bytes(content)
    return read_runs(path)


def content_of(table: RunTable) -> pl.DataFrame:
    """What a table says, whatever the order of its rows and columns."""
    names = [*KEYS, *sorted(column for column in table.rows.columns if column not in KEYS)]
    return table.rows.select(names).sort(KEYS)


CLEAN = content_of(read(text(ROWS, COLUMNS, ",", csv.QUOTE_MINIMAL, "\n").encode()))


@st.composite
def written(draw: st.DrawFn, rows: list[dict[str, Any]]) -> bytes:
    """The rows as somebody may have saved them."""
    shares = ("share.web", "share.german")
    told = [
        {
            key: draw(COUNTS)(cell) if key == "tokens" and isinstance(cell, int)
            else draw(SHARES)(cell) if key in shares and isinstance(cell, float)
            else cell
            for key, cell in row.items()
        }
        for row in rows
    ]  # fmt: skip
    columns = draw(st.permutations(COLUMNS))
    if draw(st.booleans()):
        index = draw(st.sampled_from(["Unnamed: 0", "", "index", "level_0", "notes"]))
        columns = [index, *columns]
        told = [{index: at, **row} for at, row in enumerate(told)]
    whole = text(
        told,
        columns,
        draw(st.sampled_from(",;\t|")),
        draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        draw(st.sampled_from(["\n", "\r\n"])),
    )
    return whole.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_table_is_the_same_however_it_is_written(data: st.DataObject) -> None:
    rows = data.draw(st.permutations(ROWS))
    again = data.draw(st.lists(st.sampled_from(ROWS), max_size=3))
    assert content_of(read(data.draw(written([*rows, *again])))).equals(CLEAN)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_cells_without_a_loss_leave_their_rows_out(data: st.DataObject) -> None:
    trained = [at for at, row in enumerate(ROWS) if row["tokens"]]
    gone = data.draw(st.sets(st.sampled_from(trained), min_size=1, max_size=5))
    word = data.draw(NOTHING)
    rows = [{**row, "loss": word} if at in gone else row for at, row in enumerate(ROWS)]
    table = read(data.draw(written(rows)))
    kept = CLEAN.join(
        pl.DataFrame([[ROWS[at][key] for key in KEYS[:3]] for at in gone], schema=KEYS[:3], orient="row"),
        on=KEYS[:3],
        how="anti",
    )
    assert content_of(table).equals(kept.sort(KEYS))
    assert any(f"{len(gone)} rows without a finite loss dropped" in warning for warning in table.warnings)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_what_is_no_number_is_refused_by_column_and_run(data: st.DataObject) -> None:
    at = data.draw(st.integers(2, len(ROWS) - 1))
    column = data.draw(st.sampled_from(["loss", "tokens", "share.web"]))
    rows = [{**row, column: data.draw(JUNK)} if i == at else row for i, row in enumerate(ROWS)]
    with pytest.raises(InputError) as caught:
        read(data.draw(written(rows)))
    assert repr(column) in caught.value.message
    assert f"run {ROWS[at]['run']!r}" in caught.value.message


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_rows_that_contradict_each_other_are_never_settled_in_silence(data: st.DataObject) -> None:
    at = data.draw(st.integers(2, len(ROWS) - 1))
    other = {**ROWS[at], "loss": ROWS[at]["loss"] + data.draw(st.sampled_from([0.01, -0.3, 2.0]))}
    place = data.draw(st.integers(0, len(ROWS)))
    rows = [*ROWS[:place], other, *ROWS[place:]]
    name = f"run {ROWS[at]['run']!r}"
    said = told(data.draw(written(rows)))
    assert any(name in line for line in said)


def told(content: bytes) -> list[str]:
    """The refusal of a table, or the restarts that it was read with."""
    try:
        return [warning for warning in read(content).warnings if "restart" in warning]
    except InputError as error:
        return [error.message]


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_counts_in_another_unit_are_refused_not_rounded(data: st.DataObject) -> None:
    unit = data.draw(st.sampled_from([1e9, 3e8, 7.5e8]))
    rows = [{**row, "tokens": row["tokens"] / unit} for row in ROWS]
    with pytest.raises(InputError, match=r"column 'tokens': run 'r0\.1' has .*not whole"):
        read(text(rows, COLUMNS, ",", csv.QUOTE_MINIMAL, "\n").encode())
