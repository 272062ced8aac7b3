"""Template, documentation and JSON Schema say what the models of the study file say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from flows.study.keys import Key, keys_of
from flows.study.loading import load_study
from flows.study.models import Study
from flows.study.template import commented_yaml, write_study
from tests.scenarios.tiny_study import ROOT, STUDY
from tests.study_files import EXAMPLE, PAGE, SCHEMA, study_files

EXAMPLES = sorted((ROOT / "examples").glob("*/study.yaml"))


def every_key(model: type[BaseModel] = Study) -> Iterator[Key]:
    for key in keys_of(model):
        yield key
        if key.below is not None:
            yield from every_key(key.below)


def validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def new_study(tmp_path: Path) -> Path:
    for name in ("wiki", "german"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("x" * 90_000)
    write_study(tmp_path, tmp_path / "study.yaml")
    return tmp_path / "study.yaml"


@pytest.mark.parametrize("path", [PAGE, SCHEMA, EXAMPLE], ids=lambda path: path.name)
def test_files_are_those_of_the_models(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == study_files()[path], "write them again: make study-docs"


def test_every_key_has_a_description_of_sentences() -> None:
    for key in every_key():
        assert key.description.endswith("."), key
        assert key.summary, key
        assert f"{key.name}`" in PAGE.read_text() or key.below, key


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_fit_the_schema_and_load(path: Path) -> None:
    assert not list(validator().iter_errors(yaml.safe_load(path.read_text(encoding="utf-8"))))
    load_study(path)


def test_new_study_fits_the_schema_and_has_each_comment_once(tmp_path: Path) -> None:
    text = new_study(tmp_path).read_text(encoding="utf-8")
    assert not list(validator().iter_errors(yaml.safe_load(text)))
    comments = {key.name: key.summary for key in every_key() if f"{key.name}:" in text}
    assert text.count(f"# {comments['max_epochs']}\n") == 1
    assert text.count(f"# {comments['tolerance']}\n") == 1
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize(
    "runner", ["dask", "ray", {"kind": "dask", "address": "tcp://scheduler:8786"}, {"kind": "local"}]
)
def test_short_forms_fit_the_schema(runner: Any) -> None:
    assert not list(validator().iter_errors({**yaml.safe_load(STUDY), "runner": runner}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sead", 1),
        ("proxies", {"tokens": "much", "target_shares": [0.5]}),
        ("decision", {}),
        ("domains", {"docs": {"role": "old", "paths": "docs"}}),
        ("runner", "slurm"),
    ],
)
def test_schema_refuses_what_the_loader_refuses(key: str, value: Any) -> None:
    assert list(validator().iter_errors({**yaml.safe_load(STUDY), key: value}))


def test_comments_change_nothing() -> None:
    document = yaml.safe_load(STUDY)
    assert yaml.safe_load(commented_yaml(document)) == document
