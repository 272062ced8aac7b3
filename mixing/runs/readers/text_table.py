"""Delimited text as a table of text: its encoding, its delimiter, and every line with as many fields as the header."""

from __future__ import annotations

import csv
import io
from collections import Counter

import polars as pl

from mixing.corpora.encodings import mark_of
from mixing.errors import InputError

DELIMITERS = ",;\t|"
SAMPLE_LINES = 50


def decoded(content: bytes, name: str) -> str:
    """Text in UTF-8, or in the encoding of its byte order mark. Raises InputError naming `name` and the line."""
    encoding = mark_of(content) or "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{name}: is not UTF-8 text (line {line}, byte 0x{content[error.start]:02x})",
            "Save it as UTF-8, e.g. iconv -f latin1 -t utf-8 FILE > NEW_FILE",
        ) from None
    if "\0" in text:
        raise InputError(f"{name}: holds zero bytes, which no text has", "Save it as UTF-8 text")
    return text


def text_table(content: bytes, name: str) -> tuple[pl.DataFrame, list[str]]:
    """The cells of a CSV file as text, blanks around them stripped, and notes on what was left out.

    The delimiter is the one of comma, semicolon, tab and bar that gives all lines as many fields as the header; or
    the one that a first line `sep=;` names. Lines without any cell and repetitions of the header are left out.
    Raises InputError naming the line or the column: for an unknown encoding, a header that has a name twice, a line
    with more or fewer fields than it.
    """
    text = decoded(content, name)
    _refuse_other_text(text, name)
    lines = io.StringIO(text, newline="")
    named = _named_delimiter(text)
    if named is not None:
        lines.readline()
    reader = csv.reader(lines, delimiter=named or _delimiter(text, name), skipinitialspace=True, strict=True)
    skipped = 0 if named is None else 1
    try:
        rows = [(reader.line_num + skipped, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise InputError(
            f"{name}: line {reader.line_num + skipped} is not CSV ({error})", "Correct its quotes"
        ) from None
    if not rows:
        raise InputError(f"{name}: the table is empty", "Give a table with at least one row")
    header = [title or f"Unnamed: {place}" for place, title in enumerate(rows[0][1])]
    check_header(header, name)
    body = [(line, row) for line, row in rows[1:] if row != rows[0][1]]
    for line, row in body:
        if len(row) != len(header):
            raise InputError(
                f"{name}: line {line} has {len(row)} fields, the header {len(header)}",
                "Give every line a field per column; quote text that holds the delimiter",
            )
    notes = []
    if again := len(rows) - 1 - len(body):
        notes.append(f"{name}: the header stands {again} times more among the rows: left out")
    columns = zip(*(row for _, row in body), strict=True) if body else ([] for _ in header)
    cells = [
        pl.Series(title, list(column), dtype=pl.String) for title, column in zip(header, columns, strict=True)
    ]
    return _without_empty(pl.DataFrame(cells)), notes


def _refuse_other_text(text: str, name: str) -> None:
    """Raises InputError for a page, and for a comment above the header."""
    start = text.lstrip()[:60].casefold()
    if start.startswith(("<!doctype", "<html", "<?xml")):
        raise InputError(f"{name}: is an HTML or XML page, not a table", "Fetch the table itself")
    if start.startswith("#"):
        raise InputError(
            f"{name}: begins with a comment ({text.lstrip().splitlines()[0][:40]!r})",
            "Delete the lines above the header",
        )


def check_header(header: list[str], name: str) -> None:
    """Raises InputError for a name that stands twice, or that a data frame library numbered because it did."""
    twice = [title for title, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(f"{name}: column {twice[0]!r} is given twice", "Keep one of them, or rename it")
    for title in header:
        for mark in (".1", "_duplicated_0"):
            first = title.removesuffix(mark)
            if first != title and first in header:
                raise InputError(
                    f"{name}: columns {first!r} and {title!r}: was {first!r} given twice?",
                    "Keep one of them, or rename the second if it is another column",
                )


def _named_delimiter(text: str) -> str | None:
    """The delimiter that a first line `sep=;` names, as spreadsheets write it."""
    first = text[:10].partition("\n")[0].strip().strip('"')
    return first[4] if len(first) == 5 and first.casefold().startswith("sep=") else None


def _delimiter(text: str, name: str) -> str:
    """The delimiter by which the first lines have most fields, all as many; else the header's."""
    sample = text.splitlines()[:SAMPLE_LINES]
    fields: dict[str, list[int]] = {}
    for delimiter in DELIMITERS:
        try:
            rows = csv.reader(sample, delimiter=delimiter, skipinitialspace=True)
            fields[delimiter] = [len(row) for row in rows if any(row)]
        except csv.Error:
            continue
    counts = {delimiter: found for delimiter, found in fields.items() if found and found[0] > 1}
    if not counts:
        if any(len(line.split()) > 1 for line in sample[:1]):
            raise InputError(
                f"{name}: no delimiter between columns (first line: {sample[0][:60]!r})",
                "Write commas, semicolons, tabs or bars between the columns",
            )
        return ","
    even = {delimiter: found[0] for delimiter, found in counts.items() if len(set(found)) == 1}
    best = even or {delimiter: found[0] for delimiter, found in counts.items()}
    return max(best, key=lambda delimiter: best[delimiter])


def _without_empty(frame: pl.DataFrame) -> pl.DataFrame:
    """Without the nameless columns that delimiters at the end of lines make."""
    empty = [c for c in frame.columns if c.startswith("Unnamed: ") and (frame[c] == "").all()]
    return frame.drop(empty)
