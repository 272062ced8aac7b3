"""Runs trained on a Ray cluster: `runner: {kind: ray, address: auto}`."""

from __future__ import annotations

import logging
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


class RayTrainer:
    """A task of the cluster per run (a `flows.trainers.base.Trainer`)."""

    def __init__(self, workspace: Workspace, ray: Any) -> None:
        self.workspace, self.ray = workspace, ray
        self.train = ray.remote(num_cpus=1, max_retries=TRIES)(train)

    @property
    def at_once(self) -> int:
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def __call__(self, name: str, spec: ProxySpec, weights: Path | None, report: Report, alone: bool) -> None:
        run = ClusterRun.of(self.workspace, spec, weights, alone)
        task = self.train.options(name=name).remote(run)
        follow(run, lambda: bool(self.ray.wait([task], timeout=0)[0]), report)
        try:
            self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:
            # Ray wraps what the task raised; ours says in one line what is wrong with the run.
            cause = error.cause
            raise cause if isinstance(cause, MixlawError) else error from None
        except self.ray.exceptions.RayError as error:
            raise WorkerLost(
                f"run {spec.run_id}: the Ray cluster lost it ({type(error).__name__})",
                "Run again: it continues from its last checkpoint",
            ) from error
        store.check_done(run.folder)


@contextmanager
def open_ray(setting: Setting) -> Iterator[RayTrainer]:
    """Join the study's cluster. Raises MixlawError where Ray is not installed, or no cluster answers."""
    address = setting.workspace.study.runner.address
    ray = package_of("ray")
    try:
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        raise MixlawError(
            f"runner: ray: no cluster answers at {address} ({str(error)[:120]})",
            "Start one (ray start --head), and give its address as runner.address",
        ) from None
    try:
        yield RayTrainer(setting.workspace, ray)
    finally:
        ray.shutdown()
