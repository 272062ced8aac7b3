"""`mixlaw plan` says all that `mixlaw run` will refuse, before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.orchestration.local_run import run_study
from flows.pipeline.refusals import refusals, too_long
from flows.pipeline.workspace import Workspace
from mixing.errors import InputError
from tests.scenarios.tiny_study import STUDY, in_process, write_study

CASES = [
    (
        ("tolerance: 0.3", "tolerance: 2"),
        r"decision.tolerance: 2 nats per token are 7.39 times .*2% would be about 0.02",
    ),
    (("tolerance: 0.3", "tolerance: 0.3, protect: {docs: 0.6}"), "decision.protect.docs: 0.6 nats"),
    (
        ("tolerance: 0.3", "tolerance: 0.3, tokens: 1M"),
        r"1M tokens are 63 times the proxies' 15,872; .* past 4 times",
    ),
    (
        ("base: {tokens: 64k,", "base: {checkpoint: no/weights.pt,"),
        "base.checkpoint: .*no/weights.pt does not exist",
    ),
    (("tokenizer: {train: {vocab_size: 320}}", "tokenizer: {file: no.json}"), "no.json does not exist"),
]


@pytest.mark.parametrize(("change", "reason"), CASES)
def test_run_refuses_at_once_what_plan_lists(tmp_path: Path, change: tuple[str, str], reason: str) -> None:
    assert change[0] in STUDY
    text = STUDY.replace(*change)
    study = write_study(tmp_path, text)
    workspace = Workspace.load(study, tmp_path / "home")
    (found,) = refusals(workspace)
    with pytest.raises(InputError, match=reason):
        raise found
    with pytest.raises(InputError, match=reason):
        run_study(study, tmp_path / "home")


def test_a_large_tolerance_can_be_meant(tmp_path: Path) -> None:
    before = Workspace.load(write_study(tmp_path / "a"), tmp_path / "home").study.identity
    study = write_study(tmp_path, STUDY.replace("0.3}", "2, allow_large_tolerance: true}"))
    assert refusals(Workspace.load(study, tmp_path / "home")) == ()
    same = write_study(tmp_path, STUDY.replace("0.3}", "0.3, allow_large_tolerance: false}"))
    assert Workspace.load(same, tmp_path / "home").study.identity == before


def test_plan_shows_the_whole_plan_and_every_refusal(tmp_path: Path) -> None:
    text = STUDY.replace("tolerance: 0.3", "tolerance: 5, tokens: 1M").replace(
        "base: {tokens: 64k,", "base: {checkpoint: no/weights.pt,"
    )
    scarce = write_study(tmp_path / "scarce", text)
    text = text.replace("paths: corpora", "max_epochs: 1000, paths: corpora")
    done = in_process(tmp_path / "home", "plan", str(write_study(tmp_path, text)), MIXLAW_DEVICE="tpu")
    assert done.returncode == 2
    for part in (
        "tiny: 5 runs",
        "no/weights.pt does not exist",
        "5 nats per token",
        "63 times",
        "MIXLAW_DEVICE",
    ):
        assert part in " ".join(done.stdout.split())
    assert done.stdout.count("mixlaw run refuses this study") == 4
    # Where the caps leave no plan to show, all are said even so.
    done = in_process(tmp_path / "scarce" / "home", "plan", str(scarce))
    assert (done.returncode, done.stderr.count("also refuses this study")) == (2, 3)


def test_hundreds_of_hours_come_with_what_to_change() -> None:
    assert too_long(3600 * 99) == ""
    assert "about 262 hours on this machine: lower proxies.tokens" in too_long(3600 * 262)
