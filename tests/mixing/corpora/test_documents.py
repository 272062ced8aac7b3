"""Reading corpora, and the split."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mixing.corpora.documents import (
    Document,
    Source,
    check_split,
    documents,
    is_heldout,
    survey_source,
)
from mixing.corpora.left_out import Tally
from mixing.errors import InputError

TEXTS = ["Einhörner schlafen.", "two\nlines", "x = 1\n", "日本語のテキスト", "emoji 🦄 done"]


def json_lines(texts: list[str], field: str = "text") -> bytes:
    return "".join(json.dumps({"id": i, field: text}) + "\n" for i, text in enumerate(texts)).encode()


def read(*paths: Path, field: str = "text", tally: Tally | None = None) -> list[str]:
    return [document.text for document in documents(Source("d", "general", paths, field), tally)]


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.ndjson", "a.jsonl.gz", "a.jsonl.zst", "a.json", "a.json.gz", "A.JSONL"]
)
def test_json_lines_plain_and_compressed(tmp_path: Path, name: str) -> None:
    content = json_lines(TEXTS)
    packed = {"gz": gzip.compress, "st": zstandard.compress}.get(name[-2:], bytes)(content)
    write(tmp_path / name, packed)
    assert read(tmp_path / name) == TEXTS
    assert read(tmp_path) == TEXTS


def test_compressed_in_several_frames_and_larger_than_a_buffer(tmp_path: Path) -> None:
    texts = [random.Random(i).randbytes(3000).hex() for i in range(300)]
    halves = json_lines(texts[:150]), json_lines(texts[150:])
    for name, compress in (("a.jsonl.zst", zstandard.compress), ("a.jsonl.gz", gzip.compress)):
        assert read(write(tmp_path / name, b"".join(compress(half) for half in halves))) == texts


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())],
)
def test_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    raw = [text.encode() for text in TEXTS] if kind == pa.binary() else TEXTS
    texts = pa.array([*raw, None]).cast(kind) if kind != pa.binary() else pa.array([*raw, None], kind)
    pq.write_table(pa.table({"n": range(6), "body": texts}), tmp_path / "a.parquet", row_group_size=2)
    tally = Tally()
    assert read(tmp_path, field="body", tally=tally) == TEXTS
    assert tally.empty == 1


def test_polars_parquet(tmp_path: Path) -> None:
    texts = [f"row {i} {'x' * (i % 50)}" for i in range(2000)]
    pl.DataFrame({"text": texts}).write_parquet(tmp_path / "a.parquet")
    assert read(tmp_path) == texts


def test_parquet_that_is_not_utf8(tmp_path: Path) -> None:
    buffers = pa.array([b"good", b"\xff\xfe"], pa.binary()).buffers()
    texts = pa.Array.from_buffers(pa.string(), 2, buffers)
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    tally = Tally()
    assert read(tmp_path, tally=tally) == ["good"]
    assert tally.invalid_utf8 == 1


def test_a_folder_may_hold_text_of_any_kind(tmp_path: Path) -> None:
    write(tmp_path / "b" / "ß.md", b"# Gr\xc3\xbc\xc3\x9fe")
    write(tmp_path / "a.txt", b"\xef\xbb\xbfwith a byte order mark\r\n")
    write(tmp_path / "b" / "c" / "d.py", b"pass\n")
    write(tmp_path / "g.rst.gz", gzip.compress(b"packed text"))
    write(tmp_path / ".git" / "config", b"hidden")
    write(tmp_path / "b" / ".hidden.txt", b"hidden")
    assert read(tmp_path) == ["with a byte order mark\r\n", "pass\n", "# Grüße", "packed text"]


def test_a_folder_may_hold_records_of_any_kind(tmp_path: Path) -> None:
    write(tmp_path / "e.jsonl", json_lines(["line"]))
    write(tmp_path / "f.json", b'{\n  "text": "pretty"\n}')
    pq.write_table(pa.table({"text": ["row"]}), tmp_path / "h.parquet")
    assert read(tmp_path) == ["line", "pretty", "row"]


def test_order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    names = [f"{random.Random(i).randrange(10**6):06d}.txt" for i in range(40)]
    for name in names:
        write(tmp_path / "one" / name, name.encode())
    for name in reversed(names):
        write(tmp_path / "two" / name, name.encode())
    assert read(tmp_path / "one") == read(tmp_path / "two") == sorted(names)


def test_globs_single_files_and_paths_inside_each_other(tmp_path: Path) -> None:
    for name in ("x/1.md", "x/2.txt", "y/3.md"):
        write(tmp_path / name, name.encode())
    assert read(tmp_path / "**" / "*.md") == ["x/1.md", "y/3.md"]
    assert read(tmp_path / "y" / "3.md", tmp_path / "x") == ["y/3.md", "x/1.md", "x/2.txt"]
    assert read(tmp_path / "x", tmp_path / "x" / "1.md", tmp_path / "x") == ["x/1.md", "x/2.txt"]
    literal = write(tmp_path / "odd [1]" / "4.md", b"brackets")
    assert read(literal) == ["brackets"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    write(tmp_path / "real" / "a.txt", b"linked")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "corpus" / "self").symlink_to(tmp_path / "corpus")
    os.mkfifo(tmp_path / "corpus" / "pipe")
    assert read(tmp_path / "corpus") == ["linked"]
    (tmp_path / "corpus" / "broken.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"broken\.txt"):
        read(tmp_path / "corpus")


def test_blank_and_invalid_documents_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", b"")
    write(tmp_path / "b.txt", b" \n\t\n")
    write(tmp_path / "c.txt", b"caf\xe9 in latin-1")
    write(tmp_path / "d.bin", b"text\0" * 10000)
    write(tmp_path / "e.txt", b"x" * 9000 + b"\xff")
    write(tmp_path / "f.txt", "ä".encode() * 8191 + b"x")  # a character lies across the sniffed beginning
    write(tmp_path / "f2.txt", b"x" + "ä".encode() * 8191)
    lone_surrogate = rb'{"text": "\ud800"}'
    lines = [b'{"text": null}', b'{"text": ""}', b'{"text": "\xff"}', lone_surrogate, b"", b'{"text": "ok"}']
    named = write(tmp_path / "g.jsonl", b"\n".join(lines))
    tally = Tally()
    texts = read(*(path for path in sorted(tmp_path.iterdir()) if path != named), named, tally=tally)
    assert [len(text) for text in texts] == [8192, 8192, 2]
    assert (tally.empty, tally.invalid_utf8) == (4, 5)
    assert tally.bytes_read == survey_source(Source("d", "general", (tmp_path,))).bytes


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x\n{"text": 1}\n', r"a\.jsonl: line 1 is not JSON"),
        (
            "a.jsonl",
            b'{"text": "x\n{"id": 1, "body": "x"}\n{"text": "x"}',
            r"line 2: no field 'text'.*here: body",
        ),
        ("a.jsonl", b'{"text": 5, "n": 1}\n', r"No field here holds text: write it as a string into 'text'"),
        ("a.jsonl", b'{"text": 5, "body": "x", "n": 1}\n', r"field that holds.*\(here: body\)"),
        ("a.jsonl", b"{}\n", r"no field 'text'. No field here holds text: write it as a string into"),
        ("a.jsonl", b"[1, 2]\n", r"a\.jsonl: line 1 is not a JSON object"),
        ("a.jsonl", b'{"body": "x", "id": 1}\n', r"line 1: no field 'text'.*text_field \(here: body, id\)"),
        ("a.jsonl", b'{"text": 5}\n', r"line 1: field 'text' is int, not text"),
        ("a.jsonl", b"[" * 100_000, r"a\.jsonl: line 1 is not JSON"),
        ("a.jsonl.gz", gzip.compress(json_lines(TEXTS))[:-12], r"a\.jsonl\.gz is damaged or cut short"),
        ("a.jsonl.gz", b"not gzip", r"a\.jsonl\.gz is damaged or cut short"),
        (
            "a.jsonl.zst",
            zstandard.compress(json_lines(TEXTS * 50))[:-9],
            r"a\.jsonl\.zst is damaged or cut short",
        ),
        ("a.jsonl.zst", b"not zstandard", r"a\.jsonl\.zst is damaged or cut short"),
        ("a.parquet", b"PAR1 not really", r"a\.parquet is not readable Parquet"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    write(tmp_path / name, content)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path)
    assert caught.value.exit_status == 2
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_parquet_without_the_column_or_with_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: no column 'text'.*here: body, n"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"column 'n' is int64, not text"):
        read(tmp_path, field="n")


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", "nowhere does not exist"), ("*.md", "no file matches"), ("empty", "empty holds no files")],
)
def test_paths_without_text_are_named(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=f"domain 'd'.*{message}") as caught:
        read(tmp_path / path)
    assert caught.value.hint


def test_no_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no paths"):
        read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", b"secret").chmod(0)
    with pytest.raises(InputError, match=r"cannot read .*a\.txt"):
        read(tmp_path)


def test_a_file_that_fails_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.txt", b"text")

    def fail(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(InputError, match=r"cannot read .*a\.txt \(Permission denied\)"):
        read(tmp_path)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jsonl"
    Path(os.fsdecode(path)).write_bytes(b"broken")
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    str(caught.value).encode()
    survey_source(Source("d", "general", (tmp_path,)))


def test_a_survey_sees_every_change_and_only_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", json_lines(["one"]))
    source = Source("d", "general", (tmp_path,))
    first = survey_source(source)
    assert (first.files, first.bytes) == (1, path.stat().st_size)
    assert survey_source(source) == first
    assert survey_source(Source("d", "general", (tmp_path,), "body")) != first
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    touched = survey_source(source)
    path.rename(tmp_path / "b.jsonl")
    assert len({first, touched, survey_source(source)}) == 3


@given(st.text(), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_the_split_is_a_function_of_the_text(text: str, one: float, other: float) -> None:
    try:
        document = Document.of(text)
    except UnicodeEncodeError:
        return
    assert is_heldout(document.digest, one) == is_heldout(Document.of(text).digest, one)
    # A smaller fraction holds out a part of what a larger one does.
    if one <= other and is_heldout(document.digest, one):
        assert is_heldout(document.digest, other)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True, max_size=30),
    st.data(),
)
def test_added_documents_move_no_other(texts: list[str], data: st.DataObject) -> None:
    def split(some: list[str]) -> dict[str, bool]:
        return {text: is_heldout(Document.of(text).digest, 0.3) for text in some}

    part = data.draw(st.lists(st.sampled_from(texts), unique=True)) if texts else []
    whole = split(texts)
    assert split(part) == {text: whole[text] for text in part}


def test_the_split_takes_its_fraction() -> None:
    held = sum(is_heldout(Document.of(f"document {i}").digest, 0.1) for i in range(20_000))
    assert abs(held - 2000) < 4 * (20_000 * 0.1 * 0.9) ** 0.5
    assert not is_heldout(b"\0" * 16, 0.0)
    assert is_heldout(b"\xff" * 16, 1.0)


@pytest.mark.parametrize(("heldout", "missing"), [(0, "held out"), (7, "left to train on")])
def test_a_split_with_nothing_on_one_side(heldout: int, missing: str) -> None:
    check_split("d", 7, 3, 0.05)
    with pytest.raises(InputError, match=f"domain 'd': none of its 7 documents is {missing}"):
        check_split("d", 7, heldout, 0.05)


MEASURE = r"""
import re, sys
from pathlib import Path
from mixing.corpora.documents import Source, documents
count = sum(1 for _ in documents(Source("d", "general", (Path(sys.argv[1]),))))
print(count, re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("kind", ["jsonl.zst", "parquet"])
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, kind: str) -> None:
    peaks = []
    for size in (5_000, 40_000):
        texts = [f"{i} " + "word " * 400 for i in range(size)]  # 10 and 80 MB
        path = tmp_path / f"{size}.{kind}"
        if kind == "parquet":
            pq.write_table(pa.table({"text": texts}), path, compression="none", use_dictionary=False)
        else:
            path.write_bytes(zstandard.compress(json_lines(texts)))
        shown = subprocess.run(
            [sys.executable, "-c", MEASURE, path], capture_output=True, check=True, text=True
        )
        count, peak = map(int, shown.stdout.split())
        assert count == size
        peaks.append(peak / 1024)
    assert peaks[1] < peaks[0] + 20, f"MB: {peaks}"
