"""How far a study is, read from its run store by any machine that sees it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from flows.pipeline.confirmation import confirmed_run
from flows.pipeline.plan import Kind, PlannedRun, RunKey, confirmation_name, make_plan
from flows.pipeline.prepare import at_hand, corpus_warnings, supply_of
from flows.pipeline.run_specs import base_spec, proxy_spec
from flows.pipeline.workspace import Workspace
from flows.settings.locks import owner
from mixing.errors import MixlawError
from mixing.runs.readers import ANSWERED
from proxies.runs import claims
from proxies.runs import store as run_store

if TYPE_CHECKING:
    from proxies.runs.claims import Holder

State = Literal["done", "failed", "running", "partial", "left"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class RunStatus:
    """One run; `run` is empty where its identity is not known yet, `note` is a failed run's reason.

    `tokens` of `of` training tokens are done, at `tokens_per_s`; `seconds` is what it has cost so far (of the
    machine it ran on), `eta_s` what it still needs. `where` is the host and process that train it now.
    """

    name: str
    kind: Kind
    target_share: float | None
    seed: int
    run: str
    state: State
    note: str = ""
    tokens: int = 0
    of: int = 0
    tokens_per_s: float | None = None
    seconds: float | None = None
    eta_s: float | None = None
    where: str = ""

    @property
    def key(self) -> RunKey:
        """Which planned run it is."""
        return self.kind, self.target_share if self.kind != "confirmation" else None, self.seed

    @classmethod
    def of_plan(cls, planned: PlannedRun, run: str = "", state: State = "left", of: int = 0) -> RunStatus:
        """A planned run of which nothing is known yet."""
        return cls(planned.name, planned.kind, planned.target_share, planned.seed, run, state, of=of)


@dataclass(frozen=True)
class Status:
    """`owner` runs the study now (None: nobody does). `answer` is decided, bound, not_yet, earlier (there is one,
    of other runs than the study now has), or empty. `elsewhere` is what Prefect and MLflow say where the home holds
    nothing of the study; `warnings` tell what of its corpora is left out.
    """

    study: str
    owner: Holder | None
    runs: tuple[RunStatus, ...]
    answer: str
    elsewhere: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def count(self, state: State) -> int:
        return sum(run.state == state for run in self.runs)

    @property
    def tokens_per_s(self) -> float:
        """Speed of all runs that train now."""
        return sum(run.tokens_per_s or 0.0 for run in self.runs if run.state == "running")

    @property
    def seconds(self) -> float:
        """What the runs have cost so far: seconds of training, each on its own core or device."""
        return sum(run.seconds or 0.0 for run in self.runs)

    @property
    def eta_s(self) -> float | None:
        """Seconds until all runs are done at the present speed; None while none trains."""
        left = sum(run.of - run.tokens for run in self.runs if run.state not in ("done", "failed"))
        return left / self.tokens_per_s if self.tokens_per_s > 0 else None

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "process": self.owner.pid if self.owner else None,
            "host": self.owner.host if self.owner else None,
            **{state: self.count(state) for state in STATES},
            "tokens_per_s": round(self.tokens_per_s, 1),
            "seconds": round(self.seconds, 1),
            "eta_s": _rounded(self.eta_s),
            "answer": self.answer,
            "elsewhere": list(self.elsewhere),
            "warnings": list(self.warnings),
            "runs": [
                asdict(run)
                | {key: _rounded(getattr(run, key)) for key in ("tokens_per_s", "seconds", "eta_s")}
                for run in self.runs
            ],
        }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 1)


def status_of(workspace: Workspace) -> Status:
    """Compare the study's plan with its run store. Works before, during and after a run.

    Raises InputError for a run or a confirmation that was written by another version, or is damaged.
    """
    runs, answer = _runs(workspace), ""
    if workspace.folder.decision.exists():
        answer = json.loads(workspace.folder.decision.read_text(encoding="utf-8")).get("status", "")
        if not _answered(workspace, runs):
            answer = "earlier"
            runs = [_not_confirmed(run) if run.kind == "confirmation" else run for run in runs]
    warnings = corpus_warnings(workspace)
    return Status(workspace.study.study, owner(workspace.folder), tuple(runs), answer, warnings=warnings)


def _not_confirmed(run: RunStatus) -> RunStatus:
    """The confirmation run of this question, where the one in the run store is of an earlier question."""
    return RunStatus("confirmation", run.kind, None, run.seed, "", "left")


def _answered(workspace: Workspace, runs: list[RunStatus]) -> bool:
    """Whether the answer was fitted on the runs that the study has now (failed ones are left out of it)."""
    listing = workspace.folder.runs / ANSWERED
    if not listing.exists():
        return False
    confirming = {run.run for run in runs if run.kind == "confirmation"}
    fitted = set(json.loads(listing.read_text(encoding="utf-8"))["runs"]) - confirming
    needed = [run for run in runs if run.kind != "confirmation"]
    return fitted == {run.run for run in needed if run.state == "done"} and all(
        run.state in ("done", "failed") for run in needed
    )


def _runs(workspace: Workspace) -> list[RunStatus]:
    from proxies.data.token_store import TokenStore

    try:
        store = TokenStore.open(workspace.folder.tokens, verify=False)
        supply = supply_of(store)
        if set(supply) != set(workspace.study.domains) or set(store.evals) != set(workspace.study.evals):
            raise MixlawError("the token store is of other domains")
    except (MixlawError, OSError):
        # Runs are identified by their tokens; without them nothing can have been trained.
        unknown = dict.fromkeys(workspace.study.domains, 1)
        return [RunStatus.of_plan(run) for run in make_plan(workspace.study, unknown).runs]
    plan = make_plan(workspace.study, supply, here=at_hand(store))
    planned_base = next(iter(plan.of_kind("base")), None)
    base = base_spec(workspace, store, planned_base)
    adopted = RunStatus("base", "base", None, base.seed, base.run_id, "left", of=base.tokens)
    runs = [adopted if planned_base is None else RunStatus.of_plan(planned_base, base.run_id, of=base.tokens)]
    for run in plan.of_kind("proxy"):
        spec = proxy_spec(workspace, store, run, base.run_id)
        runs.append(RunStatus.of_plan(run, spec.run_id, of=spec.tokens))
    runs += [_confirmation(workspace, run) for run in plan.of_kind("confirmation")]
    return [_with_state(workspace, run) if run.run else run for run in runs]


def _confirmation(workspace: Workspace, planned: PlannedRun) -> RunStatus:
    status = RunStatus.of_plan(planned, of=workspace.study.proxies.tokens)
    if not workspace.folder.confirmation.exists():
        return status
    run, share = confirmed_run(workspace.folder.confirmation)
    return replace(status, run=run, target_share=share, name=confirmation_name(share))


def _with_state(workspace: Workspace, run: RunStatus) -> RunStatus:
    """The run with what its folder in the run store says."""
    folder = workspace.folder.runs / run.run
    record = run_store.done(folder)
    if record is not None:
        speed, seconds = record.get("tokens_per_s"), record.get("seconds")
        return replace(run, state="done", tokens=run.of, tokens_per_s=speed, seconds=seconds)
    state = run_store.state(folder)
    holder = claims.holder(folder / run_store.LOCK) if state == "running" else None
    if holder is not None:
        return _running(run, holder)
    if state == "failed":
        return replace(run, state="failed", note=run_store.failure(folder) or "")
    return replace(run, state="partial" if state == "partial" else "left")


def _running(run: RunStatus, holder: Holder) -> RunStatus:
    where, at = f"{holder.host} {holder.pid}".strip(), holder.progress
    if at is None:
        return replace(run, state="running", where=where)
    spent = at.tokens / at.tokens_per_s if at.tokens_per_s else None
    return replace(
        run,
        state="running",
        tokens=at.tokens,
        tokens_per_s=at.tokens_per_s,
        seconds=spent,
        eta_s=at.eta_s,
        where=where,
    )
