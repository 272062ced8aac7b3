"""What Dask and Ray run on their machines: the training of one run, as a plain function of its spec."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.pipeline.workspace import Workspace
from flows.settings.environment import device, proxy_slots
from mixing.errors import MixlawError
from proxies.runs import claims, store
from proxies.runs.launch import launch

if TYPE_CHECKING:
    from proxies.progress import Report
    from proxies.spec import ProxySpec

POLL = 0.5
"""Seconds between two looks at a run that is trained elsewhere."""
TRIES = 3
"""Times that a run is given to the cluster again after its machine was lost; it continues from its checkpoint."""


class WorkerLost(MixlawError):
    """The machine of a run is gone. Started again, the run continues from its checkpoint."""

    process_died = True


@dataclass(frozen=True)
class ClusterRun:
    """One run as it travels to a machine of the cluster, which sees the home under the same path."""

    spec: ProxySpec
    root: Path
    runs: Path
    tokens: Path
    weights: Path | None
    alone: bool

    @classmethod
    def of(cls, workspace: Workspace, spec: ProxySpec, weights: Path | None, alone: bool) -> ClusterRun:
        folder = workspace.folder
        return cls(spec, workspace.root, folder.runs, folder.tokens, weights, alone)

    @property
    def folder(self) -> Path:
        return self.runs / self.spec.run_id


def train(run: ClusterRun) -> None:
    """Train the run in a worker process of the machine that calls this, or find it done there.

    On one thread, or on all cores of that machine where no other run is trained at the same time. Raises
    MixlawError where the home is not there, since all machines must share it; else as `proxies.runs.launch.launch`.
    """
    if not run.tokens.is_dir():
        raise MixlawError(
            f"{run.tokens}: not on this machine of the cluster",
            "MIXLAW_HOME must be a folder that all machines share under one name",
        )
    launch(
        run.spec,
        run.runs,
        run.tokens,
        run.weights,
        threads=len(os.sched_getaffinity(0)) if run.alone else 1,
        device=device(),
        slots=proxy_slots(run.root),
    )


def follow(run: ClusterRun, over: Callable[[], bool], report: Report) -> None:
    """Wait until `over()`, and meanwhile report the progress that the run's claim in the run store tells."""
    while not over():
        holder = claims.holder(run.folder / store.LOCK)
        if holder is not None and holder.progress is not None:
            report(holder.progress)
        time.sleep(POLL)
