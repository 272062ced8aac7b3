"""Training a study's runs as Prefect tasks: the base model, the proxies side by side, the confirmation run."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import Task
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.orchestration.tasks import RETRIES, as_task, run_task
from flows.pipeline.plan import Plan, PlannedRun
from flows.pipeline.result import StudyRun
from flows.pipeline.run_specs import base_spec, proxy_spec
from flows.pipeline.workspace import Workspace
from flows.reports.progress import Board, Row
from flows.trainers import Trainer
from mixing.errors import MixlawError
from proxies.data.sampler import check_epochs
from proxies.runs import store as run_store

if TYPE_CHECKING:
    from proxies.data.token_store import TokenStore
    from proxies.progress import Report
    from proxies.spec import ProxySpec


def check_runs(workspace: Workspace, plan: Plan, store: TokenStore) -> None:
    """Raises InputError for runs that cannot be trained (too little text), before any is trained."""
    for planned in plan.runs:
        if planned.kind == "base":
            check_epochs(base_spec(workspace, store, planned), windows(workspace, store))
        elif planned.kind == "proxy":
            check_epochs(proxy_spec(workspace, store, planned, "0" * 16), windows(workspace, store))


def windows(workspace: Workspace, store: TokenStore) -> dict[str, int]:
    """Training windows of the study's context, by domain."""
    context = workspace.study.model.context
    return {name: domain.train.n_windows(context) for name, domain in store.domains.items()}


@dataclass
class Training:
    """Trains the runs of one flow run by `trainer`; `trained` counts those that were not done before."""

    workspace: Workspace
    store: TokenStore
    trainer: Trainer
    board: Board
    trained: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def base(self, planned: PlannedRun | None) -> StudyRun:
        """Pretrain the base model, or (`planned` None) evaluate the one that the study names."""
        spec = base_spec(self.workspace, self.store, planned)
        self._alone("base", "base", "base model", spec, self.workspace.base_checkpoint)
        return StudyRun(spec.run_id, "base", "base", None if planned is None else planned.target_share)

    def confirmation(self, planned: PlannedRun, spec: ProxySpec) -> StudyRun:
        """Train the confirmation run. One that diverges is over too: its failure says why."""
        run = StudyRun(spec.run_id, planned.kind, planned.name, planned.target_share)
        try:
            self._alone(planned.name, planned.kind, planned.name, spec, self._weights(spec))
        except MixlawError as error:
            if not self._diverged(spec):
                raise
            return StudyRun(spec.run_id, planned.kind, planned.name, planned.target_share, str(error))
        return run

    def proxies(self, planned: tuple[PlannedRun, ...], base: str) -> list[StudyRun]:
        """Train the candidates, as many at the same time as the trainer takes: the finished ones, then the failed.

        Raises MixlawError where all of them diverge, and what a run raises that another start may train: deciding
        without it would be another answer.
        """
        specs = {run.key: proxy_spec(self.workspace, self.store, run, base) for run in planned}
        progress = _Progress(self.board, list(specs.values()))

        def train(run: PlannedRun) -> None:
            spec = specs[run.key]
            self._train(run.name, spec, self._weights(spec), lambda at: progress.at(spec, at.tokens), False)
            progress.done(spec)

        def task_of(run: PlannedRun) -> Task[[], None]:
            return as_task(run.name, lambda: train(run), run.kind, RETRIES)

        with ThreadPoolTaskRunner[None](max_workers=self.trainer.at_once) as runner:
            futures = [runner.submit(task_of(run), {}) for run in planned]
            for future in futures:
                future.wait()
        runs: list[StudyRun] = []
        undone: list[BaseException] = []
        for run, future in zip(planned, futures, strict=True):
            spec, error = specs[run.key], _error_of(future)
            if error is not None and not self._diverged(spec):
                undone.append(error)
            failure = "" if error is None else str(error)
            runs.append(StudyRun(spec.run_id, run.kind, run.name, run.target_share, failure))
        finished = [run for run in runs if not run.failure]
        diverged = [run for run in runs if run.failure]
        progress.finish()
        if undone:
            raise undone[0]
        for study_run in diverged:
            self.board.say(f"failed: {study_run.name}: {study_run.failure}")
        if not finished:
            raise MixlawError(
                f"all {len(specs)} proxies diverged; the first: {diverged[0].failure}",
                "Lower proxies.learning_rate in the study file",
            )
        return finished + diverged

    def _alone(self, name: str, kind: str, label: str, spec: ProxySpec, weights: Path | None) -> None:
        row = self.board.row(label, spec.tokens or None)
        report: Report = lambda at: row.set(at.tokens)  # noqa: E731
        try:
            run_task(name, lambda: self._train(name, spec, weights, report, True), kind, RETRIES)
        except MixlawError:
            if self._diverged(spec):
                row.finish("failed")
            raise
        row.finish()

    def _train(self, name: str, spec: ProxySpec, weights: Path | None, report: Report, alone: bool) -> None:
        done_before = run_store.state(self.workspace.folder.runs / spec.run_id) == "done"
        self.trainer(name, spec, weights, report, alone)
        if not done_before:
            with self._lock:
                self.trained += 1

    def _weights(self, spec: ProxySpec) -> Path:
        return self.workspace.folder.runs / str(spec.base) / "weights.pt"

    def _diverged(self, spec: ProxySpec) -> bool:
        """Whether a run failed by itself, and would again."""
        failure = run_store.read_failure(self.workspace.folder.runs / spec.run_id)
        return failure is not None and failure.kind == "divergence"


def _error_of(future: PrefectFuture[None]) -> BaseException | None:
    error: object = future.result(raise_on_failure=False)
    return error if isinstance(error, BaseException) else None


class _Progress:
    """The proxies' progress as one row: their tokens together, and how many are done. Safe from several threads."""

    def __init__(self, board: Board, specs: list[ProxySpec]) -> None:
        self.tokens = {spec.run_id: 0 for spec in specs}
        self.total, self.finished = len(specs), 0
        self.row: Row = board.row(f"{len(specs)} proxies", sum(spec.tokens for spec in specs))
        self._lock = threading.Lock()

    def at(self, spec: ProxySpec, tokens: int) -> None:
        with self._lock:
            self._show(spec, tokens)

    def done(self, spec: ProxySpec) -> None:
        with self._lock:
            self.finished += 1
            self._show(spec, spec.tokens)

    def finish(self) -> None:
        self.row.finish(self._note())

    def _show(self, spec: ProxySpec, tokens: int) -> None:
        self.tokens[spec.run_id] = tokens
        self.row.set(sum(self.tokens.values()), note=self._note())

    def _note(self) -> str:
        return f"{self.finished} of {self.total} done"
