"""`mixlaw run`: the flow `mixlaw study` called in this process, with an embedded Prefect where no server is named."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.orchestration import server as prefect_server
from flows.orchestration.context import FlowContext, started_with
from flows.pipeline.refusals import check_study
from flows.pipeline.workspace import Workspace
from flows.reports.progress import Board, board
from flows.reports.study import run_command
from flows.settings import logging as log
from flows.settings.environment import set_defaults, tracking_uri
from flows.settings.locks import check_free
from flows.trainers.base import check_runner
from mixing.errors import MixlawError

if TYPE_CHECKING:
    from flows.pipeline.result import StudyResult


def run_study(study_file: Path, root: Path | None, workers: int | None = None, note: str = "") -> StudyResult:
    """Run a study in the home `root` (None: its own), or resume it. `note` says what made it run, if not its user.

    Raises InputError for a bad study or bad text, MixlawError where the study is running already or a task
    failed. Where MLflow did not take the results the result says so; the next run sends them.
    """
    workspace = Workspace.open(study_file, root)
    root = workspace.root
    check_free(workspace.folder)
    # What is wrong is noticed now, not when the first run is trained.
    check_study(workspace)
    check_runner(workspace.study.runner)
    set_defaults(root)
    wait_for_prefect = prefect_server.start(root)
    with board() as progress:
        row = progress.row("starting Prefect")
        _prepare_meanwhile(workspace)
        log.to_files(workspace.folder.path, workspace.study.study, terminal=False)
        wait_for_prefect()
        row.finish()
        return _call_flow(workspace, progress, workers, note)


def _call_flow(workspace: Workspace, progress: Board, workers: int | None, note: str) -> StudyResult:
    from prefect import tags

    from flows.orchestration.flow_run import flow_run_tags
    from flows.study_flow import study_flow

    @contextmanager
    def guard(flow_run: str) -> Iterator[None]:
        with _interruptible(progress, workspace, flow_run):
            yield

    context = FlowContext(workspace.root, progress, note, guard)
    with started_with(context), tags(*flow_run_tags(workspace)), prefect_server.errors(workspace.root):
        try:
            state: Any = study_flow(str(workspace.study.file), workers, return_state=True)
            state.result()
        except MixlawError as error:
            # The answer stands; whoever called shows it before the error.
            if context.result is None or context.result.unpublished is not error:
                raise
    assert context.result is not None
    return context.result


def _prepare_meanwhile(workspace: Workspace) -> None:
    """What takes seconds and needs no Prefect server, done while it starts on another core."""
    import mlflow  # noqa: F401

    from flows.tracking.client import Tracker

    uri = tracking_uri(workspace.root)
    if uri.startswith("sqlite:"):
        # The first use creates the database. What is wrong with it is said when it is needed.
        with suppress(MixlawError):
            Tracker(uri, workspace.root, workspace.study.study)


@contextmanager
def _interruptible(progress: Board, workspace: Workspace, flow_run: str) -> Iterator[None]:
    """End at once on Ctrl-C or SIGTERM: finished work is in the run store, so nothing needs tidying.

    Workers and the embedded server watch this process, and end with it.
    """
    again = run_command(workspace.root, workspace.study.file)

    def end(number: int, frame: object) -> None:
        progress.close()
        print(
            f"mixlaw: interrupted; finished runs are kept: run again to resume ({again})",
            file=sys.stderr,
            flush=True,
        )
        _tell_prefect(flow_run)
        os._exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_prefect(flow_run: str) -> None:
    """Mark the flow run cancelled if Prefect answers within a moment; else the next start marks it crashed."""

    def tell() -> None:
        from prefect.client.orchestration import get_client
        from prefect.states import Cancelled

        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(flow_run), Cancelled(message="Interrupted"), force=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    thread.join(timeout=2)
