"""A source that is cut into domains by a field of its records."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.study.corpora import study_corpora
from mixing.corpora.catalog import scan
from mixing.corpora.documents import documents
from mixing.errors import InputError
from tests.flows.study.short_study import GOOD, load

RECORDS = [
    {"text": f"text {i}", "meta": {"language": ["en", "de", "zh"][i % 3], "quality": i / 90}}
    for i in range(90)
]


def corpora(folder: Path, kind: str = "jsonl") -> None:
    for name in ("docs", "python"):
        (folder / "corpora" / name).mkdir(parents=True)
    path = folder / "corpora" / "docs" / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(RECORDS), path)
    elif kind == "arrow":
        with (
            pa.OSFile(str(path), "wb") as file,
            pa.ipc.new_stream(file, pa.Table.from_pylist(RECORDS).schema) as out,
        ):
            out.write_table(pa.Table.from_pylist(RECORDS))
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))


def split(how: str, more: str = "") -> str:
    return GOOD.replace("paths: corpora/docs", f"paths: corpora/docs, split_by: {{{how}}}{more}")


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow"])
def test_values_are_domains_of_their_own(tmp_path: Path, kind: str) -> None:
    corpora(tmp_path, kind)
    study = load(tmp_path, split("field: meta.language, values: [en, de, zh]"))
    assert study.names("general") == ("docs-en", "docs-de", "docs-zh")
    found = {source.name: [d.text for d in documents(source)] for source in study_corpora(study)[:3]}
    assert found["docs-de"] == [f"text {i}" for i in range(1, 90, 3)]
    assert sum(map(len, found.values())) == 90
    one = load(tmp_path, split("field: meta.language, values: [en, de, zh], bucket: 2"))
    assert [d.text for d in documents(study_corpora(one)[0])] == found["docs-de"]


def test_edges_cut_numbers(tmp_path: Path) -> None:
    corpora(tmp_path)
    study = load(tmp_path, split("field: meta.quality, edges: [0.3, 0.5]"))
    counts = {source.name: len(list(documents(source))) for source in study_corpora(study)[:3]}
    assert counts == {"docs-1": 27, "docs-2": 18, "docs-3": 45}


def test_records_of_no_bucket_are_left_out_by_count(tmp_path: Path) -> None:
    corpora(tmp_path)
    docs = study_corpora(load(tmp_path, split("field: meta.language, values: [en, de]")))[:2]
    with pytest.raises(
        InputError, match=r"domain 'docs-en': 33\.3% of it would be left out: 30 records of no"
    ):
        scan(docs, 0.3)
    allowed = study_corpora(
        load(tmp_path, split("field: meta.language, values: [en, de]", ", max_left_out: 0.6"))
    )[:2]
    assert [entry.documents for entry in scan(allowed, 0.3).domains] == [30, 30]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (split("field: x"), "give either values"),
        (split("field: x, values: [a], edges: [1]"), "give either values"),
        (split("field: x, edges: [2, 1]"), "edges ascend"),
        (split("field: x, values: [no, 1]"), "Put them in quotes"),
        (split("field: x, values: [a, b], bucket: 3"), "there is no bucket 3"),
        (split("field: x, values: [a b, a-b]"), "two domains would be called 'docs-a-b'"),
        (split("field: x, values: [a]", ", supply: 3B"), r"domains\.docs\.supply would be that of each"),
        (split("field: x, values: [a]", ", format: text"), "only records have fields"),
    ],
)
def test_what_cannot_be_split_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, text)


def test_text_files_have_no_fields(tmp_path: Path) -> None:
    corpora(tmp_path)
    (tmp_path / "corpora" / "docs" / "a.jsonl").write_text("plain text")
    (tmp_path / "corpora" / "docs" / "a.jsonl").rename(tmp_path / "corpora" / "docs" / "a.txt")
    with pytest.raises(InputError, match="is text, which has no field 'x' to split by"):
        list(documents(study_corpora(load(tmp_path, split("field: x, values: [a]")))[0]))
