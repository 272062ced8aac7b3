"""The flows that deployments name: `flows.deployed.study`, `.refresh` and `.proxy`.

A worker imports them from the installed package; no code is pulled. What they do is that of `mixlaw run`: the
run store says what is done, so a flow run that was killed is resumed by the next one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import flow, get_run_logger, tags
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.reports.progress import PlainBoard
from flows.settings import home
from flows.settings import logging as log
from mixing.errors import InputError, MixlawError

if TYPE_CHECKING:
    from flows.pipeline.prepare import Job
    from flows.pipeline.result import Outcome
    from proxies.runs.claims import Holder

# Fits are many small solves: a second BLAS thread only waits for the first.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

STUDY, REFRESH, PROXY = "mixlaw study", "mixlaw refresh", "mixlaw proxy"
SKIPPED = "Skipped"
"""Name of the state of a flow run that found the study running already."""


class RunLogBoard(PlainBoard):
    """Progress as lines in the flow run's log."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self.logger = logger

    def write(self, line: str) -> None:
        self.logger.info(line)


def _named_by_study() -> str:
    """`tiny`, as the study file calls itself; its file name where it cannot be read."""
    from flows.study.loading import load_study

    path = Path(flow_run.parameters.get("study_file", "study.yaml"))
    try:
        return load_study(path).study
    except MixlawError:
        return path.stem


def _on_cancelled(flow: Any, flow_run: Any, state: Any) -> None:
    """The runs that the study has spread are cancelled with it."""
    from flows.trainers.prefect import cancel_swarm

    cancel_swarm(str(flow_run.id))


@flow(name=STUDY, flow_run_name=_named_by_study, persist_result=False, on_cancellation=[_on_cancelled])
def study(study_file: str, workers: int | None = None, spread: int = 0, promote_gain: float = 0.01) -> Any:
    """Run a study, resuming what is done: catalogue, tokens, proxies, laws, decision, mix spec, MLflow.

    Args:
        study_file: Absolute path of the study file, as this worker sees it.
        workers: Proxies trained at the same time on this worker (default: one per core).
        spread: Where above 0, runs are flow runs of the deployment `mixlaw proxy`, so many at the same time.
        promote_gain: Nats per token that a new mix must gain to become champion where intervals overlap.
    """
    return _whole_study(_job(study_file), workers, spread, promote_gain)


@flow(name=REFRESH, flow_run_name=_named_by_study, persist_result=False, on_cancellation=[_on_cancelled])
def refresh(
    study_file: str,
    token_change: float = 0.05,
    workers: int | None = None,
    spread: int = 0,
    promote_gain: float = 0.01,
) -> Any:
    """Look at the corpora again; run the study only if a change can move its answer.

    Args:
        study_file: Absolute path of the study file, as this worker sees it.
        token_change: Share of a domain's tokens or documents that may change without any consequence.
        workers: Proxies trained at the same time on this worker (default: one per core).
        spread: Where above 0, runs are flow runs of the deployment `mixlaw proxy`, so many at the same time.
        promote_gain: Nats per token that a new mix must gain to become champion where intervals overlap.
    """
    return _looked_at_again(_job(study_file), token_change, promote_gain, workers, spread)


@flow(name=PROXY, flow_run_name="{name}", persist_result=False)
def proxy(study: str, run: str, name: str, weights: str | None = None, alone: bool = False) -> Any:
    """Train one run of a study into the shared run store.

    Args:
        study: The study's name: its folder in MIXLAW_HOME.
        run: The run's id, whose folder holds its spec.
        name: The run's name, for people.
        weights: File of the base model's weights, if not those of a run of this study.
        alone: Whether the run may use all of the worker's cores.
    """
    from proxies.runs.launch import launch
    from proxies.runs.store import read_spec

    home.set_defaults(_home())
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", study) or not re.fullmatch(r"[0-9a-f]{16}", run):
        raise InputError(
            f"{study}/{run}: not the name of a study and the id of a run", "Start it from a study"
        )
    folder = home.StudyFolder.of(study, _home())
    log.to_files(folder.path, study, terminal=True)
    log.of_flow_run(flow_run.id)
    spec = read_spec(folder.runs / run)
    base = Path(weights) if weights else folder.runs / spec.base / "weights.pt" if spec.base else None
    row = RunLogBoard(get_run_logger()).row(name, spec.tokens or None)
    launch(
        spec,
        folder.runs,
        folder.tokens,
        base,
        threads=_cores() if alone else 1,
        on_progress=lambda at: row.set(at.tokens),
        device=home.device(),
        slots=home.proxy_slots(_home()),
    )
    row.finish()
    return Completed(message=f"run {run} is done")


def _home() -> Path:
    if not os.environ.get("MIXLAW_HOME"):
        raise InputError(
            "MIXLAW_HOME is not set for this flow run",
            "Set it in the deployment's job variables (env), as `mixlaw deploy` does, or where the worker starts",
        )
    return home.home()


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _job(study_file: str) -> Job:
    """The study, as a worker finds it, with the environment set for what is imported later."""
    root = _home()
    home.set_defaults(root)
    from flows.pipeline.prepare import Job

    if not Path(study_file).is_absolute():
        raise InputError(f"{study_file}: not an absolute path", "A worker starts in a folder of its own")
    job = Job.load(study_file, root)
    _ = job.sources
    job.create_folder()
    return job


def _whole_study(job: Job, workers: int | None, spread: int, gain: float) -> State[Any]:
    """All steps; a state whose message is the answer."""
    with _alone(job) as held:
        return _run(job, workers, spread, gain) if held is None else held


def _looked_at_again(
    job: Job, token_change: float, gain: float, workers: int | None, spread: int
) -> State[Any]:
    from flows.orchestration import artifacts as flow_page
    from flows.orchestration.corpus_changes import look

    with _alone(job) as held:
        if held is not None:
            return held
        with flow_page.failures(job):
            found = look(job, token_change)
        get_run_logger().info("%s: %s", job.study.study, found.sentence())
        if found.changed:
            return _run(job, workers, spread, gain, note=found.sentence())
        flow_page.unchanged(job, found.sentence())
        return Completed(name="Unchanged", message=found.sentence())


@contextmanager
def _alone(job: Job) -> Iterator[State[Any] | None]:
    """Hold the study, after closing what a killed flow run left open; or the state that says who holds it."""
    from flows.orchestration.crashed_runs import reap, study_tag

    with ExitStack() as held:
        try:
            held.enter_context(home.exclusive(job.folder))
        except home.AlreadyRunning as running:
            yield skipped(job, running.holder)
            return
        log.to_files(job.folder.path, job.study.study, terminal=True)
        log.of_flow_run(flow_run.id)
        tag = study_tag(job.folder.path)
        held.enter_context(tags(tag))
        _tag(tag, job.study.study)
        reap(job.folder.path, own=UUID(flow_run.id))
        yield None


def _tag(*needed: str) -> None:
    """Give this flow run the tags by which it is found, whoever wrote its deployment."""
    from prefect.client.orchestration import get_client

    known = set(flow_run.tags)
    if not known.issuperset(needed):
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(flow_run.id), tags=sorted(known.union(needed)))


def _run(job: Job, workers: int | None, spread: int, gain: float, note: str = "") -> State[Any]:
    from flows.orchestration.artifacts import failures
    from flows.orchestration.steps import Steps

    shown = RunLogBoard(get_run_logger())
    with failures(job):
        if spread > 0:
            from flows.trainers.prefect import Spread

            trainer = Spread(job, str(flow_run.id), shown)
            outcome = Steps(job, shown, spread, trainer, gain=gain, note=note).all()
        else:
            outcome = Steps(job, shown, workers or _cores(), gain=gain, note=note).all()
        if outcome.unpublished is not None:
            raise outcome.unpublished
    return said(outcome)


def skipped(job: Job, holder: Holder | None) -> State[Any]:
    """Completed: nobody needs to be told, and a cancelled flow run would be an error in the worker's log."""
    who = holder or "process unknown"
    return Completed(name=SKIPPED, message=f"{job.study.study} is running already ({who})")


def said(outcome: Outcome) -> State[Any]:
    """The final state of a flow run, with the answer in a line."""
    from flows.reports.wording import ratio_line, shares

    decision = outcome.given.decision
    if decision.status != "decided":
        return Completed(name="Not yet", message="These runs cannot support a ratio: see the decision")
    text = f"mix: {shares(decision.shares)}; target share {ratio_line(decision)}"
    if outcome.publication is not None and outcome.publication.version is not None:
        text += f"; version {outcome.publication.version}"
        text += f" ({outcome.publication.alias})" if outcome.publication.alias else ""
    return Completed(message=text)
