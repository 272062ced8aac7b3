"""A study's runs as flow runs of their own: whichever worker picks one up trains it into the shared run store.

The run store stays the truth. A flow run that ends without its run being done is started again; one that no
worker takes is trained here, so that a study never waits for a worker that is itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.orchestration.crashed_runs import proxies_tag
from flows.pipeline.prepare import Job
from flows.reports.progress import Board
from mixing.errors import InputError, MixlawError

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from proxies.progress import Report
    from proxies.spec import ProxySpec

POLL = 1.0
PATIENCE = 60.0
"""Seconds that a run may wait for a worker while none of the study's runs has one."""
SHORT = 5.0
"""The same once none has come for a run: the study's next ones do not each wait that long again."""
SILENCE = 90.0
"""Seconds after which a flow run that says it is running, but trains nothing, is taken for dead."""
OUTAGE = 600.0
"""Seconds that Prefect's server may be out of reach while the study waits for its runs."""


class FlowRunDied(MixlawError):
    """A flow run ended and its run is not done. Started again, the run continues."""

    process_died = True


def swarm_tag(parent: str) -> str:
    """The tag of the flow runs that one flow run of a study has started."""
    return f"mixlaw-swarm:{parent}"


class Spread:
    """Trains runs by the deployment `mixlaw proxy/STUDY` (a `flows.orchestration.steps.Trainer`)."""

    def __init__(self, job: Job, parent: str, shown: Board) -> None:
        self.job, self.parent, self.shown = job, parent, shown
        self.deployment = f"mixlaw proxy/{job.study.study}"
        self._attempts: Counter[str] = Counter()
        self._taken: set[UUID] = set()
        self._patience = PATIENCE
        self._lock = threading.Lock()

    def __call__(self, name: str, spec: ProxySpec, weights: Path | None, report: Report, alone: bool) -> None:
        from prefect.client.orchestration import get_client
        from prefect.deployments import run_deployment
        from prefect.exceptions import ObjectNotFound

        from proxies.runs import store as runs

        folder = self.job.folder.runs / spec.run_id
        if runs.done(folder) is not None:
            runs.check_done(folder)
            return
        runs.write_spec(folder, spec)
        with self._lock:
            self._attempts[spec.run_id] += 1
            attempt = self._attempts[spec.run_id]
        given = self.job.base_checkpoint if spec.adopted else None
        try:
            flow_run: FlowRun = run_deployment(  # type: ignore[assignment]
                self.deployment,
                parameters={
                    "study": self.job.study.study,
                    "run": spec.run_id,
                    "name": name,
                    "weights": None if given is None else str(given),
                    "alone": alone,
                },
                flow_run_name=name,
                timeout=0,
                tags=[swarm_tag(self.parent), proxies_tag(self.job.folder.path)],
                idempotency_key=f"{self.parent}-{spec.run_id}-{attempt}",
            )
        except ObjectNotFound as error:
            raise InputError(
                f"Prefect has no deployment {self.deployment!r}, which is to train the runs",
                "Deploy the study with --spread, or without spread",
            ) from error
        with get_client(sync_client=True) as client:
            try:
                taken = self._wait(client, flow_run, folder, report)
            finally:
                # However it ended, no worker has it any more: others must not wait for that one's sake.
                with self._lock:
                    self._taken.discard(flow_run.id)
        if not taken:
            from flows.orchestration.steps import train_here

            train_here(self.job, len(os.sched_getaffinity(0)))(name, spec, weights, report, alone)
        runs.check_done(folder)

    def _wait(self, client: SyncPrefectClient, flow_run: FlowRun, folder: Path, report: Report) -> bool:
        """Wait until the run is done. False: no worker took it, and none will.

        Raises as the run failed, FlowRunDied where the flow run ended without a word.
        """
        from proxies.runs import claims
        from proxies.runs import store as runs

        submitted = heard = time.monotonic()
        while True:
            if runs.done(folder) is not None:
                return True
            found = _ask(client, flow_run.id)
            state = found.state
            assert state is not None
            now = time.monotonic()
            worker = claims.holder(folder / runs.LOCK)
            if worker is not None:
                heard = now
                if worker.progress is not None:
                    report(worker.progress)
            with self._lock:
                if state.is_running() or state.is_pending():
                    self._taken.add(flow_run.id)
                    self._patience = PATIENCE
                elif state.is_final():
                    self._taken.discard(flow_run.id)
                idle, patience = not self._taken, self._patience
            if state.is_final():
                if runs.done(folder) is not None:
                    return True
                # Another flow run (of an earlier start of the study) may be at it.
                if worker is None:
                    raise self._reason(state, folder)
            elif state.is_running() and now - heard > SILENCE:
                _end(client, flow_run.id, "Crashed", "Its process is gone.")
                raise FlowRunDied(f"flow run {found.name}: its process is gone", "It is started again")
            elif state.is_scheduled() and state.name != "AwaitingConcurrencySlot":
                heard = now
                if idle and now - submitted > patience:
                    return self._no_worker(client, found, submitted)
            elif not state.is_running():
                heard = now
            time.sleep(POLL)

    def _no_worker(self, client: SyncPrefectClient, found: FlowRun, submitted: float) -> bool:
        with self._lock:
            self._patience = SHORT
        pool = found.work_pool_name
        self.shown.say(
            f"{found.name}: no worker of pool {pool} has taken it in {time.monotonic() - submitted:.0f} s; "
            f"trained here. More workers: prefect worker start --pool {pool}"
        )
        _end(client, found.id, "Cancelled", "No worker took it; the study's own trains it.")
        return False

    def _reason(self, state: Any, folder: Path) -> MixlawError:
        from proxies.runs import store as runs

        failure = runs.read_failure(folder)
        if failure is not None:
            kind = InputError if failure.kind == "input" else MixlawError
            return kind(failure.reason, failure.hint)
        if state.is_cancelled():
            return MixlawError(
                f"run {folder.name}: its flow run was cancelled", "Run the study again to resume"
            )
        return FlowRunDied(
            f"run {folder.name}: its flow run ended ({state.name}: {state.message})",
            "Run the study again: it continues from its last checkpoint",
        )


def _ask(client: SyncPrefectClient, flow_run: UUID) -> FlowRun:
    """The flow run as the server knows it; patient while the server, or its database, is restarted."""
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError

    deadline = time.monotonic() + OUTAGE
    while True:
        try:
            return client.read_flow_run(flow_run)
        except PrefectHTTPStatusError as error:
            if error.response.status_code < 500 or time.monotonic() > deadline:
                raise
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL)


def _end(client: SyncPrefectClient, flow_run: UUID, name: str, message: str) -> None:
    from prefect.client.schemas.objects import State, StateType

    state: State[Any] = State(type=StateType(name.upper()), name=name, message=message)
    client.set_flow_run_state(flow_run, state, force=True)


def cancel_swarm(parent: str) -> int:
    """Cancel the open flow runs that a flow run of a study has started; returns how many there were."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
    from prefect.client.schemas.objects import State, StateType

    ended = 0
    with get_client(sync_client=True) as client:
        tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=[swarm_tag(parent)]))
        for run in client.read_flow_runs(flow_run_filter=tagged):
            if run.state is None or run.state.is_final():
                continue
            waiting = run.state.is_scheduled()
            state: State[Any] = State(
                type=StateType.CANCELLED if waiting else StateType.CANCELLING,
                message="The study was cancelled.",
            )
            client.set_flow_run_state(run.id, state, force=waiting)
            ended += 1
    return ended
