"""Runs as flow runs of their own: done by whoever takes them, started again if that dies, never waited for in vain."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.pipeline.workspace import Workspace
from flows.trainers import prefect as spread
from flows.trainers.prefect import FlowRunDied, PrefectTrainer, cancel_started_by
from mixing.errors import MixlawError
from proxies.runs import store as runs
from proxies.spec import ProxySpec
from tests.conftest import Finished
from tests.scenarios.tiny_study import environment, mixlaw, write_study


@pytest.fixture
def client(prefect_server: None) -> Iterator[Any]:
    """A client of the session's server, in whose context Prefect was perhaps imported too early."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings({PREFECT_API_URL: os.environ["PREFECT_API_URL"]}),
        get_client(sync_client=True) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def deployed(finished: Finished) -> None:
    """The study deployed to a pool that has no worker."""
    done = mixlaw(finished.home, "deploy", str(finished.study), "--spread", "1", "--pool", "nobody")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def workspace(finished: Finished, deployed: None, client: Any, tmp_path: Path) -> Workspace:
    """A copy of the finished study."""
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    return Workspace.load(tmp_path / "copy" / "study.yaml", tmp_path / "copy" / "home")


def a_proxy(workspace: Workspace) -> ProxySpec:
    """A run of the study whose results are taken away."""
    ids = json.loads((workspace.folder.runs / "answered.json").read_text())["runs"]
    spec = runs.read_spec(workspace.folder.runs / ids[-1])
    (workspace.folder.runs / spec.run_id).rename(workspace.folder.path / "before")
    return spec


def trainer(workspace: Workspace, said: list[str], parent: str = "flow-run") -> PrefectTrainer:
    return PrefectTrainer(workspace, parent, SimpleNamespace(say=said.append))  # type: ignore[arg-type]


def meanwhile(client: Any, parent: str, act: Callable[[Any, Any], None]) -> threading.Thread:
    """Do something to the flow run that the trainer submits, from another thread, as a worker would."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

    wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[spread.started_by_tag(parent)]))
    url = os.environ["PREFECT_API_URL"]

    def watch() -> None:
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as own:
            for _ in range(300):
                if found := own.read_flow_runs(flow_run_filter=wanted):
                    act(own, found[0])
                    return
                time.sleep(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def set_state(client: Any, run: Any, name: str) -> None:
    from prefect.client.schemas.objects import State, StateType

    client.set_flow_run_state(run.id, State(type=StateType(name.upper()), name=name), force=True)


def test_without_a_worker_it_is_trained_here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "PATIENCE", 0.5)
    spec, said, seen = a_proxy(workspace), [], []
    weights = workspace.folder.runs / str(spec.base) / "weights.pt"
    trainer(workspace, said, "alone")("a proxy", spec, weights, seen.append, False)
    assert "no worker of pool nobody has taken it" in said[0]
    again = (workspace.folder.runs / spec.run_id / "losses.parquet").read_bytes()
    assert again == (workspace.folder.path / "before" / "losses.parquet").read_bytes()
    assert seen[-1].tokens == spec.tokens
    # The next one does not wait a minute again; a worker that comes is waited for as before.
    own = trainer(workspace, said, "alone again")
    assert own._patience == spread.PATIENCE
    shutil.rmtree(workspace.folder.runs / spec.run_id)
    own("a proxy", spec, weights, seen.append, False)
    assert own._patience == spread.SHORT
    said.pop()
    # What is done is not submitted.
    trainer(workspace, said, "again")("a proxy", spec, weights, seen.append, False)
    assert len(said) == 1


def test_done_elsewhere_is_done(workspace: Workspace, client: Any) -> None:
    spec = a_proxy(workspace)

    def work(_: Any, run: Any) -> None:
        assert run.parameters["run"] == spec.run_id
        assert run.parameters["study"] == "tiny"
        shutil.rmtree(workspace.folder.runs / spec.run_id)
        (workspace.folder.path / "before").rename(workspace.folder.runs / spec.run_id)

    worker = meanwhile(client, "elsewhere", work)
    trainer(workspace, [], "elsewhere")("a proxy", spec, None, lambda at: None, False)
    worker.join()
    assert runs.done(workspace.folder.runs / spec.run_id) is not None


@pytest.mark.parametrize("ending", ["Crashed", "Completed"])
def test_a_flow_run_that_ends_without_its_run_is_tried_again(
    workspace: Workspace, client: Any, ending: str
) -> None:
    spec, parent = a_proxy(workspace), f"dies-{ending}"
    worker = meanwhile(client, parent, lambda own, run: set_state(own, run, ending))
    with pytest.raises(FlowRunDied, match=ending) as caught:
        trainer(workspace, [], parent)("a proxy", spec, None, lambda at: None, False)
    worker.join()
    assert caught.value.process_died


def test_a_cancelled_run_is_not(workspace: Workspace, client: Any) -> None:
    spec = a_proxy(workspace)
    worker = meanwhile(client, "stops", lambda own, run: cancel_started_by("stops"))
    with pytest.raises(MixlawError, match="was cancelled") as caught:
        trainer(workspace, [], "stops")("a proxy", spec, None, lambda at: None, False)
    worker.join()
    assert not getattr(caught.value, "process_died", False)


def test_a_silent_flow_run_is_dead(
    workspace: Workspace, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "SILENCE", 1.0)
    spec = a_proxy(workspace)
    worker = meanwhile(client, "silent", lambda own, run: set_state(own, run, "Running"))
    with pytest.raises(FlowRunDied, match="its process is gone"):
        trainer(workspace, [], "silent")("a proxy", spec, None, lambda at: None, False)
    worker.join()


def test_why_a_run_failed_comes_through(workspace: Workspace, client: Any) -> None:
    spec = a_proxy(workspace)

    def fail(own: Any, run: Any) -> None:
        folder = workspace.folder.runs / spec.run_id
        runs.record_failure(folder, spec, runs.Failure("divergence", "the loss is not a number", "Lower it"))
        set_state(own, run, "Failed")

    worker = meanwhile(client, "diverges", fail)
    with pytest.raises(MixlawError, match="the loss is not a number"):
        trainer(workspace, [], "diverges")("a proxy", spec, None, lambda at: None, False)
    worker.join()


@pytest.mark.slow
def test_two_workers_share_a_swarm(finished: Finished, client: Any, tmp_path: Path) -> None:
    """A study deployed with --spread, trained by workers: the runs, and the answer, of one machine."""
    study, home = write_study(tmp_path), tmp_path / "home"
    done = mixlaw(home, "deploy", str(study), "--spread", "2", "--pool", "shared")
    assert done.returncode == 0, done.stderr
    variables = environment(home)
    start = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "shared"]
    workers = []
    try:
        for name in ("one", "two"):
            with open(tmp_path / f"{name}.log", "wb") as log:
                workers.append(
                    subprocess.Popen(
                        [*start, "--name", name],
                        env=variables,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        run = [sys.executable, "-m", "prefect", "deployment", "run", "mixlaw study/tiny", "--watch"]
        ended = subprocess.run(run, env=variables, capture_output=True, text=True, timeout=280)
        assert "Completed" in ended.stdout, ended.stdout + (tmp_path / "one.log").read_text()
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(timeout=60)
    names = sorted(path.name for path in (home / "tiny" / "runs").iterdir() if path.is_dir())
    assert names == sorted(path.name for path in (finished.folder / "runs").iterdir() if path.is_dir())
    mine, theirs = (
        json.loads((folder / "decision.json").read_text()) for folder in (home / "tiny", finished.folder)
    )
    assert mine["critical_ratio"] == pytest.approx(theirs["critical_ratio"], abs=1e-3)
    logs = [(tmp_path / f"{name}.log").read_text() for name in ("one", "two")]
    assert all("submitting flow run" in log for log in logs)


def test_a_flow_run_whose_wait_has_ended_keeps_no_worker_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen running once, then done or failed between two looks: others may still find that no worker is there."""
    monkeypatch.setattr("prefect.deployments.run_deployment", lambda *_, **__: SimpleNamespace(id="flow-run"))
    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda **_: nullcontext())
    monkeypatch.setattr("proxies.runs.store.write_spec", lambda *_: None)
    monkeypatch.setattr("proxies.runs.store.check_done", lambda *_: None)
    folder = SimpleNamespace(runs=tmp_path, path=tmp_path)
    workspace = SimpleNamespace(study=SimpleNamespace(study="tiny"), folder=folder, base_checkpoint=None)
    spreading = PrefectTrainer(workspace, "parent", SimpleNamespace())  # type: ignore[arg-type]
    spec = SimpleNamespace(run_id="0" * 16, adopted=False)

    def seen_then(ended: Exception | None) -> None:
        def wait(*_: object) -> bool:
            spreading._taken.add("flow-run")  # type: ignore[arg-type]
            if ended is not None:
                raise ended
            return True

        monkeypatch.setattr(spreading, "_wait", wait)

    seen_then(None)
    spreading("proxy", spec, None, lambda _: None, False)  # type: ignore[arg-type]
    assert not spreading._taken
    seen_then(RuntimeError("died"))
    with pytest.raises(RuntimeError):
        spreading("proxy", spec, None, lambda _: None, False)  # type: ignore[arg-type]
    assert not spreading._taken
