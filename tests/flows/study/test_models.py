"""What a study file says: defaults, identity, composition, runner and budgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.study.loading import load_study
from mixing.errors import InputError
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
    assert load_study(ROOT / "examples" / "code" / "study.yaml").identity == "059db7aa174e9df8"
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
