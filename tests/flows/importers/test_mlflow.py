"""Runs tables from MLflow: what our tracker wrote, and what a user logged with MLflow's own calls."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import mlflow
import pytest

from flows.importers.mlflow import load_experiment
from flows.tracking.client import Tracker
from flows.tracking.registry import shortened
from mixing.errors import InputError, MixlawError
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable
from tests.conftest import Finished
from tests.flows.tracking.test_client import RUNS, study_record
from tests.scenarios.tiny_study import in_process

SHARES = (0.2, 0.4, 0.6, 0.8)
CHECKPOINTS = (1000, 2000, 4000, 8000)


@pytest.fixture
def uri(mlflow_uri: str, tmp_path: Path) -> Iterator[str]:
    """A user's own MLflow, reached with MLflow's fluent calls."""
    with mock.patch.dict(os.environ):
        mlflow.set_tracking_uri(mlflow_uri)
        mlflow.create_experiment("cpt", (tmp_path / "artifacts").as_uri())
        mlflow.set_experiment("cpt")
        yield mlflow_uri
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(None)


def log_run(name: str, target: float | None, steps: tuple[int, ...], separator: str = ".") -> None:
    with mlflow.start_run(run_name=name):
        if target is not None:
            mlflow.log_params(
                {"share.web": 1 - target, "share.code": target, "params": 1_300_000, "lr": "1e-3"}
            )
        for step in steps:
            gain = (target or 0.0) * step / 1e4
            mlflow.log_metric(f"loss{separator}web", 3 + gain * 0.1, step=step)
            mlflow.log_metric(f"loss{separator}code", 3 - gain, step=step)
            mlflow.log_metric("grad_norm", 1.0, step=step)


def log_study(separator: str = ".") -> None:
    log_run("base", None, (0,), separator)
    for target in SHARES:
        log_run("cpt", target, CHECKPOINTS, separator)


def row(table: RunTable, eval_: str, tokens: int, code: float) -> list[float]:
    found = table.rows.filter(eval=eval_, tokens=tokens)
    return found.filter((found["share.code"] - code).abs() < 1e-9)["loss"].to_list()


@pytest.mark.parametrize("separator", [".", "/"])
def test_plain_mlflow_calls(uri: str, separator: str) -> None:
    log_study(separator)
    table = load_experiment("mlflow:cpt", uri)
    assert table.domains == ("web", "code")
    assert set(table.evals) == {"web", "code"}
    assert table.base.sort("eval")["loss"].to_list() == [3.0, 3.0]
    assert table.trained.height == len(SHARES) * len(CHECKPOINTS) * 2
    # Four runs of one name are still four runs.
    assert {round(m.share("code"), 6) for m in table.mixtures().values()} == set(SHARES)
    assert row(table, "code", 4000, 0.4) == pytest.approx([3 - 0.16])
    assert set(table.trained["params"]) == {1_300_000}
    assert table.warnings == []


def test_a_step_logged_again_counts_as_last_logged(uri: str) -> None:
    log_study()
    with mlflow.start_run(run_name="again"):
        mlflow.log_params({"share.web": 0.5, "share.code": 0.5})
        for loss in (9.0, 2.5):
            mlflow.log_metric("loss.web", loss, step=1000)
    assert row(load_experiment("mlflow:cpt", uri), "web", 1000, 0.5) == [2.5]


def log_losses(name: str, steps: tuple[int, ...], losses: tuple[float, ...]) -> None:
    with mlflow.start_run(run_name=name):
        mlflow.log_params({"share.web": 0.5, "share.code": 0.5, "params": "1.3M"})
        for step, loss in zip(steps, losses, strict=True):
            mlflow.log_metric("loss.web", loss, step=step)


def test_a_restart_keeps_what_was_logged_later_and_says_so(uri: str) -> None:
    log_study()
    log_losses("again", (1000, 2000, 4000, 2000, 4000), (2.9, 2.8, 9.0, 2.7, 2.6))
    table = load_experiment("mlflow:cpt", uri)
    assert table.rows.filter(run="again").sort("tokens")["loss"].to_list() == [2.9, 2.7, 2.6]
    (warning,) = table.warnings
    assert "run 'again' goes back from 4,000 to 2,000 tokens (a restart)" in warning
    assert "up to 6.4" in warning


def test_every_step_twice_is_no_restart(uri: str) -> None:
    log_study()
    log_losses("twice", (1000, 1000, 2000, 2000), (2.9, 2.91, 2.8, 2.81))
    with pytest.raises(InputError, match="run 'twice' has 2 different losses on 'web'"):
        load_experiment("mlflow:cpt", uri)


def test_learning_rates_of_an_experiment_never_mix_unseen(uri: str) -> None:
    log_study()
    with mlflow.start_run(run_name="hot"):
        mlflow.log_params({"share.web": 0.5, "share.code": 0.5, "lr": "0.003"})
        mlflow.log_metric("loss.web", 2.9, step=1000)
    with mock.patch.dict(os.environ, {"MLFLOW_TRACKING_URI": uri}):
        with pytest.raises(InputError, match=r"runs differ in lr \(0\.003: 1 run, 1e-3: 4 runs\)"):
            read_runs("mlflow:cpt")
        assert len(read_runs("mlflow:cpt", where={"lr": 0.001}).mixtures()) == len(SHARES)


def test_runs_that_have_not_finished_are_left_out_and_said(uri: str) -> None:
    log_study()
    mlflow.start_run(run_name="going on")
    mlflow.log_params({"share.web": 0.5, "share.code": 0.5})
    mlflow.log_metric("loss.web", 2.0, step=1000)
    table = load_experiment("mlflow:cpt", uri)
    assert len(table.mixtures()) == len(SHARES)
    assert table.warnings == ["mlflow:cpt: 1 run(s) left out: not finished"]


def test_what_cannot_be_read_is_said(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such experiment") as caught:
        load_experiment("mlflow:ctp", uri)
    assert "cpt" in caught.value.hint
    with pytest.raises(InputError, match="names no experiment"):
        load_experiment("mlflow:", uri)
    with pytest.raises(InputError, match="none of its 0 runs has parameters share"):
        load_experiment("mlflow:cpt", uri)
    with mlflow.start_run():
        mlflow.log_metric("loss.web", 2.0, step=5)
    with pytest.raises(InputError, match="none of its 1 runs has parameters share"):
        load_experiment("mlflow:cpt", uri)
    with mlflow.start_run():
        mlflow.log_params({"share.web": 0.5, "share.code": 0.5})
        mlflow.log_metric("loss.web", 2.0)
    with pytest.raises(InputError, match=r"no loss\.<eval> metric at a step above 0"):
        load_experiment("mlflow:cpt", uri)
    with mlflow.start_run(run_name="odd"):
        mlflow.log_params({"share.web": "half", "share.code": 0.5})
        mlflow.log_metric("loss.web", 2.0, step=5)
    with pytest.raises(InputError, match=r"share\.web of run 'odd' is 'half', not a number"):
        load_experiment("mlflow:cpt", uri)
    with pytest.raises(InputError, match="no MLflow store"):
        load_experiment("mlflow:cpt", f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(MixlawError, match="did not answer"):
        load_experiment("mlflow:cpt", "http://127.0.0.1:9")


def test_only_the_newest_question_of_a_study(mlflow_uri: str, tmp_path: Path) -> None:
    """Another question trains other proxies under another parent; only its own are its answer's."""
    from dataclasses import replace

    study, _ = study_record(tmp_path)
    tracker = Tracker(mlflow_uri, tmp_path, "code")
    tracker.publish(study, RUNS, None, "")
    confirmation = replace(RUNS[1], run="run9", name="confirmation target=0.5", kind="confirmation")
    tracker.publish(replace(study, identity="other"), [RUNS[0], confirmation], None, "")
    table = load_experiment("mlflow:code", mlflow_uri)
    assert set(table.mixtures()) == {"proxy target=0.25 seed=0", "confirmation target=0.5"}
    assert len(table.warnings) == 1
    tracker.publish(study, RUNS, None, "")
    assert len(load_experiment("mlflow:code", mlflow_uri).mixtures()) == 2


def test_a_study_answers_from_mlflow_as_from_its_files(finished: Finished) -> None:
    asked = ("--general", "docs", "--target", "code", "--tolerance", "0.3", "--json")
    done = in_process(finished.home, "decide", "mlflow:tiny", *asked)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    own = json.loads((finished.folder / "decision.json").read_text())
    assert found["n_runs"] == own["n_runs"] == 5
    assert found["critical_ratio"] == pytest.approx(own["critical_ratio"], abs=1e-4)
    assert found["interval"] == pytest.approx(own["interval"], abs=1e-3)
    assert found["warnings"] == own["warnings"]
    fitted = in_process(finished.home, "fit", "mlflow:tiny", "--eval", "docs", "--json")
    assert fitted.returncode == 0, fitted.stderr
    assert {law["n_runs"] for law in json.loads(fitted.stdout)["laws"]} == {5}


def test_an_old_file_store_is_read_or_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = (tmp_path / "mlruns").as_uri()
    (tmp_path / "mlruns").mkdir()
    with pytest.raises(
        InputError, match=r"old file store.*MLFLOW_ALLOW_FILE_STORE=true; .*mlflow migrate-filestore"
    ):
        load_experiment("mlflow:cpt", store)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=store)
    run = client.create_run(client.create_experiment("cpt"), run_name="half").info.run_id
    for name in ("web", "code"):
        client.log_param(run, f"share.{name}", 0.5)
    client.log_metric(run, "loss.web", 2.5, step=100)
    client.set_terminated(run)
    assert load_experiment("mlflow:cpt", store).rows["loss"].to_list() == [2.5]


def test_messages_of_other_libraries_keep_their_end() -> None:
    text = "The thing failed. " + "It is a long story. " * 40 + "Set THIS=true."
    line = shortened(text)
    assert line.startswith("The thing failed.")
    assert line.endswith("Set THIS=true.")
    assert len(line) <= 310
    assert shortened("  short\n one ") == "short one"
