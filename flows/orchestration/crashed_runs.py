"""Flow runs that Prefect still shows as running although their process is gone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from flows.trainers.prefect import proxies_tag
from proxies.runs import claims
from proxies.runs.store import LOCK

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, StateType

PAGE = 200
MESSAGE = "The process of this run is gone; the study was started again and resumes what it had finished."


def study_tag(folder: object) -> str:
    """The tag by which the flow runs of one study folder are found again."""
    return f"mixlaw-study:{folder}"


def mark_crashed(folder: Path, own: UUID | None = None) -> int:
    """Mark the study's open flow runs (and their tasks) whose process is gone as crashed; returns how many.

    Call it only while holding the study's lock: then every other open flow run of the study `folder` has lost its
    process. So has one that trains a single run, where nobody holds the claim on that run; if it is just starting,
    only its state in Prefect is wrong, since the run store is the truth.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        crashed = [run for run in _open_runs(client, study_tag(folder)) if run.id != own]
        for run in _open_runs(client, proxies_tag(folder)):
            name = str(run.parameters.get("run", ""))
            if claims.holder(folder / "runs" / name / LOCK) is None:
                crashed.append(run)
        for run in crashed:
            _close(client, run.id)
    return len(crashed)


def _open_runs(client: SyncPrefectClient, tag: str) -> list[FlowRun]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        FlowRunFilterTags,
    )

    open_with_tag = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[tag]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_still_open())),
    )
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=open_with_tag, offset=len(runs), limit=PAGE):
        runs += page
    return runs


def _still_open() -> list[StateType]:
    from prefect.client.schemas.objects import StateType

    # Scheduled runs wait for their time: they are nobody's crash.
    return [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


def _close(client: SyncPrefectClient, run: UUID) -> None:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterId,
        TaskRunFilter,
        TaskRunFilterState,
        TaskRunFilterStateType,
    )
    from prefect.states import Crashed

    # What is closed is not found again, so the next page is always the first one.
    while tasks := client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])),
        task_run_filter=TaskRunFilter(
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_still_open()))
        ),
        limit=PAGE,
    ):
        for task in tasks:
            client.set_task_run_state(task.id, Crashed(message=MESSAGE), force=True)
    client.set_flow_run_state(run, Crashed(message=MESSAGE), force=True)
