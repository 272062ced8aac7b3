"""Runs on a Dask or a Ray cluster: those of this machine, byte for byte; and what is said where there is none."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Finished
from tests.scenarios.tiny_study import ROOT, STUDY, mixlaw, write_study


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


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind) for kind in CLUSTERS])
def test_runs_are_those_of_the_local_runner_to_the_byte(
    kind: str, finished: Finished, tmp_path: Path
) -> None:
    """The tokens are there, so that only the runs are trained again: base, proxies and confirmation."""
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    study, home = tmp_path / "copy" / "study.yaml", tmp_path / "copy" / "home"
    shutil.rmtree(home / "tiny" / "runs")
    with CLUSTERS[kind]() as address:
        study.write_text(STUDY + f"runner: {{kind: {kind}, address: '{address}'}}\n")
        done = mixlaw(home, "run", str(study), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"]["trained_now"] == 6
    for path in finished.folder.glob("runs/*/losses.parquet"):
        ours = home / "tiny" / "runs" / path.parent.name / "losses.parquet"
        assert ours.read_bytes() == path.read_bytes(), path.parent.name
    decision = "decision.json"
    assert (home / "tiny" / decision).read_bytes() == (finished.folder / decision).read_bytes()


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


def test_a_scheduler_that_does_not_answer(
    prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    from flows.pipeline.workspace import Workspace
    from flows.trainers import Setting, dask, open_trainer
    from mixing.errors import MixlawError

    monkeypatch.setattr(dask, "CONNECT_TIMEOUT", "1s")
    study = write_study(tmp_path, STUDY + "runner: {kind: dask, address: 'tcp://127.0.0.1:9'}\n")
    setting = Setting(Workspace.load(study, tmp_path), None, 1)  # type: ignore[arg-type]
    with (
        pytest.raises(MixlawError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"),
        open_trainer(setting),
    ):
        pass
