"""Formats by content and by declaration, compressions, encodings, and the files beside the data."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from mixing.corpora.documents import Source, documents
from mixing.corpora.left_out import Tally, words_left_out, words_no_data
from mixing.errors import InputError

TEXTS = ["Einhörner schlafen.", "two\nlines", '{"x": 1}', "日本語のテキスト", "a, b; c\td|e"]


def read(*paths: Path, tally: Tally | None = None, **how: Any) -> list[str]:
    return [document.text for document in documents(Source("d", "general", paths, **how), tally)]


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def lines(texts: list[str], field: str = "text") -> bytes:
    return "".join(json.dumps({"id": i, field: text}) + "\n" for i, text in enumerate(texts)).encode()


def arrow(table: pa.Table, stream: bool = True) -> bytes:
    sink = io.BytesIO()
    opened = pa.ipc.new_stream(sink, table.schema) if stream else pa.ipc.new_file(sink, table.schema)
    with opened as writer:
        writer.write_table(table)
    return sink.getvalue()


def csv_bytes(texts: list[str], delimiter: str = ",", encoding: str = "utf-8") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["id", "text"])
    writer.writerows(enumerate(texts))
    return out.getvalue().encode(encoding)


RECORDS = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
COMPRESSIONS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
    ".zstd": zstandard.compress,
}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", lines(TEXTS)),
        ("part-00000", lines(TEXTS)),
        ("a.txt", lines(TEXTS)),
        ("array.json", json.dumps(RECORDS).encode()),
        ("pretty.json", json.dumps(RECORDS, indent=1, ensure_ascii=False).encode()),
        ("pretty.jsonl", b"\n".join(json.dumps(record, indent=2).encode() for record in RECORDS)),
        ("array.jsonl", b"\xef\xbb\xbf" + json.dumps(RECORDS).encode()),
        ("a.csv", csv_bytes(TEXTS)),
        ("a.tsv", csv_bytes(TEXTS, "\t")),
        ("semicolons.csv", csv_bytes(TEXTS, ";")),
    ],
)
def test_records_are_read_whatever_they_are_packed_in(
    tmp_path: Path, name: str, content: bytes, suffix: str
) -> None:
    path = write(tmp_path / (name + suffix), COMPRESSIONS[suffix](content))
    assert read(tmp_path) == TEXTS
    # The name says less than the content.
    path.rename(tmp_path / f"{name.split('.')[0]}.{'csv' if 'csv' in name else 'json'}")
    if not name.endswith((".tsv", "00000", ".txt")):
        assert read(tmp_path) == TEXTS


@pytest.mark.parametrize("size", [1, 70_000])
def test_one_indented_record_per_file(tmp_path: Path, size: int) -> None:
    texts = ["word " * size + str(i) for i in range(3)]
    for i, text in enumerate(texts):
        write(tmp_path / f"{i}.json", json.dumps({"meta": {"n": i}, "text": text}, indent=2).encode())
    assert read(tmp_path) == texts


def test_arrow_as_datasets_saves_it(tmp_path: Path) -> None:
    table = pa.table({"id": range(5), "text": TEXTS})
    write(tmp_path / "data-00000-of-00002.arrow", arrow(table))
    write(tmp_path / "data-00001-of-00002.arrow", arrow(table, stream=False))
    write(tmp_path / "data-00002-of-00003.arrow", arrow(table))
    write(tmp_path / "cache-0123456789abcdef.arrow", arrow(table))
    write(tmp_path / "dataset_info.json", b'{\n  "description": "about it"\n}')
    listed = [{"filename": f"data-0000{i}-of-00002.arrow"} for i in range(2)]
    write(tmp_path / "state.json", json.dumps({"_data_files": listed}, indent=2).encode())
    tally = Tally()
    assert read(tmp_path, tally=tally) == [*TEXTS, *TEXTS]
    assert "data-00002-of-00003.arrow (not among the files that state.json lists)" in words_left_out(tally)[0]
    assert "cache-0123456789abcdef.arrow" in words_no_data(tally)[0]
    assert any("dataset_info.json" in words and "state.json" in words for words in words_no_data(tally))


@pytest.mark.parametrize("declared", [None, "parquet"])
def test_a_dataset_cloned_from_a_hub(tmp_path: Path, declared: str | None) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "data" / "train-00000-of-00001.parquet")
    for name in ("README.md", "LICENSE", ".gitattributes", "dataset_infos.json", "loader.py", "figure.png"):
        write(
            tmp_path / name,
            b"{}" if name.endswith("json") else b"about the data \0" if "png" in name else b"about",
        )
    tally = Tally()
    assert read(tmp_path, tally=tally, format=declared) == TEXTS
    named = " ".join((*words_no_data(tally), *words_left_out(tally)))
    assert all(
        name in named for name in ("README.md", "LICENSE", "dataset_infos.json", "loader.py", "figure.png")
    )


def test_a_pointer_of_git_lfs_is_no_data(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(InputError, match=r"a\.parquet is a Git LFS pointer.*git lfs pull"):
        read(tmp_path)


NESTED = [{"data": {"text": text, "n": 1}, "id": 2} for text in TEXTS]


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "arrow"])
def test_fields_within_fields(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(NESTED), path)
    elif kind == "arrow":
        write(path, arrow(pa.Table.from_pylist(NESTED)))
    else:
        write(path, json.dumps(NESTED, indent=2).encode() if kind == "json" else b"")
        if kind == "jsonl":
            write(path, "".join(json.dumps(record) + "\n" for record in NESTED).encode())
    assert read(tmp_path, text_field="data.text") == TEXTS
    with pytest.raises(InputError, match=r"(field|column) 'text'.*text_field \(here: .*data\.text"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["a.json.gz", "a.csv", "a.json", "a.jsonl"])
def test_a_missing_field_is_asked_for_with_those_that_are_there(tmp_path: Path, name: str) -> None:
    content = csv_bytes(TEXTS).replace(b"text", b"content", 1) if name == "a.csv" else lines(TEXTS, "content")
    write(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(InputError, match=r"no (field|column) 'text'.*here: .*content"):
        read(tmp_path)
    assert read(tmp_path, text_field="content") == TEXTS


def test_code_with_json_beside_it_keeps_its_files(tmp_path: Path) -> None:
    write(tmp_path / "a.py", b"x = {}\n")
    write(tmp_path / "style.css", b"{ not json }")
    write(tmp_path / "package.json", b'{\n  "name": "x"\n}')
    tally = Tally()
    assert read(tmp_path, tally=tally) == ["x = {}\n", "{ not json }"]
    assert "package.json (JSON without field 'text'; here: name)" in words_left_out(tally)[0]
    # Asked for as text, everything is a document.
    assert len(read(tmp_path, format="text")) == 3


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl.lz4", b"\x04\x22\x4d\x18rest", "compression .lz4 is not read; recompress"),
        ("a.jsonl.br", b"any", "compression .br is not read"),
        ("a.zip", b"PK\x03\x04rest", "an archive, which is not read; unpack it"),
        ("data", b"PK\x03\x04rest", "an archive, which is not read; unpack it"),
        ("a.tar.gz", gzip.compress(b"tar", mtime=0), "an archive, which is not read; unpack it"),
        ("a.parquet.gz", gzip.compress(b"PAR1", mtime=0), "parquet inside a compressed file; decompress it"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    write(tmp_path / name, content)
    write(tmp_path / "b.jsonl", lines(TEXTS))
    tally = Tally()
    assert read(tmp_path, tally=tally) == TEXTS
    (words,) = words_left_out(tally)
    assert f"{name} ({reason}" in words


@pytest.mark.parametrize("log", [27, 28, 31])
def test_long_windows_of_zstd(tmp_path: Path, log: int) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=log, enable_ldm=False)
    packed = io.BytesIO()
    # As from a pipe: without the size, so that the frame asks for the whole window.
    with zstandard.ZstdCompressor(compression_params=parameters).stream_writer(
        packed, closefd=False
    ) as stream:
        stream.write(lines(TEXTS))
    path = write(tmp_path / "a.jsonl.zst", packed.getvalue())
    assert zstandard.get_frame_parameters(packed.getvalue()).window_size == 1 << log
    assert read(tmp_path) == TEXTS
    write(path, packed.getvalue()[:-5])
    with pytest.raises(InputError, match="damaged or cut short"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", [".bz2", ".xz"])
def test_damaged_archives_are_named(tmp_path: Path, suffix: str) -> None:
    packed = COMPRESSIONS[suffix](lines(TEXTS * 50))
    for content in (packed[:-20], b"not " + packed):
        write(tmp_path / f"a.jsonl{suffix}", content)
        with pytest.raises(InputError, match=r"is damaged or cut short"):
            read(tmp_path)


LATIN = ["Grüße aus Köln", "naïve café"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "shift_jis"])
@pytest.mark.parametrize("kind", ["txt", "jsonl", "json", "csv"])
def test_encodings(tmp_path: Path, encoding: str, kind: str) -> None:
    texts = ["日本語の文", "次の文"] if encoding == "shift_jis" else LATIN
    records = [{"text": text} for text in texts]
    if kind == "txt":
        for i, text in enumerate(texts):
            write(tmp_path / f"{i}.txt", text.encode(encoding))
    elif kind == "csv":
        write(tmp_path / "a.csv", csv_bytes(texts, encoding=encoding))
    else:
        content = json.dumps(records, ensure_ascii=False, indent=1)
        if kind == "jsonl":
            content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        write(tmp_path / f"a.{kind}", content.encode(encoding))
    assert read(tmp_path, encodings=(encoding,)) == texts


def test_several_encodings_are_tried_document_by_document(tmp_path: Path) -> None:
    for kind in ("a.jsonl", "b.json", "c.csv"):
        text = {
            "a.jsonl": '{"text": "Grüße"}\n',
            "b.json": '{\n"text": "Grüße"}\n',
            "c.csv": 'text\n"Grüße"\n',
        }[kind]
        again = text if kind != "c.csv" else '"Grüße"\n'
        write(tmp_path / kind, text.encode() + again.encode("latin-1"))
        assert read(tmp_path / kind, encodings=("utf-8", "cp1252")) == ["Grüße", "Grüße"]
        tally = Tally()
        assert read(tmp_path / kind, tally=tally) == ["Grüße"]
        assert tally.invalid_utf8 == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'[{"text": "x"},\n {"text": tru}]', r"a\.json: line 2 is not JSON"),
        ("a.json", b'[\n 5,\n {"text": 5}]', r"a\.json: line 2 is not a JSON object"),
        ("a.json", b'{"text": "x",\n "n": ', r"a\.json: line \d is not JSON"),
        ("a.json", b"plain text", r"a\.json: line 1 is not JSON"),
        ("a.csv", b"id,text\n1,a,b\n", r"a\.csv: line 2 has 3 fields, and the header 2"),
        ("a.csv", b'id,text\n1,"a\n', r"a\.csv: line 2 is not CSV"),
        ("a.csv", b"text,text\na,b\n", r"two columns have the same name"),
        ("a.jsonl", b'{"text": ["a", "b"]}', r"field 'text' is list, not text"),
        ("a.arrow", b"\xff\xff\xff\xff\x10\x00\x00\x00", r"a\.arrow is not readable Arrow"),
    ],
)
def test_malformed_records_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    write(tmp_path / name, content)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


BROKEN = [b'{"text": "cut short', b'{"text": 5}', b'{"id": 1}', b"[1]", b'{"text": nul}']


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json"])
@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("first", [False, True])
def test_malformed_records_among_sound_ones_are_left_out_and_named(
    tmp_path: Path, kind: str, broken: bytes, first: bool
) -> None:
    sound = lines(TEXTS)
    content = broken + b"\n" + sound if first else sound + broken + b"\n" + sound
    path = write(tmp_path / f"a.{kind}", gzip.compress(content) if kind.endswith("gz") else content)
    tally = Tally()
    if first and broken == b'{"id": 1}':
        with pytest.raises(InputError, match="line 1: no field 'text'"):
            read(path)
        return
    assert read(path, tally=tally) == (TEXTS if first else TEXTS * 2)
    (words,) = words_left_out(tally)
    assert words.startswith(f"1 malformed records ({path}: line {1 if first else 6}")


def test_a_broken_first_line_does_not_make_other_json_out_of_json_lines(tmp_path: Path) -> None:
    indented = b'{"text":\n"x", "n": [\n{"a": 1},\n{"b": 2}]}\n{"text": "y"} {"text": "z"}\n{"text": "u"}'
    assert read(write(tmp_path / "a.jsonl", indented)) == ["x", "y", "z", "u"]
    assert read(write(tmp_path / "a.jsonl", indented.split(b"\n", 4)[4])) == ["y", "z", "u"]
