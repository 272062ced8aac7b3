"""What the catalogue counts."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mixing.corpora.catalog
from mixing.corpora.catalog import Catalog, Overlap, scan, with_tokens
from mixing.corpora.documents import Document, Role, Source, is_heldout
from mixing.errors import InputError, MixlawError

FRACTION = 0.3


def corpus(folder: Path, texts: list[str], name: str = "a.jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder


def source(folder: Path, name: str = "docs", role: Role = "general") -> Source:
    return Source(name, role, (folder,))


def numbered(count: int, what: str = "document") -> list[str]:
    return [f"{what} {i}" for i in range(count)]


def test_counts(tmp_path: Path) -> None:
    texts = [*numbered(20), *numbered(5), "", "  ", "Grüße"]
    folder = corpus(tmp_path / "docs", texts)
    (folder / "b.jsonl").write_bytes(b'{"text": "\xff"}\n')
    domain = scan([source(folder)], FRACTION, scratch=tmp_path)["docs"]
    kept = [text for text in texts if text.strip()]
    assert (domain.role, domain.files, domain.documents) == ("general", 2, 26)
    assert domain.file_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert domain.bytes == sum(len(text.encode()) for text in kept)
    assert (domain.duplicates, domain.empty, domain.invalid_utf8) == (5, 2, 1)
    assert domain.heldout_documents == sum(is_heldout(Document.of(text).digest, FRACTION) for text in kept)
    assert domain.tokens is domain.mean_tokens_per_document is None
    assert list(tmp_path.iterdir()) == [folder], "the temporary table is gone"


def test_duplicates_across_domains(tmp_path: Path) -> None:
    sources = [
        source(corpus(tmp_path / "a", [*numbered(10), *numbered(10)]), "a"),
        source(corpus(tmp_path / "b", numbered(14)[6:]), "b", "target"),
        source(corpus(tmp_path / "c", numbered(20, "other")), "c", "target"),
    ]
    catalog = scan(sources, FRACTION)
    assert catalog.shared == (Overlap(("a", "b"), 4),)
    assert [domain.duplicates for domain in catalog.domains] == [10, 0, 0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(order=st.permutations(range(20)), cut=st.integers(0, 20))
def test_fingerprint_does_not_depend_on_order_or_files(tmp_path: Path, order: list[int], cut: int) -> None:
    texts = numbered(20)
    shuffled = [texts[i] for i in order]
    folder = tmp_path / "docs"
    (folder / "b.jsonl").unlink(missing_ok=True)
    first = scan([source(corpus(tmp_path / "plain", texts))], FRACTION)["docs"]
    corpus(folder, shuffled[:cut])
    corpus(folder, shuffled[cut:], "b.jsonl")
    second = scan([source(folder)], FRACTION)["docs"]
    assert first.fingerprint == second.fingerprint
    corpus(folder, [*shuffled[cut:], shuffled[0]], "b.jsonl")
    assert scan([source(folder)], FRACTION)["docs"].fingerprint != first.fingerprint, "one text twice"


def test_json_round_trip_and_tokens(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "日本語", numbered(20, "文書"))
    catalog = scan([source(folder, "日本語")], FRACTION)
    assert Catalog.from_json(catalog.to_json()) == catalog
    counted = with_tokens(catalog, {"日本語": 130})
    assert (counted["日本語"].tokens, counted["日本語"].mean_tokens_per_document) == (130, 6.5)
    assert Catalog.from_json(counted.to_json()) == counted
    table = counted.table()
    assert table["name"].to_list() == ["日本語"]
    assert table["tokens"].to_list() == [130]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"heldout_fraction": 0.1, "domains": [{"name": "x"}]}'])
def test_a_file_that_is_not_a_catalogue(text: str) -> None:
    with pytest.raises(InputError, match=r"catalog\.json is not a catalogue.*Delete it") as caught:
        Catalog.from_json(text, "catalog.json")
    assert "\n" not in str(caught.value)


def test_nothing_is_read_again_when_no_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = corpus(tmp_path / "docs", numbered(20))
    catalog = with_tokens(scan([source(folder)], FRACTION), {"docs": 100})

    def unexpected(*arguments: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr(mixing.corpora.catalog, "contents", unexpected)
        assert scan([source(folder)], FRACTION, previous=Catalog.from_json(catalog.to_json())) is not catalog
        assert scan([source(folder)], FRACTION, previous=catalog) is catalog
    assert scan([source(folder)], 0.4, previous=catalog) != catalog
    assert scan([source(folder, role="target")], FRACTION, previous=catalog)["docs"].role == "target"
    assert scan([source(folder, "other")], FRACTION, previous=catalog).domains[0].name == "other"
    corpus(folder, numbered(21))
    assert scan([source(folder)], FRACTION, previous=catalog)["docs"].documents == 21


def test_progress_ends_at_the_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixing.corpora.progress.SECONDS_BETWEEN_REPORTS", 0)
    sources = [source(corpus(tmp_path / name, numbered(600, name)), name) for name in ("a", "b")]
    reports: list[tuple[int, int]] = []
    catalog = scan(sources, FRACTION, on_progress=lambda done, total: reports.append((done, total)))
    total = sum(domain.file_bytes for domain in catalog.domains)
    assert reports == sorted(reports)
    assert len({done for done, _ in reports}) > 3
    assert reports[-1] == (total, total)


def test_a_domain_without_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    (tmp_path / "void" / "a.txt").write_text(" \n")
    (tmp_path / "void" / "b.txt").write_bytes(b"\xff")
    with pytest.raises(
        InputError, match=r"'docs' has no document with text in .*void \(2 files, 1 blank"
    ) as caught:
        scan([source(tmp_path / "void")], FRACTION, scratch=tmp_path / "scratch")
    assert caught.value.exit_status == 2
    assert caught.value.hint
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_missing_folder_is_found_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixing.corpora.catalog, "contents", None)
    good = source(corpus(tmp_path / "docs", numbered(20)))
    with pytest.raises(InputError, match=r"domain 'gone': .*nowhere does not exist"):
        scan([good, source(tmp_path / "nowhere", "gone")], FRACTION)


def test_one_large_document_cannot_be_split(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("all in one")
    with pytest.raises(InputError, match=r"none of its 1 documents is .*more documents"):
        scan([source(tmp_path)], FRACTION, scratch=tmp_path / "scratch")


def test_two_domains_of_one_name(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "docs", numbered(20))
    with pytest.raises(InputError, match="two domains are called 'docs'"):
        scan([source(folder), source(folder)], FRACTION)


def test_a_scratch_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = corpus(tmp_path / "docs", numbered(20))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MixlawError, match=r"file.*cannot be written") as caught:
        scan([source(folder)], FRACTION, scratch=tmp_path / "file")
    assert caught.value.exit_status == 1

    def full(*arguments: object) -> None:
        raise duckdb.IOException("Could not write file: No space left on device\nmore")

    monkeypatch.setattr(mixing.corpora.catalog, "_insert", full)
    with pytest.raises(MixlawError, match=r"temporary table failed .*No space left") as caught:
        scan([source(folder)], FRACTION, scratch=tmp_path / "scratch")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_killed_scan_left_is_removed_and_a_living_one_is_not(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "docs", numbered(20))
    scratch = tmp_path / "scratch"
    with mixing.corpora.catalog._scratch_folder(scratch) as living:
        (scratch / ".catalog-dead").mkdir()
        (scratch / ".catalog-dead" / "lock").touch()
        (scratch / ".catalog-dead" / "digests.duckdb").write_bytes(b"left")
        scan([source(folder)], FRACTION, scratch=scratch)
        assert list(scratch.iterdir()) == [living]
    assert list(scratch.iterdir()) == []


def test_domains_keep_their_order(tmp_path: Path) -> None:
    names = ["z", "a", "m"]
    sources = [source(corpus(tmp_path / name, numbered(20, name)), name) for name in names]
    catalog = scan(sources, FRACTION)
    assert [domain.name for domain in catalog.domains] == names
    assert dataclasses.replace(catalog, domains=catalog.domains[::-1]) != catalog


MEASURE = r"""
import re, sys
from pathlib import Path
import mixing.corpora.catalog
from mixing.corpora.documents import Source
mixing.corpora.catalog.BATCH = 4096
source = Source("d", "general", (Path(sys.argv[1]),))
domain = mixing.corpora.catalog.scan([source], 0.1, scratch=Path(sys.argv[2]))["d"]
print(domain.documents, re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    rng = random.Random(0)
    peaks = []
    for size in (10_000, 80_000):
        texts = [f"{i} {rng.random()} " + "word " * 100 for i in range(size)]
        folder = corpus(tmp_path / str(size), texts)  # 5 and 43 MB
        command = [sys.executable, "-c", MEASURE, str(folder), str(tmp_path)]
        shown = subprocess.run(command, capture_output=True, check=True, text=True)
        documents, peak = re.findall(r"\d+", shown.stdout)
        assert int(documents) == size
        peaks.append(int(peak) / 1024)
    assert peaks[1] < peaks[0] + 30, f"MB: {peaks}"


def test_what_is_left_out_is_a_warning_and_much_of_it_an_error(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "docs", numbered(400))
    entry = scan([source(folder)], FRACTION)["docs"]
    assert (entry.left_out, entry.left_out_share, list(entry.warnings())) == ((), 0.0, [])
    with open(folder / "a.jsonl", "ab") as file:
        file.write(b'{"text": "\xff"}\n' * 3)
    (folder / "LICENSE").write_bytes(b"a licence " * 500)
    (folder / "c.jsonl.lz4").write_bytes(b"\x04\x22\x4d\x18" * 20)
    catalog = scan([source(folder)], FRACTION)
    (warning,) = catalog.warnings()
    assert "domain 'docs': 0.8% of it is left out" in warning
    assert "3 documents that are not text in its encoding" in warning
    assert "c.jsonl.lz4 (compression .lz4 is not read" in warning
    assert "LICENSE" in catalog["docs"].no_data[0]
    assert Catalog.from_json(catalog.to_json()) == catalog
    (folder / "c.jsonl.lz4").write_bytes(b"\x04\x22\x4d\x18" * 2000)
    with pytest.raises(
        InputError, match=r"domain 'docs': \d+\.\d% of it would be left out.*max_left_out: 0\.\d"
    ):
        scan([source(folder)], FRACTION)
    assert scan([dataclasses.replace(source(folder), max_left_out=0.6)], FRACTION).warnings()


def test_a_third_in_another_encoding_is_an_error_that_says_what_to_write(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i}.txt").write_bytes(f"café {i}".encode("cp1252" if i % 3 else "utf-8"))
    with pytest.raises(InputError, match=r"20 documents that are not text.*encoding: \[utf-8, cp1252\]"):
        scan([source(tmp_path)], FRACTION)
    both = dataclasses.replace(source(tmp_path), encodings=("utf-8", "cp1252"))
    assert scan([both], FRACTION)["docs"].documents == 30


def test_many_blank_documents_are_a_warning(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "docs", [*numbered(20), ""])
    assert list(scan([source(folder)], FRACTION).warnings()) == ["domain 'docs': 1 of 21 documents are blank"]


def test_a_catalogue_that_did_not_count_what_is_left_out_is_counted_afresh(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "docs", numbered(20))
    now = scan([source(folder)], FRACTION)
    entry = dataclasses.replace(now["docs"], left_out_share=None)
    before = dataclasses.replace(now, domains=(entry,))
    assert scan([source(folder)], FRACTION, previous=before)["docs"].left_out_share == 0.0


def test_malformed_lines_count_as_left_out(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "docs", numbered(100))
    with open(folder / "a.jsonl", "ab") as file:
        file.write(b'{"text": "cut\n{"text": 5}\n{"body": "x"}\n[]\n')
    (warning,) = scan([source(folder)], FRACTION).warnings()
    assert "3.8% of it is left out: 4 malformed records" in warning
    assert "a.jsonl: line 101 is not JSON" in warning
    assert "a.jsonl: line 102: field 'text' is int, not text; " in warning
    with open(folder / "a.jsonl", "ab") as file:
        file.write(b"{\n" * 8)
    with pytest.raises(
        InputError, match=r"10\.7% of it would be left out: 12 malformed.*max_left_out: 0\.11"
    ):
        scan([source(folder)], FRACTION)
    allowed = dataclasses.replace(source(folder), max_left_out=0.11)
    assert scan([allowed], FRACTION)["docs"].documents == 100


PAGES = [
    "<!DOCTYPE html>\n<p>x",
    "\n \ufeff<HTML lang=en>",
    '<?xml version="1.0"?>\n<!doctype HTML PUBLIC "x">',
    "<!-- a page --><html>",
]


@pytest.mark.parametrize("kind", ["records", "files"])
def test_html_pages_are_a_warning(tmp_path: Path, kind: str) -> None:
    others = [*numbered(16), "<p>a fragment", "about <html>", "<htmlx>", "<!-- <html> -->"]
    if kind == "records":
        first = corpus(tmp_path / "docs", [*others, *PAGES]) / "a.jsonl"
    else:
        for i, text in enumerate([*others, *PAGES]):
            (tmp_path / f"{i:02}.txt").write_text(text, encoding="utf-8")
        first = tmp_path / "20.txt"
    (warning,) = scan([source(first.parent)], FRACTION).warnings()
    assert f"domain 'docs': 4 of 24 documents are HTML pages (first: {first})" in warning


def test_a_catalogue_that_did_not_count_pages_is_counted_afresh(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "docs", [*numbered(20), PAGES[0]])
    now = scan([source(folder)], FRACTION)
    before = dataclasses.replace(now, domains=(dataclasses.replace(now["docs"], html=None),))
    assert scan([source(folder)], FRACTION, previous=before) == now
