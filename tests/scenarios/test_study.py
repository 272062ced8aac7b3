"""A study from text to the registered mix, and again: nothing is trained twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.pipeline.confirmation import discard_other_answer
from flows.pipeline.workspace import Workspace
from flows.settings.home import StudyFolder
from flows.settings.locks import exclusive, owner
from mixing.errors import MixlawError
from tests.conftest import Finished
from tests.scenarios.tiny_study import STUDY, environment, finished_runs, in_process, mixlaw, write_study


def test_closing_screen(finished: Finished) -> None:
    screen = finished.screen
    for text in (
        "proxy target=0.25 seed=0",
        "confirmation target=",
        "held-out error",
        "Train with ",
        "Losses at the recommended mix",
        "90% interval [",
        "limited by:",
        "Confirmation run at target share",
        "replay 5%",
        "replay 50%",
        "mixspec.yaml",
        "figures",
        "models:/tiny@champion, version 1 (new)",
    ):
        assert text in screen
    # Standard error is a file here: plain lines, no bars.
    assert re.search(r"4 proxies: 4 of 4 done", finished.progress)
    assert "\x1b" not in finished.progress


def test_results_are_files(finished: Finished) -> None:
    folder = finished.folder
    decision = json.loads((folder / "decision.json").read_text())
    assert decision["status"] == "decided"
    assert 0.25 < decision["critical_ratio"] < 0.9
    spec = yaml.safe_load((folder / "mixspec.yaml").read_text())
    assert spec["decision"]["critical_ratio"] == decision["critical_ratio"]
    assert sum(part["share"] for part in spec["domains"].values()) == pytest.approx(1)
    assert len(spec["provenance"]["runs"]) == 6
    assert len(list((folder / "figures").glob("*.png"))) >= 3
    confirmation = json.loads((folder / "confirmation.json").read_text())
    # The answer that recommended and predicted it had not seen it; the final one has.
    swarm = json.loads((folder / "swarm-answer.json").read_text())["decision"]
    assert confirmation["target_share"] == pytest.approx(swarm["shares"]["code"], abs=6e-4)
    assert (swarm["n_runs"], decision["n_runs"]) == (4, 5)


def test_again_trains_nothing_and_answers_at_once(original: Finished) -> None:
    before = finished_runs(original.folder)
    started = os.times()
    done = mixlaw(original.home, "run", str(original.study), "--json")
    ended = os.times()
    seconds = ended.children_user + ended.children_system - started.children_user - started.children_system
    assert seconds < 30
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["runs"]["trained_now"] == 0
    assert answer["mlflow_version"] == "1"
    assert finished_runs(original.folder) == before
    assert (
        answer["critical_ratio"]
        == json.loads((original.folder / "decision.json").read_text())["critical_ratio"]
    )


def test_mlflow_has_it_once(finished: Finished) -> None:
    with sqlite3.connect(finished.home / "mlflow.db") as database:
        kinds = dict(
            database.execute(
                "select value, count(*) from tags where key = 'mixlaw.kind' group by value"
            ).fetchall()
        )
        assert kinds == {"study": 1, "base": 1, "proxy": 4, "confirmation": 1}
        assert database.execute("select count(*) from model_versions").fetchone() == (1,)
        steps = database.execute("select max(step) from metrics where key = 'loss.docs'").fetchone()
        assert steps == (15872,)
        failed = database.execute("select count(*) from runs where status != 'FINISHED'").fetchone()
        assert failed == (0,)


def test_export_of_the_champion(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "blend.json"
    done = in_process(finished.home, "export", "models:/tiny@champion", "--to", "megatron", "--out", str(out))
    assert done.returncode == 0, done.stderr
    train = json.loads(out.read_text())["train"]
    assert {Path(part).parent.name for part in train[1::2]} == {"docs", "code"}
    assert all(Path(f"{part}.bin").exists() for part in train[1::2])


def test_looking_at_a_finished_study(finished: Finished) -> None:
    status = in_process(finished.home, "status", str(finished.study), "--json")
    counts = json.loads(status.stdout)
    assert (counts["done"], counts["failed"], counts["left"], counts["process"]) == (6, 0, 0, None)
    plan = json.loads(in_process(finished.home, "plan", str(finished.study), "--json").stdout)
    assert plan["runs_done"] == 6
    assert not plan["supply_estimated"]
    catalog = json.loads(in_process(finished.home, "catalog", str(finished.study), "--json").stdout)
    assert [domain["documents"] for domain in catalog["domains"]] == [500, 500]


def test_a_new_answer_drops_the_confirmation_of_an_earlier_one(tmp_path: Path) -> None:
    """Before its own is trained: else the status would call the earlier one this one's."""
    write_study(tmp_path)
    workspace = Workspace.load(tmp_path / "study.yaml", tmp_path / "home")
    workspace.create_folder()
    for run, kept in (("a" * 16, True), ("b" * 16, False)):
        workspace.folder.confirmation.write_text(json.dumps({"run": "a" * 16, "target_share": 0.5}))
        workspace.folder.mixspec.write_text("mixspec: 1\n")
        discard_other_answer(workspace, run)
        assert (workspace.folder.confirmation.exists(), workspace.folder.mixspec.exists()) == (kept, kept)


def test_an_answer_to_an_earlier_question_is_called_that(finished: Finished) -> None:
    def asked(study: Path) -> dict[str, object]:
        return json.loads(in_process(finished.home, "status", str(study), "--json").stdout)

    assert asked(finished.study)["answer"] == "decided"
    wider = finished.study.with_name("wider.yaml")
    wider.write_text(finished.study.read_text().replace("[0.25, 0.5", "[0.25, 0.4, 0.5"))
    now = asked(wider)
    assert (now["answer"], now["left"]) == ("earlier", 2)


def test_plan_before_anything(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    done = mixlaw(tmp_path / "home", "plan", str(study), "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [run["kind"] for run in plan["runs"]] == ["base", *["proxy"] * 4, "confirmation"]
    assert plan["supply_estimated"]
    assert plan["seconds_left"] > 0
    assert not list((tmp_path / "home" / "tiny" / "runs").iterdir())


def test_a_second_start_is_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    folder = StudyFolder.of("tiny", tmp_path / "home")
    folder.path.mkdir(parents=True)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from flows.settings.home import StudyFolder; from flows.settings.locks import exclusive\n"
        f"with exclusive(StudyFolder(Path({str(folder.path)!r}))): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment(tmp_path / "home")
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        running = owner(folder)
        assert running is not None
        assert running.pid == holder.pid
        done = mixlaw(tmp_path / "home", "run", str(study))
        assert done.returncode == 1
        assert f"already running (process {holder.pid})" in done.stderr
        assert done.stderr.count("\n") == 1
    finally:
        holder.kill()
        holder.wait()
    assert owner(folder) is None
    with (
        exclusive(folder),
        pytest.raises(MixlawError, match="already running"),
        exclusive(folder),
    ):
        pass


def decision_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "decision.json").read_text())


def test_a_changed_question_keeps_the_runs(finished: Finished, mlflow_uri: str, tmp_path: Path) -> None:
    """Another tolerance trains only its confirmation run, and is a new version of the mix."""
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    study = tmp_path / "copy" / "study.yaml"
    study.write_text(STUDY.replace("tolerance: 0.3", "tolerance: 0.2"))
    done = mixlaw(tmp_path / "copy" / "home", "run", str(study), "--json", MLFLOW_TRACKING_URI=mlflow_uri)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["runs"]["trained_now"] == 1
    assert answer["critical_ratio"] < decision_of(finished.folder)["critical_ratio"]


def test_the_run_store_gives_the_study_s_own_answer(finished: Finished) -> None:
    """The confirmation lies there too, and belongs to the final answer."""
    asked = ("--general", "docs", "--target", "code", "--tolerance", "0.3", "--json")
    done = in_process(finished.home, "decide", str(finished.folder / "runs"), *asked)
    assert done.returncode == 0, done.stderr
    found, own = json.loads(done.stdout), decision_of(finished.folder)
    for key in ("critical_ratio", "interval", "n_runs", "law", "shares", "binding"):
        assert found[key] == own[key], key
    assert found["n_runs"] == 5


def test_another_cap_trains_nothing(finished: Finished, mlflow_uri: str, tmp_path: Path) -> None:
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    study = tmp_path / "copy" / "study.yaml"
    study.write_text(STUDY.replace("paths: corpora/code}", "paths: corpora/code, max_epochs: 8}"))
    done = mixlaw(tmp_path / "copy" / "home", "run", str(study), "--json", MLFLOW_TRACKING_URI=mlflow_uri)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"]["trained_now"] == 0


def test_a_recommended_mix_that_was_fitted_on_is_no_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from flows.orchestration.study_tasks import StudyTasks
    from flows.pipeline.result import StudyRun

    lines: list[str] = []
    removed: list[object] = []
    setting = SimpleNamespace(workspace=SimpleNamespace(study=None), board=SimpleNamespace(say=lines.append))
    runs = [StudyRun("base", "base", "base"), StudyRun("a" * 16, "proxy", "proxy target=0.5 seed=0")]
    spec = SimpleNamespace(run_id="a" * 16, context=8)
    planned = SimpleNamespace(target_share=0.5, name="confirmation target=0.5")
    swarm, training = SimpleNamespace(decision=None), SimpleNamespace(store=SimpleNamespace(domains={}))
    tasks = "flows.orchestration.study_tasks"
    monkeypatch.setattr(f"{tasks}.confirmation_run", lambda *_: planned)
    monkeypatch.setattr(f"{tasks}.supply_of", lambda _: {})
    monkeypatch.setattr(f"{tasks}.proxy_spec", lambda *_: spec)
    monkeypatch.setattr(f"{tasks}.discard_answer", removed.append)
    assert StudyTasks(setting)._confirm(swarm, None, runs, training) is None  # type: ignore[arg-type]
    assert len(runs) == 2
    assert "proxy target=0.5 seed=0" in lines[0]
    assert removed == [setting.workspace]


def test_one_share_is_an_honest_not_yet(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    study, home = tmp_path / "copy" / "study.yaml", tmp_path / "copy" / "home"
    study.write_text(STUDY.replace("[0.25, 0.5, 0.75, 0.9]", "[0.5]"))
    done = mixlaw(home, "run", str(study))
    assert done.returncode == 0, done.stderr
    assert "Not yet" in done.stdout
    assert "Train these next" in done.stdout
    assert decision_of(home / "tiny")["critical_ratio"] is None
    # What lies there is never the mix of another question.
    assert not (home / "tiny" / "mixspec.yaml").exists()
    assert not (home / "tiny" / "confirmation.json").exists()
