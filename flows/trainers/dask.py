"""Runs trained on a Dask cluster: `runner: {kind: dask, address: tcp://scheduler:8786}`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.trainers.base import Setting, package_of
from flows.trainers.cluster import TRIES, ClusterRun, WorkerLost, follow, train
from mixing.errors import MixlawError
from proxies.runs import store

if TYPE_CHECKING:
    from flows.pipeline.workspace import Workspace
    from proxies.progress import Report
    from proxies.spec import ProxySpec

CONNECT_TIMEOUT = "20s"


class DaskTrainer:
    """A task of the cluster per run (a `flows.trainers.base.Trainer`)."""

    def __init__(self, workspace: Workspace, client: Any) -> None:
        self.workspace, self.client = workspace, client

    @property
    def at_once(self) -> int:
        return max(1, sum(map(int, self.client.nthreads().values())))

    def __call__(self, name: str, spec: ProxySpec, weights: Path | None, report: Report, alone: bool) -> None:
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError  # type: ignore[attr-defined]

        run = ClusterRun.of(self.workspace, spec, weights, alone)
        # Not pure: called again, it must look at the run store again.
        future = self.client.submit(train, run, pure=False, retries=TRIES)
        try:
            follow(run, future.done, report)
            future.result()
        except (KilledWorker, CancelledError, CommClosedError) as error:
            raise WorkerLost(
                f"run {spec.run_id}: the Dask cluster lost it ({type(error).__name__})",
                "Run again: it continues from its last checkpoint",
            ) from error
        finally:
            future.release()
        store.check_done(run.folder)


@contextmanager
def open_dask(setting: Setting) -> Iterator[DaskTrainer]:
    """Connect to the study's scheduler. Raises MixlawError where Dask is not installed, or it does not answer."""
    address = setting.workspace.study.runner.address
    distributed = package_of("dask")
    try:
        client = distributed.Client(address, timeout=CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise MixlawError(
            f"runner: dask: no scheduler answers at {address} ({str(error)[:120]})",
            "Start one (dask scheduler, dask worker ADDRESS), and give its address as runner.address",
        ) from None
    with client:
        if not client.nthreads():
            raise MixlawError(
                f"runner: dask: the scheduler at {address} has no workers",
                f"Start some: dask worker {address}",
            )
        yield DaskTrainer(setting.workspace, client)
