"""A study's work as tasks of a Prefect flow, in order. Prefect shows and retries; the run store is the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from flows.orchestration.artifacts import write_artifacts
from flows.orchestration.events import emit_decision
from flows.orchestration.tasks import run_task
from flows.orchestration.training import Training, check_runs, windows
from flows.pipeline.analysis import Recommendation, analyse, recommend
from flows.pipeline.confirmation import (
    Confirmation,
    confirm,
    confirmation_run,
    discard_answer,
    discard_other_answer,
    discard_spec,
)
from flows.pipeline.figures import draw_figures
from flows.pipeline.leakage import leaks
from flows.pipeline.mix_spec import mix_spec
from flows.pipeline.plan import Plan, check_target_run, make_plan
from flows.pipeline.prepare import at_hand, catalogue, supply_of, token_store
from flows.pipeline.result import StudyResult, StudyRun
from flows.pipeline.run_specs import confirmation_spec, proxy_spec
from flows.reports.page import decision_markdown
from flows.tracking.promotion import GAIN
from flows.tracking.publish import publish
from flows.trainers import Setting, open_trainer
from mixing.errors import InputError, MixlawError
from proxies.data.sampler import check_epochs

if TYPE_CHECKING:
    from mixing.decision.result import Decision
    from mixing.spec.model import MixSpec

T = TypeVar("T")


class StudyTasks:
    """The tasks of one flow run. `gain` (nats per token) and `note` are those of the flow's parameters and context."""

    def __init__(self, setting: Setting, gain: float = GAIN, note: str = "") -> None:
        self.setting, self.gain, self.note = setting, gain, note
        self.workspace, self.board = setting.workspace, setting.board

    def run(self) -> StudyResult:
        """From the corpora to the published mix. Where MLflow takes nothing, the result says so.

        Raises InputError and MixlawError as the tasks do.
        """
        with open_trainer(self.setting) as trainer:
            catalog = self._with_bar("catalogue", lambda report: catalogue(self.workspace, report))
            self._with_bar("leakage", lambda report: leaks(self.workspace, report))
            store = self._with_bar("tokens", lambda report: token_store(self.workspace, catalog, report))
            for warning in catalog.warnings():
                self.board.say(f"warning: {warning}")
            check_target_run(self.workspace.study, supply_of(store))
            plan = make_plan(self.workspace.study, supply_of(store), here=at_hand(store))
            check_runs(self.workspace, plan, store)
            training = Training(self.workspace, store, trainer, self.board)
            base = training.base(next(iter(plan.of_kind("base")), None))
            proxies = training.proxies(plan.of_kind("proxy"), base.run)
            fitted = [run.run for run in (base, *proxies) if not run.failure]
            swarm = run_task("decide", lambda: recommend(self.workspace, store, fitted))
            runs = [base, *proxies]
            confirmation = self._confirm(swarm, plan, runs, training)
        known: Decision | None = swarm.decision
        if confirmation is not None:
            # The honest check is over: from here on it is a run like the others.
            fitted, known = [*fitted, confirmation.run], None
        analysis = run_task("fit and decide", lambda: analyse(self.workspace, store, fitted, known))
        result = StudyResult(
            self.workspace,
            plan,
            store,
            runs,
            analysis,
            base.run,
            confirmation=confirmation,
            note=self.note,
        )
        if result.analysis.decision.has_answer:
            result.spec = run_task("mix spec", lambda: self._write_spec(result))
        else:
            discard_spec(self.workspace)
        result.trained = training.trained
        self._publish(result)
        return result

    def _with_bar(self, name: str, work: Callable[[Callable[[float, float], None]], T]) -> T:
        """A task whose progress is a row of the board."""
        row = self.board.row(name)
        value = run_task(name, lambda: work(lambda done, total: row.set(done, total)))
        row.finish()
        return value

    def _confirm(
        self, swarm: Recommendation, plan: Plan, runs: list[StudyRun], training: Training
    ) -> Confirmation | None:
        """Train the confirmation run, which joins `runs`, and hold the decision against it; None where there is none,
        and files of an earlier answer go."""
        run = self._confirmation_run(swarm.decision, plan, runs, training)
        if run is not None:
            runs.append(run)
        if run is None or run.failure or run.target_share is None:
            discard_answer(self.workspace)
            return None
        return confirm(self.workspace, swarm, runs[0].run, run.run, run.target_share)

    def _confirmation_run(
        self, decision: Decision, plan: Plan, runs: list[StudyRun], training: Training
    ) -> StudyRun | None:
        """The trained confirmation run; None where none is needed, or it cannot be trained."""
        store, base = training.store, runs[0].run
        planned = confirmation_run(self.workspace, supply_of(store), decision, plan)
        if planned is None:
            return None
        same_windows = proxy_spec(self.workspace, store, planned, base)
        for run in runs:
            if run.run == same_windows.run_id and not run.failure:
                self.board.say(f"confirmation run skipped: run {run.name} already trained this mix")
                return None
        spec = confirmation_spec(self.workspace, store, planned, base)
        try:
            check_epochs(spec, windows(self.workspace, store))
        except InputError as error:
            self.board.say(f"confirmation run skipped: {error}")
            return None
        discard_other_answer(self.workspace, spec.run_id)
        return training.confirmation(planned, spec)

    def _write_spec(self, result: StudyResult) -> MixSpec:
        from mixing.spec.yaml_file import save_spec

        spec = mix_spec(self.workspace, result.store, result.analysis, list(result.names))
        save_spec(spec, self.workspace.folder.mixspec)
        return spec

    def _publish(self, result: StudyResult) -> None:
        """Figures, MLflow, Prefect's page and event. Where MLflow takes nothing, the answer stands all the same."""
        figures = run_task("figures", lambda: draw_figures(result))
        try:
            page = decision_markdown(result)
            result.publication = run_task(
                "publish to MLflow", lambda: publish(result, figures, self.gain, page)
            )
        except MixlawError as error:
            result.unpublished = error
        write_artifacts(result, figures)
        emit_decision(result)
