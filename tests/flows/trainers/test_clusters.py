"""Runs on a Dask or a Ray cluster: those of this machine, byte for byte; and what is said where there is none."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from flows.cli import main as cli
from flows.pipeline.workspace import Workspace
from flows.study.parts import RunnerPart
from flows.trainers import Setting, dask, open_trainer
from flows.trainers.base import check_runner
from mixing.errors import MixlawError
from proxies.runs import store
from tests.conftest import Finished
from tests.scenarios.tiny_study import ROOT, STUDY, finished_runs, mixlaw, write_study


@contextlib.contextmanager
def dask_cluster() -> Iterator[str]:
    """The address of a scheduler with two workers, each a process."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield str(cluster.scheduler_address)


@contextlib.contextmanager
def ray_cluster() -> Iterator[str]:
    """`local`: Ray starts one for the study, and ends it with it."""
    pytest.importorskip("ray")
    yield "local"


CLUSTERS = {"dask": dask_cluster, "ray": ray_cluster}


@pytest.mark.parametrize("kind", ["dask", pytest.param("ray", marks=pytest.mark.slow)])
def test_runs_are_those_of_the_local_runner_to_the_byte(
    kind: str, finished: Finished, tmp_path: Path
) -> None:
    """All runs of the finished study, trained again by the trainer that its study file names."""
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    study, home = tmp_path / "copy" / "study.yaml", tmp_path / "copy" / "home"
    specs = [store.read_spec(path.parent) for path in (home / "tiny" / "runs").glob("*/spec.json")]
    (base,) = [spec for spec in specs if spec.kind == "base"]
    shutil.rmtree(home / "tiny" / "runs")
    seen: set[str] = set()
    with CLUSTERS[kind]() as address:
        study.write_text(STUDY + f"runner: {{kind: {kind}, address: '{address}'}}\n")
        workspace = Workspace.open(study, home)
        setting = Setting(workspace, board=None, workers=1)  # type: ignore[arg-type]
        with open_trainer(setting) as trainer:
            assert trainer.at_once >= 2
            trainer("base", base, None, lambda at: seen.add(at.run), True)
            weights = workspace.folder.runs / base.run_id / "weights.pt"
            with ThreadPoolExecutor(2) as pool:
                proxies = [spec for spec in specs if spec.kind == "proxy"]
                for future in [
                    pool.submit(trainer, "proxy", spec, weights, lambda at: seen.add(at.run), False)
                    for spec in proxies
                ]:
                    future.result()
            # What is done is not trained again.
            before = finished_runs(home / "tiny")
            trainer("base", base, None, lambda at: None, True)
            assert finished_runs(home / "tiny") == before
    assert len(before) == 6
    # These runs take seconds: progress is told every five.
    assert seen <= {spec.run_id for spec in specs}
    for path in finished.folder.glob("runs/*/losses.parquet"):
        assert (workspace.folder.runs / path.parent.name / path.name).read_bytes() == path.read_bytes()


def test_a_run_that_diverged_says_so_over_the_cluster(finished: Finished, tmp_path: Path) -> None:
    """The error of another machine comes through whole, with its hint."""
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    study, home = tmp_path / "copy" / "study.yaml", tmp_path / "copy" / "home"
    spec = next(
        store.read_spec(path.parent)
        for path in (home / "tiny" / "runs").glob("*/spec.json")
        if '"proxy"' in path.read_text()
    )
    folder = home / "tiny" / "runs" / spec.run_id
    (folder / store.DONE).unlink()
    store.record_failure(folder, spec, store.Failure("divergence", "training loss is nan", "Lower its rate"))
    with dask_cluster() as address:
        study.write_text(STUDY + f"runner: {{kind: dask, address: '{address}'}}\n")
        setting = Setting(Workspace.open(study, home), board=None, workers=1)  # type: ignore[arg-type]
        with (
            open_trainer(setting) as trainer,
            pytest.raises(MixlawError, match="training loss is nan") as caught,
        ):
            trainer("proxy", spec, None, lambda at: None, False)
    assert "Lower its rate" in caught.value.hint
    assert not getattr(caught.value, "process_died", False)


@pytest.mark.parametrize(("kind", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_package_that_is_not_installed(
    kind: str, package: str, prefect_server: None, tmp_path: Path
) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / f"{package}.py").write_text("raise ImportError\n")
    study = write_study(tmp_path, STUDY + f"runner: {{kind: {kind}, address: 'tcp://127.0.0.1:9'}}\n")
    path = f"{tmp_path / 'absent'}:{ROOT}"
    done = mixlaw(tmp_path / "home", "run", str(study), PYTHONPATH=path)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mixlaw: ")]
    assert f"runner: {kind}: " in line
    assert f"pip install 'mixlaw[{kind}]'" in line


def test_plan_and_run_say_at_once_that_no_scheduler_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setenv("MIXLAW_HOME", str(tmp_path / "home"))
    study = write_study(tmp_path, STUDY + "runner: {kind: dask, address: 'tcp://127.0.0.1:9'}\n")
    ended = {}
    for command in (["plan", str(study), "--json"], ["run", str(study)]):
        with pytest.raises(SystemExit) as end:
            cli.main(command)
        ended[command[0]] = end.value.code
    out, err = capsys.readouterr()
    assert ended == {"plan": 0, "run": 1}
    said = "runner: dask: nothing answers at tcp://127.0.0.1:9"
    assert any(warning.startswith(said) for warning in json.loads(out)["warnings"])
    assert said in err


@pytest.mark.parametrize(
    ("kind", "scheme", "package"), [("dask", "tcp", "distributed"), ("ray", "ray", "ray")]
)
def test_an_address_that_listens_passes(kind: Literal["dask", "ray"], scheme: str, package: str) -> None:
    pytest.importorskip(package)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_runner(RunnerPart(kind=kind, address=f"{scheme}://127.0.0.1:{port}"))
    with pytest.raises(MixlawError, match=rf"nothing answers at {scheme}://127\.0\.0\.1:x"):
        check_runner(RunnerPart(kind=kind, address=f"{scheme}://127.0.0.1:x"))


def test_a_scheduler_that_does_not_answer(
    prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(dask, "CONNECT_TIMEOUT", "1s")
    study = write_study(tmp_path, STUDY + "runner: {kind: dask, address: 'tcp://127.0.0.1:9'}\n")
    setting = Setting(Workspace.load(study, tmp_path), None, 1)  # type: ignore[arg-type]
    with (
        pytest.raises(MixlawError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"),
        open_trainer(setting),
    ):
        pass
