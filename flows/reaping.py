"""Flow runs that Prefect still shows as running although their process is gone."""

from __future__ import annotations

from uuid import UUID

MESSAGE = "The process of this run is gone; the study was started again and resumes what it had finished."


def study_tag(folder: object) -> str:
    """The tag by which the flow runs of one study folder are found again."""
    return f"mixlaw-study:{folder}"


def reap(tag: str, own: UUID | None = None) -> int:
    """Mark the open flow runs with `tag` (and their tasks) as crashed; returns how many there were.

    Call it only while holding the study's lock: then every other open run of the study is dead.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterId,
        FlowRunFilterState,
        FlowRunFilterStateType,
        FlowRunFilterTags,
        TaskRunFilter,
        TaskRunFilterState,
        TaskRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    # Scheduled runs wait for their time: they are nobody's crash.
    still_open = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    reaped = 0
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                tags=FlowRunFilterTags(all_=[tag]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=still_open)),
            )
        )
        for run in runs:
            if run.id == own:
                continue
            tasks = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
                task_run_filter=TaskRunFilter(
                    state=TaskRunFilterState(type=TaskRunFilterStateType(any_=still_open))
                ),
            )
            for task in tasks:
                client.set_task_run_state(task.id, Crashed(message=MESSAGE), force=True)
            client.set_flow_run_state(run.id, Crashed(message=MESSAGE), force=True)
            reaped += 1
    return reaped
