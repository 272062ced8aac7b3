"""What the study's flows share: the workspace, holding the study, training and deciding, the final state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_run_logger, tags
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.orchestration.context import FlowContext, RunLogBoard, starter
from flows.orchestration.crashed_runs import mark_crashed, study_tag
from flows.orchestration.events import emitting_failures
from flows.orchestration.study_tasks import StudyTasks
from flows.pipeline.refusals import check_study
from flows.pipeline.result import StudyResult
from flows.pipeline.workspace import Workspace
from flows.settings import home
from flows.settings import logging as log
from flows.settings.environment import set_defaults
from flows.settings.locks import AlreadyRunning, exclusive
from flows.study.loading import load_study
from flows.trainers import Setting
from flows.trainers.prefect import cancel_started_by
from mixing.decision.wording import answer_line
from mixing.errors import InputError, MixlawError

SKIPPED = "Skipped"
"""Name of the state of a flow run that found the study running already."""
NOT_YET = "Not yet"
"""Name of the state of a flow run whose runs cannot support an answer."""


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def worker_home() -> Path:
    """`MIXLAW_HOME` of a worker. Raises InputError where it is not set: a worker starts in a folder of its own."""
    if not os.environ.get("MIXLAW_HOME"):
        raise InputError(
            "MIXLAW_HOME is not set for this flow run",
            "Set it in the deployment's job variables (env), as `mixlaw deploy` does, or where the worker starts",
        )
    root = home.home()
    set_defaults(root)
    return root


def name_by_study() -> str:
    """The name of a flow run: what the study file calls itself, or its file name where it cannot be read."""
    path = Path(flow_run.parameters.get("study_file", "study.yaml"))
    try:
        return load_study(path).study
    except MixlawError:
        return path.stem


def cancel_proxies(flow: Any, flow_run: Any, state: Any) -> None:
    """For `on_cancellation`: the flow runs that the study has started are cancelled with it."""
    cancel_started_by(str(flow_run.id))


@contextmanager
def held_study(study_file: str) -> Iterator[tuple[Workspace, FlowContext] | State[Any]]:
    """Open the study and hold it; or, in a worker, the final state that says who holds it already.

    Closes in Prefect what a killed flow run of the study left open. Raises InputError for a bad study, or a path
    that is not absolute, and AlreadyRunning where it was started here, not by a worker.
    """
    context = starter()
    root = worker_home() if context is None else context.root
    if not Path(study_file).is_absolute():
        raise InputError(f"{study_file}: not an absolute path", "A worker starts in a folder of its own")
    workspace = Workspace.open(study_file, root)
    check_study(workspace)
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(workspace.folder))
        except AlreadyRunning as running:
            if context is not None:
                raise
            holder = running.holder or "process unknown"
            message = f"{workspace.study.study} is running already ({holder})"
            # Completed: nobody needs to act, and a cancelled flow run would be an error in the worker's log.
            yield Completed(name=SKIPPED, message=message)
            return
        if context is None:
            log.to_files(workspace.folder.path, workspace.study.study, terminal=True)
            context = FlowContext(root, RunLogBoard(get_run_logger()))
        log.of_flow_run(flow_run.id)
        stack.enter_context(context.guard(str(flow_run.id)))
        stack.enter_context(tags(*flow_run_tags(workspace)))
        _tag(*flow_run_tags(workspace))
        mark_crashed(workspace.folder.path, own=UUID(flow_run.id))
        yield workspace, context


def flow_run_tags(workspace: Workspace) -> tuple[str, str]:
    """The tags by which the flow runs of a study are found."""
    return study_tag(workspace.folder.path), workspace.study.study


def _tag(*needed: str) -> None:
    """Give this flow run the tags that it lacks, whoever wrote its deployment."""
    from prefect.client.orchestration import get_client

    present = set(flow_run.tags)
    if not present.issuperset(needed):
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(flow_run.id), tags=sorted(present.union(needed)))


def train_and_decide(
    workspace: Workspace, context: FlowContext, workers: int | None, spread: int, gain: float
) -> State[Any]:
    """Run all tasks of the study; the final state, whose message is the answer in a line.

    Raises as the study's tasks do, and where MLflow did not take the results, which then are in the context too.
    """
    setting = Setting(workspace, context.board, workers or cores(), spread, str(flow_run.id))
    with emitting_failures(workspace):
        result = StudyTasks(setting, gain, context.note).run()
        context.result = result
        if result.unpublished is not None:
            raise result.unpublished
    return answer_state(result)


def answer_state(result: StudyResult) -> State[Any]:
    """The final state of a flow run: the recommended mix and its version in MLflow, or that there is no answer yet."""
    decision = result.analysis.decision
    if not decision.has_answer:
        return Completed(name=NOT_YET, message="These runs cannot support a ratio: see the decision")
    line = answer_line(decision)
    publication = result.publication
    if publication is not None and publication.version is not None:
        line += f"; version {publication.version}"
        line += f" ({publication.alias})" if publication.alias else ""
    return Completed(message=line)
