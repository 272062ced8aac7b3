"""The steps of a study, in order, as tasks of a Prefect flow, and the outcome they end with.

Where runs are trained is chosen by who starts the flow: in worker processes here, or as flow runs of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flows.orchestration.artifacts import show
from flows.pipeline.analysis import (
    answer,
    confirm,
    confirmation_run,
    discard_answer,
    discard_other_answer,
    mix_spec,
)
from flows.pipeline.plan import Plan, make_plan
from flows.pipeline.prepare import Job, base_spec, catalogue, proxy_spec, supply_of, token_store
from flows.pipeline.result import Outcome
from flows.reports.progress import Board
from flows.settings import home
from flows.settings import logging as log
from flows.tracking.promotion import GAIN
from flows.tracking.publish import draw, publish
from mixing.errors import InputError, MixlawError

if TYPE_CHECKING:
    from mixing.spec.model import MixSpec
    from proxies.data.token_store import TokenStore
    from proxies.progress import Report
    from proxies.spec import ProxySpec

T = TypeVar("T")
RETRIES = 2
"""Of a task whose process died; a run that failed by itself (its loss diverged) is not tried again."""


class Trainer(Protocol):
    """Trains a run into the study's run store, or finds it done there.

    `name` is for people; `weights` are the base model's (None: from scratch); `alone` says that no other run is
    trained at the same time. Raises as `proxies.runs.launch.launch`.
    """

    def __call__(
        self, name: str, spec: ProxySpec, weights: Path | None, report: Report, alone: bool
    ) -> None: ...


def train_here(job: Job, cores: int) -> Trainer:
    """In a worker process on this machine: on one thread next to others, on all cores alone."""

    def train(name: str, spec: ProxySpec, weights: Path | None, report: Report, alone: bool) -> None:
        from proxies.runs.launch import launch

        launch(
            spec,
            job.folder.runs,
            job.folder.tokens,
            weights,
            threads=cores if alone else 1,
            on_progress=report,
            device=home.device(),
            slots=home.proxy_slots(job.root),
        )

    return train


class Steps:
    """The steps of one flow run, in order; each is a Prefect task with a name for people."""

    def __init__(
        self,
        job: Job,
        shown: Board,
        workers: int,
        train: Trainer | None = None,
        gain: float = GAIN,
        note: str = "",
    ) -> None:
        self.job, self.shown, self.workers = job, shown, workers
        self.gain, self.note = gain, note
        self.train = train or train_here(job, workers)
        self.trained = 0
        self._lock = threading.Lock()

    def all(self) -> Outcome:
        job = self.job
        catalog = self._bar("catalogue", lambda report: catalogue(job, report))
        store = self._bar("tokens", lambda report: token_store(job, catalog, report))
        plan = make_plan(job.study, supply_of(store))
        self._check(plan, store)
        base = self._base(plan, store)
        names, failures, failed = self._swarm(plan, store, base)
        given = self._task("fit and decide", lambda: answer(job, store, [base, *names]))
        outcome = Outcome(
            job,
            plan,
            store,
            {base: "base", **names},
            given,
            base,
            failures=failures,
            failed_runs=failed,
            note=self.note,
        )
        if given.decision.status == "decided":
            self._confirm(outcome, base)
            if outcome.confirmation is None:
                discard_answer(job)
            outcome.spec = self._task("mix spec", lambda: self._spec(outcome))
        else:
            discard_answer(job)
        outcome.trained = self.trained
        figures = self._task("figures", lambda: draw(outcome))
        try:
            outcome.publication = self._task(
                "publish to MLflow", lambda: publish(outcome, figures, self.gain)
            )
        except MixlawError as error:
            # The answer stands; whoever called shows it before the error.
            outcome.unpublished = error
        show(outcome, figures)
        return outcome

    def _task(self, name: str, work: Callable[[], T], retries: int = 0) -> T:
        """Run `work` as a Prefect task; its own error comes through."""
        with log.step(name):
            result: T = _step(name, retries)(work)
        return result

    def _bar(self, name: str, work: Callable[[Callable[[float, float], None]], T]) -> T:
        row = self.shown.row(name)
        result = self._task(name, lambda: work(lambda done, total: row.set(done, total)))
        row.finish()
        return result

    def _check(self, plan: Plan, store: TokenStore) -> None:
        """Refuse runs that cannot be trained before any is trained."""
        from proxies.data.sampler import check_epochs

        context = self.job.study.model.context
        windows = {name: domain.train.n_windows(context) for name, domain in store.domains.items()}
        for planned in plan.runs:
            if planned.kind == "base":
                check_epochs(base_spec(self.job, store, planned), windows)
            elif planned.kind == "proxy":
                check_epochs(proxy_spec(self.job, store, planned, "0" * 16), windows)

    def _base(self, plan: Plan, store: TokenStore) -> str:
        planned = next(iter(plan.of_kind("base")), None)
        spec = base_spec(self.job, store, planned)
        row = self.shown.row("base model", spec.tokens or None)

        def work() -> None:
            self._launch("base", spec, self.job.base_checkpoint, lambda at: row.set(at.tokens), alone=True)

        self._task("base", work, RETRIES)
        row.finish()
        return spec.run_id

    def _swarm(self, plan: Plan, store: TokenStore, base: str) -> tuple[dict[str, str], ...]:
        """Train the candidates, `workers` at a time.

        Returns finished run ids to names, names of failed runs to reasons, and those to ids.
        """
        from prefect.task_runners import ThreadPoolTaskRunner

        planned = plan.of_kind("proxy")
        specs = {run.name: proxy_spec(self.job, store, run, base) for run in planned}
        weights = self.job.folder.runs / base / "weights.pt"
        row = self.shown.row(f"{len(specs)} proxies", sum(spec.tokens for spec in specs.values()))
        tokens = dict.fromkeys(specs, 0)
        finished: list[str] = []

        def report(name: str, at: Any) -> None:
            with self._lock:
                tokens[name] = at.tokens
                row.set(sum(tokens.values()), note=f"{len(finished)} of {len(specs)} done")

        def work(name: str) -> str:
            self._launch(name, specs[name], weights, lambda at: report(name, at))
            with self._lock:
                tokens[name] = specs[name].tokens
                finished.append(name)
                row.set(sum(tokens.values()), note=f"{len(finished)} of {len(specs)} done")
            return name

        with ThreadPoolTaskRunner(max_workers=self.workers) as runner:
            futures = {
                name: runner.submit(_step(name, RETRIES), {"function": lambda name=name: work(name)})
                for name in specs
            }
            for future in futures.values():
                future.wait()
        done: dict[str, str] = {}
        failures: dict[str, str] = {}
        others: list[BaseException] = []
        for name, future in futures.items():
            result = future.result(raise_on_failure=False)
            if not isinstance(result, BaseException):
                done[specs[name].run_id] = name
            elif self._diverged(specs[name]):
                failures[name] = str(result)
            else:
                others.append(result)
        row.finish(f"{len(done)} of {len(specs)} done")
        if others:
            # Another start may train them: deciding without them would be another answer.
            raise others[0]
        for name, reason in failures.items():
            self.shown.say(f"failed: {name}: {reason}")
        if not done:
            raise MixlawError(
                f"all {len(specs)} proxies diverged; the first: {next(iter(failures.values()))}",
                "Lower proxies.learning_rate in the study file",
            )
        return done, failures, {name: specs[name].run_id for name in failures}

    def _diverged(self, spec: ProxySpec) -> bool:
        """Whether a run failed by itself, and would again."""
        from proxies.runs.store import read_failure

        found = read_failure(self.job.folder.runs / spec.run_id)
        return found is not None and found.kind == "divergence"

    def _confirm(self, outcome: Outcome, base: str) -> None:
        from proxies.data.sampler import check_epochs

        planned = confirmation_run(self.job, supply_of(outcome.store), outcome.given.decision, outcome.plan)
        if planned is None or planned.target_share is None:
            return
        spec = proxy_spec(self.job, outcome.store, planned, base)
        if spec.run_id in outcome.names:
            seen = outcome.names[spec.run_id]
            self.shown.say(f"no confirmation run: the recommended mix is that of a run of the fit ({seen})")
            return
        windows = {n: d.train.n_windows(spec.context) for n, d in outcome.store.domains.items()}
        try:
            check_epochs(spec, windows)
        except InputError as error:
            self.shown.say(f"no confirmation run: {error}")
            return
        discard_other_answer(self.job, spec.run_id)
        row = self.shown.row(planned.name, spec.tokens)
        weights = self.job.folder.runs / base / "weights.pt"

        def work() -> None:
            self._launch(planned.name, spec, weights, lambda at: row.set(at.tokens), alone=True)

        try:
            self._task(planned.name, work, RETRIES)
        except MixlawError as error:
            if not self._diverged(spec):
                raise
            outcome.failures[planned.name] = str(error)
            outcome.failed_runs[planned.name] = spec.run_id
            row.finish("failed")
            return
        row.finish()
        share = planned.target_share
        outcome.confirmation = confirm(self.job, outcome.given, base, spec.run_id, share)
        outcome.names[spec.run_id] = planned.name

    def _launch(
        self, name: str, spec: ProxySpec, weights: Path | None, report: Report, alone: bool = False
    ) -> None:
        from proxies.runs.store import state

        known = state(self.job.folder.runs / spec.run_id) == "done"
        self.train(name, spec, weights, report, alone)
        if not known:
            with self._lock:
                self.trained += 1

    def _spec(self, outcome: Outcome) -> MixSpec:
        from mixing.spec.yaml_file import save_spec

        spec = mix_spec(self.job, outcome.store, outcome.given, list(outcome.names))
        save_spec(spec, self.job.folder.mixspec)
        return spec


def _step(name: str, retries: int = 0) -> Any:
    """A Prefect task by this name that runs what it is given."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    def work(function: Callable[[], Any]) -> Any:
        return function()

    return task(
        work,
        name=name.split(" ")[0] if name.startswith(("proxy ", "confirmation ")) else name,
        task_run_name=name,
        retries=retries,
        retry_delay_seconds=1,
        retry_condition_fn=_process_died,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def _process_died(task: Any, run: Any, state: Any) -> bool:
    """Whether another try can help: not for bad input, nor for a run that says itself why it failed."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, MixlawError) or getattr(error, "process_died", False)
