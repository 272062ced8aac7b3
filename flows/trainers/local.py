"""Runs trained in worker processes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.pipeline.workspace import Workspace
from flows.settings.environment import device, proxy_slots
from flows.trainers.base import Setting
from proxies.runs.launch import launch

if TYPE_CHECKING:
    from proxies.progress import Report
    from proxies.spec import ProxySpec


class LocalTrainer:
    """A worker process per run: on one thread next to others, on all cores alone (a `flows.trainers.base.Trainer`)."""

    def __init__(self, workspace: Workspace, at_once: int) -> None:
        self.workspace, self.at_once = workspace, at_once

    def __call__(self, name: str, spec: ProxySpec, weights: Path | None, report: Report, alone: bool) -> None:
        launch(
            spec,
            self.workspace.folder.runs,
            self.workspace.folder.tokens,
            weights,
            threads=self.at_once if alone else 1,
            on_progress=report,
            device=device(),
            slots=proxy_slots(self.workspace.root),
        )


@contextmanager
def open_local(setting: Setting) -> Iterator[LocalTrainer]:
    yield LocalTrainer(setting.workspace, setting.workers)
