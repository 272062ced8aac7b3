"""What version 0.1.0 wrote is read: run stores, answers, mix specs, and mixes registered in MLflow.

`tests/golden/version-0.1.0` is the tiny study as that version left it, without what is made again from its text
(token files, figures) and with `@STUDY@` for the folder it was in.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from flows.pipeline.prepare import catalogue, token_store
from flows.pipeline.workspace import Workspace
from flows.tracking.sqlite import create_database
from tests.conftest import Finished
from tests.scenarios.tiny_study import ROOT, finished_runs, in_process, mixlaw, write_study

GOLDEN = ROOT / "tests" / "golden" / "version-0.1.0"
PLACEHOLDER = b"@STUDY@"
NEAR = 0.01
"""Answers to the runs of 0.1.0 are those of today's rules, well within their intervals of the old ones."""


def restore(folder: Path) -> Finished:
    """The study as version 0.1.0 left it, in `folder`."""
    shutil.copytree(GOLDEN, folder)
    for path in folder.rglob("*"):
        if path.is_file() and PLACEHOLDER in (content := path.read_bytes()):
            path.write_bytes(content.replace(PLACEHOLDER, str(folder).encode()))
    study = write_study(folder, (folder / "study.yaml").read_text())
    made = Workspace.load(study, folder / "made")
    token_store(made, catalogue(made))
    tokens = folder / "home" / "tiny" / "tokens"
    for path in made.folder.tokens.glob("*/*"):
        target = tokens / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    shutil.rmtree(folder / "made")
    create_database(folder / "home" / "mlflow.db")
    with sqlite3.connect(folder / "home" / "mlflow.db") as database:
        database.executescript((folder / "mlflow.sql").read_text())
    return Finished(study, folder / "home", "", "")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return restore(tmp_path_factory.mktemp("old") / "study")


def recorded(old: Finished) -> dict[str, object]:
    return dict(json.loads((GOLDEN / "home" / "tiny" / "decision.json").read_text()))


def test_no_path_of_a_machine_is_in_the_golden_files() -> None:
    for path in GOLDEN.rglob("*"):
        if path.is_file() and path.suffix not in (".parquet", ".pt"):
            assert b"/tmp/" not in path.read_bytes(), path


def test_status_and_plan(old: Finished) -> None:
    status = json.loads(in_process(old.home, "status", str(old.study), "--json").stdout)
    assert (status["done"], status["left"], status["answer"]) == (6, 0, "decided")
    assert [run["kind"] for run in status["runs"]] == ["base", *["proxy"] * 4, "confirmation"]
    further = json.loads(in_process(old.home, "plan", str(old.study), "--next", "2", "--json").stdout)
    assert further["trained"] == [0.25, 0.5, 0.536, 0.75, 0.9]
    assert further["critical_ratio"] == pytest.approx(recorded(old)["critical_ratio"], abs=NEAR)


def test_fit_and_decide_on_its_run_store(old: Finished) -> None:
    runs = str(old.folder / "runs")
    fitted = in_process(old.home, "fit", runs, "--eval", "docs", "--json")
    assert fitted.returncode == 0, fitted.stderr
    assert {law["n_runs"] for law in json.loads(fitted.stdout)["laws"]} == {4}
    asked = ("--general", "docs", "--target", "code", "--target-domain", "code", "--tolerance", "0.3")
    decided = in_process(old.home, "decide", runs, *asked, "--tokens", "15872", "--json")
    assert decided.returncode == 0, decided.stderr
    answer, before = json.loads(decided.stdout), recorded(old)
    assert answer["critical_ratio"] == pytest.approx(before["critical_ratio"], abs=NEAR)
    assert answer["interval"][0] <= before["critical_ratio"] <= answer["interval"][1]


@pytest.mark.parametrize("spec", ["mixspec.yaml", "models:/tiny@champion"])
def test_its_mix_specs(spec: str, old: Finished) -> None:
    address = spec if spec.startswith("models:") else str(old.folder / spec)
    exported = in_process(old.home, "export", address, "--to", "json")
    assert exported.returncode == 0, exported.stderr
    assert json.loads(exported.stdout)
    shown = in_process(old.home, "spec", "show", address)
    assert shown.returncode == 0, shown.stderr
    assert "0.536" in shown.stdout
    history = json.loads(in_process(old.home, "promote", "tiny", "--history", "--json").stdout)
    assert (history["champion"], history["history"][0]["by"]) == ("1", "first")


def test_a_refresh_finds_nothing_changed(old: Finished) -> None:
    """The same question by its identity, and the same corpora by the snapshot that was published."""
    done = mixlaw(old.home, "refresh", str(old.study), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reasons"] == []


def test_run_trains_the_confirmation_at_the_share_that_is_now_recommended(
    prefect_server: None, tmp_path: Path
) -> None:
    study = restore(tmp_path / "study")
    before = finished_runs(study.folder)
    done = mixlaw(study.home, "run", str(study.study), "--json")
    assert done.returncode == 0, done.stderr
    result, answer = json.loads(done.stdout), recorded(study)
    assert result["runs"] == {"done": 6, "failed": {}, "trained_now": 1}
    after = finished_runs(study.folder)
    assert {run: after[run] for run in before} == before
    assert len(after) == len(before) + 1
    assert result["critical_ratio"] == pytest.approx(answer["critical_ratio"], abs=NEAR)
    assert (result["binding"], result["law"]) == (answer["binding"], answer["law"])
    # 0.1.0 recommended the best estimate; now it is the share that keeps the tolerance as probably as is asked.
    assert result["shares"]["code"] == result["safe_ratio"] < answer["shares"]["code"]
    again = mixlaw(study.home, "run", str(study.study), "--json")
    assert json.loads(again.stdout)["runs"] == {"done": 6, "failed": {}, "trained_now": 0}
