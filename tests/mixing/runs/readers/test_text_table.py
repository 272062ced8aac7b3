"""Delimited text: encodings, delimiters, headers, and lines that do not fit."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import zstandard

from mixing.errors import InputError
from mixing.runs.read import read_runs
from tests.mixing.runs.small_tables import as_text, small_rows

EXPECTED = read_runs(pl.DataFrame(small_rows(), infer_schema_length=None)).rows
GERMAN = as_text(small_rows()).replace("german", "größe")


def read(tmp_path: Path, content: bytes, name: str = "t.csv") -> pl.DataFrame:
    (tmp_path / name).write_bytes(content)
    return read_runs(tmp_path / name).rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_are_read(tmp_path: Path, encoding: str) -> None:
    expected = read(tmp_path, GERMAN.encode())
    assert read(tmp_path, GERMAN.encode(encoding)).equals(expected)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_other_encodings_are_refused_by_line(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(InputError, match=r"t\.csv: is not UTF-8 text \(line 1, byte 0xf6\)") as caught:
        read(tmp_path, GERMAN.encode(encoding))
    assert "UTF-8" in caught.value.hint
    with pytest.raises(InputError, match="zero bytes"):
        read(tmp_path, as_text(small_rows()).encode("utf-16-le"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", ", " ; "])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_delimiters_and_ends_of_lines(tmp_path: Path, delimiter: str, ends: str) -> None:
    text = as_text(small_rows(), delimiter).replace("\n", ends)
    assert read(tmp_path, text.encode()).equals(EXPECTED)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "sep=;\n" + text.replace(",", ";"),
        lambda text: "\n\n" + text + "\n,,,,,\n",
        lambda text: text.replace("\n", ",\n"),
        lambda text: text + text.splitlines()[0] + "\n",
        lambda text: text.replace(",web,", ',"web",'),
    ],
)
def test_what_spreadsheets_add_is_nothing(tmp_path: Path, change: Callable[[str], str]) -> None:
    assert read(tmp_path, change(as_text(small_rows())).encode()).equals(EXPECTED)


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, bz2.compress, lzma.compress, lambda text: zstandard.ZstdCompressor().compress(text)],
)
def test_packed_text_is_read_whatever_its_name(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(as_text(small_rows()).encode())
    assert read(tmp_path, packed, "t.txt").equals(EXPECTED)
    with pytest.raises(InputError, match="not a readable table"):
        read(tmp_path, packed[:-40], "t.gz")


@pytest.mark.parametrize("lines", [True, False])
def test_json_is_read(tmp_path: Path, lines: bool) -> None:
    import json

    records = [json.dumps(row) for row in small_rows()]
    text = "\n".join(records) if lines else f"[{', '.join(records)}]"
    assert read(tmp_path, text.encode(), "t.json").equals(EXPECTED)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("run,share.web,share.web,tokens,eval,loss", "column 'share.web' is given twice"),
        ("run,share.web, share.web ,tokens,eval,loss", "column 'share.web' is given twice"),
        (
            "run,share.web,share.web.1,tokens,eval,loss",
            "'share.web' and 'share.web.1': was 'share.web' given twice",
        ),
    ],
)
def test_a_column_twice_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, f"{header}\na,0.5,0.5,1,web,2\n".encode())


def test_lines_that_do_not_fit_are_named(tmp_path: Path) -> None:
    lines = as_text(small_rows()).splitlines()
    lines[4] += ",7"
    with pytest.raises(InputError, match="line 5 has 7 fields, the header 6"):
        read(tmp_path, "\n".join(lines).encode())
    with pytest.raises(InputError, match="no delimiter"):
        read(tmp_path, as_text(small_rows(), " ").encode())
    with pytest.raises(InputError, match="a spreadsheet or an archive"):
        read(tmp_path, b"PK\x03\x04...", "t.csv")
    with pytest.raises(InputError, match="the file is empty"):
        read(tmp_path, b" \n")
