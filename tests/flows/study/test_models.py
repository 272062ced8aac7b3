"""What a study file says: defaults, identity, composition, runner and budgets."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from flows.pipeline.question import StudyQuestion
from flows.study.corpora import study_corpora
from flows.study.names import is_name
from mixing.errors import InputError
from mixing.test_problems import LANDSCAPES
from tests.flows.study.short_study import GOOD, load
from tests.scenarios.tiny_study import ROOT
from tests.scenarios.tiny_study import STUDY as TINY


def test_defaults_and_token_counts(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD)
    assert (study.base.tokens, study.proxies.tokens) == (2_000_000, 500_000)
    assert study.proxies.target_shares == (0.25, 0.5)
    assert study.path("corpora/docs") == tmp_path / "corpora" / "docs"
    assert study.names("general") == ("docs",)


def test_identity_is_of_the_question_not_of_the_layout(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD)
    same = load(tmp_path, "# a comment\nseed: 0\n" + GOOD.replace("2e6", "2_000_000"))
    assert same.identity == study.identity
    assert load(tmp_path, GOOD.replace("tolerance: 0.0", "tolerance: 0.1")).identity != study.identity


def test_composition_is_fixed_within_a_role(tmp_path: Path) -> None:
    two = GOOD.replace("  python:", "  wiki: {role: general, paths: w}\n  python:")
    supply = {"docs": 300, "wiki": 100, "python": 7}
    study = load(tmp_path, two)
    assert study.composition("general", supply) == {"docs": 0.75, "wiki": 0.25}
    assert study.composition("target", supply) == {"python": 1.0}
    with pytest.raises(InputError, match="give every general domain a weight, or none"):
        load(tmp_path, two.replace("paths: w", "paths: w, weight: 2"))


@pytest.mark.parametrize(
    ("key", "kind", "address"),
    [
        ("", "local", None),
        ("runner: local", "local", None),
        ("runner: prefect", "prefect", None),
        ("runner: ray", "ray", "auto"),
        ("runner: {kind: ray, address: 'ray://head:10001'}", "ray", "ray://head:10001"),
        ("runner: {kind: dask, address: 'tcp://scheduler:8786'}", "dask", "tcp://scheduler:8786"),
    ],
)
def test_runner_is_a_word_or_a_mapping(tmp_path: Path, key: str, kind: str, address: str | None) -> None:
    study = load(tmp_path, GOOD + key)
    assert (study.runner.kind, study.runner.address) == (kind, address)
    assert study.identity == load(tmp_path, GOOD).identity, "where runs train does not change what they are"


def test_identity_of_earlier_study_files_stays(tmp_path: Path) -> None:
    """A new hash would count finished studies as unfinished: a new key at its default must not enter it."""
    example = (ROOT / "examples" / "code" / "study.yaml").read_text()
    assert load(tmp_path, example.replace("windows: auto", "windows: 64")).identity == "059db7aa174e9df8"
    assert load(tmp_path, TINY).identity == "308e1d2bc41db590"


def test_budget_asked_about_and_of_the_target_run(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD)
    assert (study.asked_tokens, study.target_run_tokens) == (499_712, 499_712)
    study = load(tmp_path, GOOD.replace("tolerance: 0.0", "tolerance: 0, tokens: 1M"))
    assert (study.asked_tokens, study.target_run_tokens) == (1_000_000, 1_000_000)
    study = load(tmp_path, GOOD + "spec: {total_tokens: 20B}")
    assert (study.asked_tokens, study.target_run_tokens) == (499_712, 20 * 10**9)


def test_one_seed_of_the_proxies_stream(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD.replace("0.25]", "0.25], seeds: [0]")).proxies.seeds == (0,)
    with pytest.raises(InputError, match="one seed only: all proxies of a study read the same stream"):
        load(tmp_path, GOOD.replace("0.25]", "0.25], seeds: [0, 1]"))


def test_the_question_of_a_study_is_asked_of_its_runs(tmp_path: Path) -> None:
    table = LANDSCAPES[0].study([0.2, 0.4, 0.6, 0.8], [250_000, 500_000])
    rows = table.rows.rename({"share.general": "share.docs", "share.target": "share.python"})
    named = {"general": "docs", "target": "python"}
    table = replace(table, rows=rows.with_columns(pl.col("eval").replace(named)))
    study = load(
        tmp_path,
        GOOD.replace("tolerance: 0.0", "tolerance: 0.0, confidence: 0.8, turning_point: require"),
    )
    asked = StudyQuestion.of(study, {"docs": 10**6, "python": 10**6}, table).question
    assert (asked.confidence, asked.turning_point) == (0.8, "require")
    plain = StudyQuestion.of(load(tmp_path, GOOD), {"docs": 10**6, "python": 10**6}, table).question
    assert (plain.confidence, plain.turning_point) == (0.9, "report")
    assert study.identity != load(tmp_path, GOOD).identity


@pytest.mark.parametrize(
    ("protect", "message"),
    [
        ("{pyton: 0.1}", "decision.protect names 'pyton', which is not a domain"),
        ("{python: -1}", "decision.protect.python is -1: give nats of 0 or more"),
    ],
)
def test_protected_sets_are_checked_with_the_file(tmp_path: Path, protect: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        load(tmp_path, GOOD.replace("tolerance: 0.0", f"tolerance: 0.0, protect: {protect}"))


@pytest.mark.parametrize("name", ["中文", "日本語", "Ärzte", "हिन्दी", "العربية", "한국어", "web-2_x", "𐐷𐐲"])
def test_names_are_of_any_script(tmp_path: Path, name: str) -> None:
    study = load(tmp_path, GOOD.replace("python:", f"{name}:"))
    assert study.names("target") == (name,)
    # A Mac's file system spells the same name with other code points.
    other = load(tmp_path, GOOD.replace("python:", f"{unicodedata.normalize('NFD', name)}:"))
    assert other.identity == study.identity


@pytest.mark.parametrize("name", ["a b", "-a", "a/b", "a.b", "né?", "\u0301a", "x" * 64])
def test_names_with_other_characters_are_refused(tmp_path: Path, name: str) -> None:
    if name == "\u0301a":
        assert not is_name(".a")
        return
    with pytest.raises(InputError, match="is not a name: use letters and digits of any script"):
        load(tmp_path, GOOD.replace("python:", f"'{name}':"))


def test_a_name_that_is_spelt_twice_is_refused(tmp_path: Path) -> None:
    twice = GOOD.replace(
        "python:", "é: {role: general, paths: x}\n  e\u0301: {role: general, paths: y}\n  python:"
    )
    with pytest.raises(InputError, match="given twice"):
        load(tmp_path, twice)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("encoding: klingon", "'klingon' is no encoding of text that is known"),
        ("encoding: hex", "'hex' is no encoding of text that is known"),
        ("encoding: []", "encoding"),
        ("format: xml", "format"),
        ("max_left_out: 2", "max_left_out"),
    ],
)
def test_keys_of_reading_are_checked(tmp_path: Path, keys: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, GOOD.replace("role: target,", f"role: target, {keys},"))


def test_keys_of_reading_reach_the_reader_and_spare_the_identity(tmp_path: Path) -> None:
    keys = "format: json, encoding: [utf8, Latin-1], max_left_out: 0.2, supply: 1.2T"
    (tmp_path / "corpora" / "docs").mkdir(parents=True)
    (tmp_path / "corpora" / "python").mkdir()
    asked = load(tmp_path, GOOD.replace("role: target,", f"role: target, {keys},"))
    source = study_corpora(asked)[1]
    assert (source.format, source.encodings, source.max_left_out) == ("json", ("utf-8", "iso8859-1"), 0.2)
    assert asked.real_supply({"docs": 10, "python": 20}) == {"docs": 10, "python": 1_200_000_000_000}
    plain = load(tmp_path, GOOD.replace("role: target,", "role: target, encoding: utf-8,"))
    assert plain.identity == load(tmp_path, GOOD).identity != asked.identity
