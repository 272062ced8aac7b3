"""MLflow is a view: rebuilt without duplicates, readable from another process, and never in the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flows.tracking.client import Tracker
from flows.tracking.mix_versions import fetch_spec
from flows.tracking.records import Point, RunRecord, StudyRecord
from mixing.errors import InputError, MixlawError

RUNS = [
    RunRecord(
        run=f"run{i}",
        name=f"proxy target={share:g} seed=0",
        kind="proxy",
        params={"share.docs": 1 - share, "share.code": share, "seed": 0, "depth": 2},
        points=[Point("loss.docs", tokens, 3 + share / tokens) for tokens in (100, 200, 400)],
        finished=1_700_000_000.0 + i,
        seconds=10,
    )
    for i, share in enumerate((0.25, 0.5))
]


def study_record(folder: Path, ratio: float = 0.6) -> tuple[StudyRecord, Path]:
    decision = folder / "decision.json"
    decision.write_text(f'{{"critical_ratio": {ratio}}}')
    spec = folder / "mixspec.yaml"
    spec.write_text(f"mixspec: 1\nratio: {ratio}\n")
    record = StudyRecord(
        name="code",
        identity="abc",
        title=f"code: target share {ratio}",
        params={"tolerance": 0.0},
        metrics={"critical_ratio": ratio},
        note="**0.6**",
        summary=f"target share {ratio}",
        artifacts={"decision.json": decision},
    )
    return record, spec


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `mlflow server` over SQLite on the loopback address."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/m.db",
        "--artifacts-destination",
        str(folder / "a"),
    ]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"{uri}/health", timeout=5):
                    break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(params=["sqlite", "server"])
def uri(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("server" if request.param == "server" else "mlflow_uri"))


def test_publishing_again_changes_nothing(uri: str, tmp_path: Path) -> None:
    study, spec = study_record(tmp_path)
    first = Tracker(uri, tmp_path, "code").publish(study, RUNS, spec, "digest-a")
    tracker = Tracker(uri, tmp_path, "code")
    again = tracker.publish(study, RUNS, spec, "digest-a")
    assert (first.version, first.new_version) == ("1", True)
    assert (again.run, again.version, again.new_version) == (first.run, "1", False)
    runs = tracker._runs()
    assert len(runs) == 1 + len(RUNS)
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == first.run]
    assert {run.data.params["share.code"] for run in children} == {"0.25", "0.5"}
    history = tracker.client.get_metric_history(children[0].info.run_id, "loss.docs")
    assert [metric.step for metric in history] == [100, 200, 400]

    # What was half sent is completed: a child without its digest, as a kill leaves it.
    tracker.client.delete_tag(children[0].info.run_id, "mixlaw.digest")
    tracker.publish(study, RUNS, spec, "digest-a")
    history = tracker.client.get_metric_history(children[0].info.run_id, "loss.docs")
    assert [metric.step for metric in history] == [100, 200, 400]

    # A changed answer is a new version; the old one keeps its own file.
    changed, spec = study_record(tmp_path, 0.7)
    newer = tracker.publish(changed, RUNS, spec, "digest-b")
    assert (newer.version, newer.new_version) == ("2", True)
    assert "0.7" in fetch_spec("models:/code@champion", uri, tmp_path / "new").read_text()
    assert "0.6" in fetch_spec("models:/code/1", uri, tmp_path / "old").read_text()

    parent = tracker.client.get_run(first.run)
    assert parent.data.metrics["critical_ratio"] == 0.7
    assert parent.info.run_name == "code: target share 0.7"
    smaller, _ = study_record(tmp_path, 0.5)
    tracker.publish(smaller, RUNS, spec, "digest-b")
    assert tracker.client.get_run(first.run).data.metrics["critical_ratio"] == 0.5

    # A changed question takes over the proxies it shares with the old one.
    third = tracker.publish(replace(changed, identity="def"), RUNS, spec, "digest-b")
    assert third.run != first.run
    runs = tracker._runs()
    assert len(runs) == 2 + len(RUNS)
    assert sum(run.data.tags.get("mlflow.parentRunId") == third.run for run in runs) == len(RUNS)


def test_champion_from_another_process(mlflow_uri: str, tmp_path: Path) -> None:
    study, spec = study_record(tmp_path)
    Tracker(mlflow_uri, tmp_path, "code").publish(study, RUNS, spec, "digest")
    code = (
        "import mlflow, os; d = mlflow.artifacts.download_artifacts('models:/code@champion');"
        "print(open(os.path.join(d, 'mixspec.yaml')).read())"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_uri}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == spec.read_text() + "\n"


def test_failed_run_is_shown_as_failed(mlflow_uri: str, tmp_path: Path) -> None:
    study, _ = study_record(tmp_path)
    tracker = Tracker(mlflow_uri, tmp_path, "code")
    published = tracker.publish(
        study, [replace(RUNS[0], failure="loss is NaN at step 7", points=[])], None, ""
    )
    assert published.version is None
    child = next(run for run in tracker._runs() if "mixlaw.run" in run.data.tags)
    assert child.info.status == "FAILED"
    assert "NaN" in child.data.tags["mlflow.note.content"]


def test_no_answer_is_one_line_in_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(MixlawError, match=r"MLflow at http://127\.0\.0\.1:9 did not take") as caught:
        Tracker("http://127.0.0.1:9", tmp_path, "code")
    assert time.monotonic() - started < 30
    assert "\n" not in str(caught.value)
    assert "mixlaw run" in caught.value.hint
    assert str(caught.value.message).endswith("did not take the results (Connection refused)")


def test_a_database_whose_making_was_killed_is_made_again(tmp_path: Path) -> None:
    """MLflow takes none that lacks some of its tables, nor can it add them."""
    code = (
        "import os, sys; from pathlib import Path; from sqlalchemy import Engine, event\n"
        "from flows.tracking.client import Tracker\n"
        "@event.listens_for(Engine, 'after_cursor_execute')\n"
        "def die(connection, cursor, statement, *_):\n"
        "    if 'ADD COLUMN step' in statement: os._exit(9)\n"
        "folder = Path(sys.argv[1]); Tracker(f'sqlite:///{folder}/mlflow.db', folder, 'code')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    study, _ = study_record(tmp_path)
    Tracker(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "code").publish(study, RUNS, None, "")
    assert not list(tmp_path.glob(".mlflow.db.partial*"))


def test_a_login_that_may_not_read_a_mix(tmp_path: Path) -> None:
    """MLflow with logins answers so for a mix that does not exist, too."""

    class Handler(BaseHTTPRequestHandler):
        status = 403
        body = b'{"error_code": "PERMISSION_DENIED", "message": "Permission denied"}'

        def do_GET(self) -> None:
            self.send_response(self.status)
            self.end_headers()
            self.wfile.write(self.body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    uri = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(InputError, match="has no such mix, or this login may not read it"):
        fetch_spec("models:/code@champion", uri, tmp_path)
    Handler.status, Handler.body = 401, b"You are not authenticated. Please see the documentation."
    with pytest.raises(MixlawError, match="does not know the login") as caught:
        fetch_spec("models:/code@champion", uri, tmp_path)
    assert "MLFLOW_TRACKING_USERNAME" in caught.value.hint
    with pytest.raises(MixlawError, match=r"\(status 401, it does not know the login\)"):
        Tracker(uri, tmp_path, "code")
    server.shutdown()


def test_a_refusal_is_not_an_outage(mlflow_uri: str, tmp_path: Path) -> None:
    tracker = Tracker(mlflow_uri, tmp_path, "code")
    study, _ = study_record(tmp_path)
    wrong = replace(RUNS[0], params={"share.docs@": 1})
    with pytest.raises(MixlawError, match="refused the results") as caught:
        tracker.publish(study, [wrong], None, "")
    assert "share.docs@" in str(caught.value)
    assert "Waiting will not help" in caught.value.hint
    assert "mixlaw run" in caught.value.hint


def test_no_such_mix(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(InputError, match="no MLflow store"):
        fetch_spec("models:/code@champion", uri, tmp_path)
    assert not (tmp_path / "mlflow.db").exists()
    study, _ = study_record(tmp_path)
    Tracker(uri, tmp_path, "code").publish(study, [], None, "")
    with pytest.raises(InputError, match="no such mix"):
        fetch_spec("models:/code@champion", uri, tmp_path / "x")
