"""What a study file may not say, and the one line that names the fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.study.corpora import study_corpora
from flows.study.loading import load_study
from mixing.errors import InputError
from tests.flows.study.short_study import GOOD, load


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


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"domains\.docs\.paths: .*corpora/docs does not exist"):
        study_corpora(load(tmp_path, GOOD))
    with pytest.raises(InputError, match="no such study file"):
        load_study(tmp_path / "none.yaml")
