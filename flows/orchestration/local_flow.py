"""The study as a Prefect flow: catalogue -> tokens -> base -> swarm -> fit -> decide -> confirm -> publish.

Prefect shows and retries; it decides nothing. What is done is read from the run store, so a run that was
killed at any moment is resumed by running it again.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flows.orchestration import server as prefect_server
from flows.orchestration.steps import Steps
from flows.pipeline.prepare import Job
from flows.pipeline.result import Outcome
from flows.reports.progress import Board, board
from flows.reports.study import run_command
from flows.settings import home
from flows.settings import logging as log
from mixing.errors import MixlawError


def run_study(study_file: Path, root: Path, workers: int | None = None, note: str = "") -> Outcome:
    """Run a study, or resume it, and return its outcome. `note` is what made it run again, if not its user.

    Raises InputError for a bad study or bad text, MixlawError where the study is running already or a step
    failed. Where MLflow did not take the results the outcome says so; the next run sends them.
    """
    job = Job.load(study_file, root)
    _ = job.sources
    job.create_folder()
    running = home.owner(job.folder)
    if running is not None:
        raise home.already_running(job.folder, running)
    # Wrong settings are said now, not when the first run is trained.
    home.device()
    home.proxy_slots(root)
    home.set_defaults(root)
    wait_for_prefect = prefect_server.start(root)
    with board() as shown:
        row = shown.row("starting Prefect")
        _meanwhile(job)
        log.to_files(job.folder.path, job.study.study, terminal=False)
        wait_for_prefect()
        row.finish()
        return _flow(job, shown, workers or len(os.sched_getaffinity(0)), note)


def _flow(job: Job, shown: Board, workers: int, note: str) -> Outcome:
    """Run the flow under the study's lock, after closing what a killed one left open in Prefect."""
    from prefect import flow, tags
    from prefect.runtime import flow_run

    from flows.orchestration.artifacts import failures
    from flows.orchestration.crashed_runs import reap, study_tag

    @flow(name="mixlaw study", flow_run_name=job.study.study, persist_result=False)
    def study_flow(study_file: str, mixlaw_home: str) -> Any:
        log.of_flow_run(flow_run.id)
        with _interruptible(shown, job, str(flow_run.id)):
            reap(job.folder.path, own=_uuid(flow_run.id))
            with failures(job):
                return Steps(job, shown, workers, note=note).all()

    tag = study_tag(job.folder.path)
    with home.exclusive(job.folder), tags(tag, job.study.study), prefect_server.errors(job.root):
        outcome: Outcome = study_flow(str(job.study.file), str(job.root))
    return outcome


def _meanwhile(job: Job) -> None:
    """What takes seconds and needs no Prefect, done while its server starts on another core."""
    import mlflow  # noqa: F401
    import prefect  # noqa: F401

    import mixing.plots.ratio  # noqa: F401
    import proxies.train  # noqa: F401
    from flows.tracking.client import Tracker

    uri = home.tracking_uri(job.root)
    if uri.startswith("sqlite:"):
        # The first use creates the database. Whatever is wrong with it is said when it is needed.
        with suppress(MixlawError):
            Tracker(uri, job.root, job.study.study)


def _uuid(text: str | None) -> Any:
    from uuid import UUID

    return UUID(text) if text else None


@contextmanager
def _interruptible(shown: Board, job: Job, flow_run: str) -> Iterator[None]:
    """End at once on Ctrl-C or SIGTERM: whatever is finished is in the run store, so nothing needs tidying.

    Workers and the embedded server watch this process, and go with it.
    """

    again = run_command(job.root, job.study.file)

    def end(number: int, frame: object) -> None:
        shown.close()
        print(
            f"mixlaw: interrupted; finished runs are kept: run again to resume ({again})",
            file=sys.stderr,
            flush=True,
        )
        _cancelled(flow_run)
        os._exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _cancelled(flow_run: str) -> None:
    """Tell Prefect, if it answers within a moment; else the next start reaps the flow run."""

    def tell() -> None:
        from prefect.client.orchestration import get_client
        from prefect.states import Cancelled

        with get_client(sync_client=True) as client:
            client.set_flow_run_state(_uuid(flow_run), Cancelled(message="Interrupted"), force=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    thread.join(timeout=2)
