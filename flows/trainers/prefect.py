"""Runs trained as flow runs of their own: whichever worker picks one up trains it into the shared run store.

The run store stays the truth. A flow run that ends without its run being done is started again; one that no
worker takes is trained here, so that a study never waits for a worker that is itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.pipeline.workspace import Workspace
from flows.reports.progress import Board
from flows.trainers.base import Setting
from flows.trainers.local import LocalTrainer
from mixing.errors import InputError, MixlawError
from proxies.runs import claims
from proxies.runs import store as run_store

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.objects import State as PrefectState

    from proxies.progress import Report
    from proxies.runs.claims import Holder
    from proxies.spec import ProxySpec

AT_ONCE = 4
"""Flow runs that a study with `runner: prefect` has open at the same time, unless `spread` says otherwise."""
POLL = 1.0
"""Seconds between two looks at a flow run."""
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


def started_by_tag(flow_run: str) -> str:
    """The tag of the flow runs that one flow run of a study has started."""
    return f"mixlaw-started-by:{flow_run}"


def proxies_tag(folder: object) -> str:
    """The tag of the flow runs that each train one run of the study in `folder`."""
    return f"mixlaw-proxies:{folder}"


@dataclass
class _Submitted:
    """A flow run that trains one run of the study: when it was submitted, and last seen at work."""

    id: UUID
    folder: Path
    submitted: float
    heard: float


class PrefectTrainer:
    """Trains runs by the deployment `mixlaw proxy/STUDY` (a `flows.trainers.base.Trainer`)."""

    def __init__(self, workspace: Workspace, flow_run: str, board: Board, at_once: int = AT_ONCE) -> None:
        self.workspace, self.flow_run, self.board, self.at_once = workspace, flow_run, board, at_once
        self.deployment = f"mixlaw proxy/{workspace.study.study}"
        self._attempts: Counter[str] = Counter()
        self._taken: set[UUID] = set()
        self._patience = PATIENCE
        self._lock = threading.Lock()

    def __call__(self, name: str, spec: ProxySpec, weights: Path | None, report: Report, alone: bool) -> None:
        from prefect.client.orchestration import get_client

        folder = self.workspace.folder.runs / spec.run_id
        if run_store.done(folder) is not None:
            run_store.check_done(folder)
            return
        run_store.write_spec(folder, spec)
        flow_run = self._submit(name, spec, alone)
        with get_client(sync_client=True) as client:
            try:
                taken = self._wait(client, flow_run, folder, report)
            finally:
                # However it ended, no worker has it any more: others must not wait for that one's sake.
                with self._lock:
                    self._taken.discard(flow_run.id)
        if not taken:
            here = LocalTrainer(self.workspace, len(os.sched_getaffinity(0)))
            here(name, spec, weights, report, alone)
        run_store.check_done(folder)

    def _submit(self, name: str, spec: ProxySpec, alone: bool) -> FlowRun:
        from prefect.deployments import run_deployment
        from prefect.exceptions import ObjectNotFound

        with self._lock:
            self._attempts[spec.run_id] += 1
            attempt = self._attempts[spec.run_id]
        checkpoint = self.workspace.base_checkpoint if spec.adopted else None
        try:
            return run_deployment(  # type: ignore[return-value]
                self.deployment,
                parameters={
                    "study": self.workspace.study.study,
                    "run": spec.run_id,
                    "name": name,
                    "weights": None if checkpoint is None else str(checkpoint),
                    "alone": alone,
                },
                flow_run_name=name,
                timeout=0,
                tags=[started_by_tag(self.flow_run), proxies_tag(self.workspace.folder.path)],
                idempotency_key=f"{self.flow_run}-{spec.run_id}-{attempt}",
            )
        except ObjectNotFound as error:
            raise InputError(
                f"Prefect has no deployment {self.deployment!r}, which is to train the runs",
                "Register it with `mixlaw deploy`: --spread N, or runner: prefect in the study file",
            ) from error

    def _wait(self, client: SyncPrefectClient, flow_run: FlowRun, folder: Path, report: Report) -> bool:
        """Wait until the run is done. False: no worker took it, and none will.

        Raises as the run failed, FlowRunDied where the flow run ended without a word.
        """
        now = time.monotonic()
        waiting = _Submitted(flow_run.id, folder, now, now)
        while True:
            if run_store.done(folder) is not None:
                return True
            current = _read(client, flow_run.id)
            holder = claims.holder(folder / run_store.LOCK)
            if holder is not None and holder.progress is not None:
                report(holder.progress)
            if (taken := self._look(client, current, holder, waiting)) is not None:
                return taken
            time.sleep(POLL)

    def _look(
        self, client: SyncPrefectClient, current: FlowRun, holder: Holder | None, waiting: _Submitted
    ) -> bool | None:
        """Whether the run is done (True), or will be taken by no worker (False); None: go on waiting."""
        state, now = current.state, time.monotonic()
        assert state is not None
        idle, patience = self._note(state, waiting.id)
        if holder is not None:
            waiting.heard = now
        if state.is_final():
            if run_store.done(waiting.folder) is not None:
                return True
            # Another flow run (of an earlier start of the study) may be at it.
            if holder is None:
                raise _reason(state, waiting.folder)
        elif state.is_running():
            if now - waiting.heard > SILENCE:
                _end(client, waiting.id, "Crashed", "Its process is gone.")
                raise FlowRunDied(f"flow run {current.name}: its process is gone", "It is started again")
        else:
            waiting.heard = now
            waits_for_worker = state.is_scheduled() and state.name != "AwaitingConcurrencySlot"
            if waits_for_worker and idle and now - waiting.submitted > patience:
                self._give_up(client, current, now - waiting.submitted)
                return False
        return None

    def _note(self, state: PrefectState[Any], flow_run: UUID) -> tuple[bool, float]:
        """Note whether a worker has the flow run; whether none has any of the study's, and the patience with that."""
        with self._lock:
            if state.is_running() or state.is_pending():
                self._taken.add(flow_run)
                self._patience = PATIENCE
            elif state.is_final():
                self._taken.discard(flow_run)
            return not self._taken, self._patience

    def _give_up(self, client: SyncPrefectClient, flow_run: FlowRun, seconds: float) -> None:
        with self._lock:
            self._patience = SHORT
        pool = flow_run.work_pool_name
        self.board.say(
            f"{flow_run.name}: no worker of pool {pool} has taken it in {seconds:.0f} s; "
            f"trained here. More workers: prefect worker start --pool {pool}"
        )
        _end(client, flow_run.id, "Cancelled", "No worker took it; the study's own trains it.")


@contextmanager
def open_prefect(setting: Setting) -> Iterator[PrefectTrainer]:
    at_once = setting.spread or AT_ONCE
    yield PrefectTrainer(setting.workspace, setting.flow_run, setting.board, at_once)


def _reason(state: PrefectState[Any], folder: Path) -> MixlawError:
    """Why a run is not done although its flow run has ended."""
    failure = run_store.read_failure(folder)
    if failure is not None:
        kind = InputError if failure.kind == "input" else MixlawError
        return kind(failure.reason, failure.hint)
    if state.is_cancelled():
        return MixlawError(f"run {folder.name}: its flow run was cancelled", "Run the study again to resume")
    return FlowRunDied(
        f"run {folder.name}: its flow run ended ({state.name}: {state.message})",
        "Run the study again: it continues from its last checkpoint",
    )


def _read(client: SyncPrefectClient, flow_run: UUID) -> FlowRun:
    """The flow run as the server has it; patient while the server, or its database, is restarted."""
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


def cancel_started_by(flow_run: str) -> int:
    """Cancel the open flow runs that a flow run of a study has started; returns how many there were."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
    from prefect.client.schemas.objects import State, StateType

    cancelled = 0
    with get_client(sync_client=True) as client:
        tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=[started_by_tag(flow_run)]))
        for run in client.read_flow_runs(flow_run_filter=tagged):
            if run.state is None or run.state.is_final():
                continue
            waiting = run.state.is_scheduled()
            state: State[Any] = State(
                type=StateType.CANCELLED if waiting else StateType.CANCELLING,
                message="The study was cancelled.",
            )
            client.set_flow_run_state(run.id, state, force=waiting)
            cancelled += 1
    return cancelled
