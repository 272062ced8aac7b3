"""What a study says while it runs: structured lines without secrets, and how far each run is, from outside."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.orchestration.remote_status import remote_status
from flows.pipeline import status
from flows.pipeline.workspace import Workspace
from flows.settings import logging as log
from proxies.progress import Progress
from proxies.runs import store as runs
from tests.conftest import Finished
from tests.scenarios.tiny_study import STUDY, mixlaw, write_study


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Path]:
    handlers, levels = list(logging.root.handlers), {n: logging.getLogger(n).level for n in log.LOGGERS}
    log.to_files(tmp_path, "tiny", terminal=True)
    yield tmp_path
    for handler in set(logging.root.handlers) - set(handlers):
        logging.root.removeHandler(handler)
        handler.close()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_lines_are_json_with_study_and_run(logged: Path) -> None:
    log.of_flow_run("0f")
    said = {"event": "run_finished", "run": "00ff", "tokens_per_s": 12.5}
    logging.getLogger("proxies.runs.launch").info("run 00ff: done", extra=said)
    found = lines(logged)[-1]
    assert {k: found[k] for k in ("study", "flow_run", "run", "event", "tokens_per_s", "level")} == {
        "study": "tiny",
        "flow_run": "0f",
        "run": "00ff",
        "event": "run_finished",
        "tokens_per_s": 12.5,
        "level": "info",
    }
    assert str(found["time"]).endswith("Z")
    assert "run 00ff: done" in (logged / "run.log").read_text()


def test_a_step_says_how_it_ended(logged: Path) -> None:
    with log.step("tokens"):
        pass
    with pytest.raises(ValueError, match="odd"), log.step("fit"):
        raise ValueError("odd")
    assert [(line["event"], line["step"]) for line in lines(logged)] == [
        ("step_started", "tokens"),
        ("step_finished", "tokens"),
        ("step_started", "fit"),
        ("step_failed", "fit"),
    ]
    assert lines(logged)[-1]["reason"] == "odd"


def test_secrets_are_in_neither_log(logged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2hunter2")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:s3cr3t/value")
    logger = logging.getLogger("flows.test")
    logger.info("asked https://mixlaw:hunter2hunter2@host/x and postgresql+asyncpg://me:other%2Fpw@db:5432/p")
    logger.info("login admin:s3cr3t/value", extra={"event": "log", "reason": "hunter2hunter2 refused"})
    try:
        raise OSError("no way to //u:p@h with hunter2hunter2")
    except OSError:
        logger.exception("failed")
    for name in ("run.log", "events.jsonl"):
        text = (logged / name).read_text()
        for secret in ("hunter2", "s3cr3t", "other%2Fpw"):
            assert secret not in text
        assert "postgresql+asyncpg://***@db:5432/p" in text


def test_short_or_ordinary_values_stay() -> None:
    environment = {"A_TOKEN": "abc", "HOME": "/home/someone", "DB_PASSWORD": "longer-one"}
    assert log.redacted("abc /home/someone longer-one", environment) == "abc /home/someone ***"


def test_the_study_logged_its_runs(finished: Finished) -> None:
    found = lines(finished.folder)
    done = [line for line in found if line["event"] == "run_finished"]
    assert {str(line["run"]) for line in done} == {
        p.parent.name for p in finished.folder.glob("runs/*/done.json")
    }
    assert all(float(str(line["tokens_per_s"])) > 0 for line in done)
    assert {line["study"] for line in found} == {"tiny"}
    assert len({line["flow_run"] for line in done}) == 1


# Status.


def test_status_of_a_run_that_trains(finished: Finished, tmp_path: Path) -> None:
    """The holder says how far it is; anybody who sees the home reads it."""
    import shutil

    shutil.copytree(finished.study.parent, tmp_path / "copy")
    workspace = Workspace.load(tmp_path / "copy" / "study.yaml", tmp_path / "copy" / "home")
    before = status.status_of(workspace)
    proxy = next(run for run in before.runs if run.name.startswith("proxy"))
    assert proxy.state == "done"
    assert proxy.seconds is not None
    assert proxy.tokens_per_s is not None
    assert before.eta_s is None
    folder = workspace.folder.runs / proxy.run
    (folder / runs.DONE).unlink()
    with runs.claim(folder) as held:
        held.note(Progress(proxy.run, 8, 31, 4096, 1000.0, 2.5, 11.8))
        held.beat()
        now = status.status_of(workspace)
        found = next(run for run in now.runs if run.run == proxy.run)
        assert (found.state, found.tokens, found.tokens_per_s, found.eta_s) == ("running", 4096, 1000.0, 11.8)
        assert found.seconds == pytest.approx(4.096)
        assert found.where
        assert now.eta_s == pytest.approx((found.of - 4096) / 1000)
        as_json = now.to_json()
        assert as_json["tokens_per_s"] == 1000.0
        assert as_json["runs"][1].keys() >= {"tokens_per_s", "eta_s", "seconds", "where", "of"}
    assert next(run for run in status.status_of(workspace).runs if run.run == proxy.run).state == "partial"


def test_status_where_the_home_is_not_seen_asks_the_servers(finished: Finished, tmp_path: Path) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.states import Completed, Running

    first = next(line for line in lines(finished.folder) if line["flow_run"])
    with get_client(sync_client=True) as client:
        own = client.read_flow_run(str(first["flow_run"]))
        assert ("tiny" in own.tags, own.state_name) == (True, "Completed")
        # Tests beside this one run the tiny study too: which of its flow runs is the newest is theirs to say.
        other = client.create_flow_run(flow(lambda: None, name="a study"), name="other", tags=["elsewhere"])
        for state in (Running(), Completed()):
            client.set_flow_run_state(other.id, state)
    study = write_study(tmp_path, STUDY.replace("study: tiny", "study: elsewhere"))
    done = mixlaw(tmp_path / "home", "status", str(study), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["elsewhere"]
    assert "nothing of this study in" in said[0]
    assert "flow run other: Completed, started 20" in said[1]
    assert remote_status("elsewhere", tmp_path, {}) == ()
    away = remote_status("elsewhere", tmp_path, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    assert "no answer" in away[1]
