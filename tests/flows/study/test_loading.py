"""The study file: what it accepts, and the one line it answers with when something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.study.corpora import study_corpora
from flows.study.loading import load_study
from flows.study.models import Study
from mixing.errors import InputError
from tests.tiny_study import ROOT
from tests.tiny_study import STUDY as TINY

GOOD = """\
study: code
domains:
  docs: {role: general, paths: corpora/docs}
  python: {role: target, paths: [corpora/python], max_epochs: 3}
model: {depth: 2, context: 64}
base: {tokens: 2e6}
proxies: {tokens: 0.5M, target_shares: [0.5, 0.25]}
decision: {tolerance: 0.0}
"""


def load(tmp_path: Path, text: str) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return load_study(path)


def test_defaults_and_token_counts(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD)
    assert (study.base.tokens, study.proxies.tokens) == (2_000_000, 500_000)
    assert study.proxies.target_shares == (0.25, 0.5)
    assert study.path("corpora/docs") == tmp_path / "corpora" / "docs"
    assert study.names("general") == ("docs",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "target_shares",
            "target_share",
            "proxies.target_share: unknown key (and 1 more). Did you mean target_shares?",
        ),
        ("max_epochs", "max_epoch", "domains.python.max_epoch: unknown key. Did you mean max_epochs?"),
        ("tolerance: 0.0", "tolerance: 0, levle: 0.9", "decision.levle: unknown key. Did you mean level?"),
        ("base: {tokens: 2e6}", "base: {checkpoint: a.pt, tokens: 2}", "base: give either tokens"),
        ("role: target", "role: general", "no domain has role target"),
        ("0.5, 0.25", "0.5, 1.25", "1.25 is not a share"),
        ("0.5, 0.25", "0.5, 0.5", "a target share is given twice"),
        ("tolerance: 0.0", "tolerance: .nan", "decision.tolerance: Input should be a finite number"),
        (
            "tolerance: 0.0",
            "tolerance: 0, general: {doc: 1}",
            "'doc', which is not a domain (did you mean docs?)",
        ),
        ("study: code", "study: ../code", "is not a name"),
        ("study: code", "study: prefect", "is not a name"),
        ("study: code", "study: code\nstudy: more", "line 2: 'study' is given twice"),
        ("tokens: 2e6", "tokens: 2.5", "base.tokens: Input should be a valid integer"),
        ("tokens: 2e6", "tokens: -1", "base.tokens: Input should be greater than 0"),
        ("decision: {tolerance: 0.0}\n", "", "decision: missing"),
        ("decision: {", "decision: [", "line 8: not YAML"),
        (GOOD, "just text", "not a study file"),
        (GOOD, "", "not a study file"),
        ("proxies:", "spec: {total_tokens: 1000}\nproxies:", "spec.global_batch_tokens 524288 is more than"),
        (
            "proxies:",
            "spec: {global_batch_tokens: 5000}\nproxies:",
            "spec.global_batch_tokens 5000 is no multiple of spec.sequence_length 2048",
        ),
        ("study: code", "study: !!python/name:os.system", "not YAML"),
    ],
)
def test_one_line_that_names_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    line = str(caught.value)
    assert message in line
    assert "study.yaml" in line
    assert "\n" not in line
    assert caught.value.hint
    assert caught.value.exit_status == 2


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


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"domains\.docs\.paths: .*corpora/docs does not exist"):
        study_corpora(load(tmp_path, GOOD))
    with pytest.raises(InputError, match="no such study file"):
        load_study(tmp_path / "none.yaml")


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


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("runner: dask", "runner: dask needs the address of its scheduler"),
        ("runner: {kind: local, address: a}", "runner: local takes no address"),
        ("runner: {kind: prefect, address: a}", "runner: prefect takes no address"),
        ("runner: slurm", "runner.kind: Input should be 'local', 'prefect', 'dask' or 'ray'"),
        ("runner: {kind: ray, adress: a}", "runner.adress: unknown key. Did you mean address?"),
    ],
)
def test_runner_that_cannot_be_is_refused(tmp_path: Path, key: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, GOOD + key)
    assert message in str(caught.value)


def test_identity_of_earlier_study_files_stays(tmp_path: Path) -> None:
    """A new hash would count finished studies as unfinished: a new key at its default must not enter it."""
    assert load_study(ROOT / "examples" / "code" / "study.yaml").identity == "059db7aa174e9df8"
    assert load(tmp_path, TINY).identity == "308e1d2bc41db590"


def test_budget_asked_about_and_of_the_target_run(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD)
    assert (study.asked_tokens, study.target_run_tokens) == (500_000, 500_000)
    study = load(tmp_path, GOOD.replace("tolerance: 0.0", "tolerance: 0, tokens: 1M"))
    assert (study.asked_tokens, study.target_run_tokens) == (1_000_000, 1_000_000)
    study = load(tmp_path, GOOD + "spec: {total_tokens: 20B}")
    assert (study.asked_tokens, study.target_run_tokens) == (500_000, 20 * 10**9)
