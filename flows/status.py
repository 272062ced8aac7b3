"""How far a study is, read from its run store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from flows import home
from flows.plan import make_plan
from flows.stages import Job, base_spec, proxy_spec, supply_of
from mixing.errors import MixlawError
from mixing.readers import ANSWERED

if TYPE_CHECKING:
    from rich.console import Console

State = Literal["done", "failed", "running", "partial", "left"]
STYLES = {"done": "green", "failed": "red", "running": "cyan", "partial": "yellow", "left": "dim"}


@dataclass(frozen=True)
class RunStatus:
    """One run; `run` is empty where its identity is not known yet. `note` is a failed run's reason."""

    name: str
    run: str
    state: State
    note: str = ""


@dataclass(frozen=True)
class Status:
    """`process` runs the study now (None: nobody does). `answer` is decided, not_yet, earlier (there is one, of other
    runs than the study now has), or empty."""

    study: str
    process: int | None
    runs: tuple[RunStatus, ...]
    answer: str

    def count(self, state: State) -> int:
        return sum(run.state == state for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        counts = {state: self.count(state) for state in STYLES}  # type: ignore[arg-type]
        runs = [{"name": r.name, "run": r.run, "state": r.state, "note": r.note} for r in self.runs]
        return {"study": self.study, "process": self.process, **counts, "answer": self.answer, "runs": runs}


def status_of(job: Job) -> Status:
    """Compare the study's plan with its run store. Works before, during and after a run."""
    import json

    process = home.owner(job.folder)
    runs, answer = _runs(job), ""
    if job.folder.decision.exists():
        answer = json.loads(job.folder.decision.read_text(encoding="utf-8")).get("status", "")
        if not _answered(job, runs):
            answer = "earlier"
            runs = [
                RunStatus("confirmation", "", "left") if run.name.startswith("confirmation") else run
                for run in runs
            ]
    return Status(job.study.study, process, tuple(runs), answer)


def _answered(job: Job, runs: list[RunStatus]) -> bool:
    """Whether the answer was fitted on the runs that the study has now (failed ones are done without)."""
    import json

    listing = job.folder.runs / ANSWERED
    if not listing.exists():
        return False
    fitted = set(json.loads(listing.read_text(encoding="utf-8"))["runs"])
    mine = [run for run in runs if not run.name.startswith("confirmation")]
    return fitted == {run.run for run in mine if run.state == "done"} and all(
        run.state in ("done", "failed") for run in mine
    )


def _runs(job: Job) -> list[RunStatus]:
    from proxies.tokens import TokenStore

    try:
        store = TokenStore.open(job.folder.tokens, verify=False)
        supply = supply_of(store)
        if set(supply) != set(job.study.domains):
            raise MixlawError("the token store is of other domains")
    except (MixlawError, OSError):
        # Identities hang on the tokens; without them nothing can have been trained.
        unknown = dict.fromkeys(job.study.domains, 1)
        return [RunStatus(run.name, "", "left") for run in make_plan(job.study, unknown).runs]
    plan = make_plan(job.study, supply)
    base = base_spec(job, store, next(iter(plan.of_kind("base")), None)).run_id
    found = [_state(job, "base", base)]
    found += [
        _state(job, run.name, proxy_spec(job, store, run, base).run_id) for run in plan.of_kind("proxy")
    ]
    if plan.of_kind("confirmation"):
        found.append(_confirmation(job))
    return found


def _state(job: Job, name: str, run: str) -> RunStatus:
    from proxies.runs import failure, state

    folder = job.folder.runs / run
    found = state(folder)
    note = failure(folder) or "" if found == "failed" else ""
    return RunStatus(name, run, "left" if found == "absent" else found, note)


def _confirmation(job: Job) -> RunStatus:
    import json

    if not job.folder.confirmation.exists():
        return RunStatus("confirmation", "", "left")
    found = json.loads(job.folder.confirmation.read_text(encoding="utf-8"))
    return _state(job, f"confirmation target={found['target_share']:g}", found["run"])


def print_status(found: Status, console: Console) -> None:
    """The runs and their states, and who runs the study."""
    from flows.commands.output import table

    rows = [(run.name, f"[{STYLES[run.state]}]{run.state}", run.run, run.note) for run in found.runs]
    console.print(table(f"{found.study}: runs", ("run", "state", "id", "reason"), rows, left=4))
    counts = ", ".join(f"{found.count(state)} {state}" for state in STYLES)  # type: ignore[arg-type]
    console.print(counts)
    console.print(f"running in process {found.process}" if found.process is not None else "not running now")
    if found.answer:
        said = {"decided": "decided", "earlier": "only to an earlier question; run the study for this one"}
        console.print("answer: " + said.get(found.answer, "not yet"))
