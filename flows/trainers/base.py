"""The protocol of trainers, which train runs into a study's run store."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from flows.pipeline.workspace import Workspace
from mixing.errors import MixlawError

if TYPE_CHECKING:
    from flows.reports.progress import Board
    from flows.study.parts import RunnerPart
    from proxies.progress import Report
    from proxies.spec import ProxySpec


class Trainer(Protocol):
    """Trains runs of one study. The run store is the truth: a run that is done there is not trained again.

    Life cycle: opened by its `Open`, called from up to `at_once` threads, closed when the study has its runs. Where
    a run is trained changes nothing in it: the losses are those of `flows.trainers.local`, to the bit.
    """

    @property
    def at_once(self) -> int:
        """How many runs it trains at the same time."""
        ...

    def __call__(self, name: str, spec: ProxySpec, weights: Path | None, report: Report, alone: bool) -> None:
        """Return once the run of `spec` is done in the run store.

        `name` is for people; `weights` is the file of the base model's (None: from scratch); `report` is called with
        progress, as far as it is known; `alone` says that no other run is trained at the same time. Raises as
        `proxies.runs.launch.launch`: InputError for bad input, MixlawError for a run that failed or diverged. An
        error whose `process_died` is true is worth another try.
        """
        ...


@dataclass(frozen=True)
class Setting:
    """What a trainer may need to know: the study, where progress is shown, and what was asked for.

    `workers` is how many runs train here at the same time, `spread` how many as flow runs of their own; `flow_run`
    is the id of the flow run that trains the study.
    """

    workspace: Workspace
    board: Board
    workers: int
    spread: int = 0
    flow_run: str = ""


Open = Callable[[Setting], AbstractContextManager[Trainer]]
"""Opens a trainer. Raises MixlawError, naming the pip command, where a package that it needs is not installed."""

PACKAGES = {"dask": ("distributed", "Dask"), "ray": ("ray", "Ray")}
"""What a kind of runner needs beside mixlaw: the module, and its name for people."""


ANSWER_WITHIN = 3.0
"""Seconds in which a scheduler takes a connection."""


def check_runner(runner: RunnerPart) -> None:
    """What can be known of a study's runner before any work: its package, and that its scheduler listens.

    Raises MixlawError where the package is not installed, or nothing listens at the address.
    """
    package_of(runner.kind)
    try:
        place = urlsplit(runner.address or "")
        if place.scheme not in ("tcp", "tls", "ray") or place.hostname is None or place.port is None:
            return
        socket.create_connection((place.hostname, place.port), ANSWER_WITHIN).close()
    except (OSError, ValueError) as error:
        raise MixlawError(
            f"runner: {runner.kind}: nothing answers at {runner.address} ({error})",
            "Start the cluster, or correct runner.address",
        ) from None


def package_of(kind: str) -> Any:
    """The module that runners of this kind need, imported; None where they need none.

    Raises MixlawError, naming the pip command, where it is not installed.
    """
    if kind not in PACKAGES:
        return None
    module, title = PACKAGES[kind]
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MixlawError(
            f"runner: {kind}: {title} is not installed here", f"pip install 'mixlaw[{kind}]', on all machines"
        ) from None
