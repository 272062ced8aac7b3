"""How far a study is, read from its run store by any machine that sees it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.pipeline.plan import make_plan
from flows.pipeline.prepare import Job, base_spec, proxy_spec, supply_of
from flows.settings import home
from mixing.errors import InputError, MixlawError
from mixing.runs.readers import ANSWERED

if TYPE_CHECKING:
    from rich.console import Console

    from proxies.runs.claims import Holder

State = Literal["done", "failed", "running", "partial", "left"]
STYLES = {"done": "green", "failed": "red", "running": "cyan", "partial": "yellow", "left": "dim"}


@dataclass(frozen=True)
class RunStatus:
    """One run; `run` is empty where its identity is not known yet. `note` is a failed run's reason.

    `tokens` of `of` training tokens are done, at `tokens_per_s`; `seconds` is what it has cost so far (of the
    machine it ran on), `eta_s` what it has still to run. `where` is the host and process that train it now.
    """

    name: str
    run: str
    state: State
    note: str = ""
    tokens: int = 0
    of: int = 0
    tokens_per_s: float | None = None
    seconds: float | None = None
    eta_s: float | None = None
    where: str = ""


@dataclass(frozen=True)
class Status:
    """`owner` runs the study now (None: nobody does). `answer` is decided, not_yet, earlier (there is one, of other
    runs than the study now has), or empty. `elsewhere` is what Prefect and MLflow say where the home holds
    nothing of the study.
    """

    study: str
    owner: Holder | None
    runs: tuple[RunStatus, ...]
    answer: str
    elsewhere: tuple[str, ...] = ()

    def count(self, state: State) -> int:
        return sum(run.state == state for run in self.runs)

    @property
    def tokens_per_s(self) -> float:
        """Of all runs that train now."""
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
        counts = {state: self.count(state) for state in STYLES}  # type: ignore[arg-type]
        return {
            "study": self.study,
            "process": self.owner.pid if self.owner else None,
            "host": self.owner.host if self.owner else None,
            **counts,
            "tokens_per_s": round(self.tokens_per_s, 1),
            "seconds": round(self.seconds, 1),
            "eta_s": _rounded(self.eta_s),
            "answer": self.answer,
            "elsewhere": list(self.elsewhere),
            "runs": [
                asdict(run)
                | {key: _rounded(getattr(run, key)) for key in ("tokens_per_s", "seconds", "eta_s")}
                for run in self.runs
            ],
        }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 1)


def status_of(job: Job) -> Status:
    """Compare the study's plan with its run store. Works before, during and after a run."""
    import json

    owner = home.owner(job.folder)
    runs, answer = _runs(job), ""
    if job.folder.decision.exists():
        answer = json.loads(job.folder.decision.read_text(encoding="utf-8")).get("status", "")
        if not _answered(job, runs):
            answer = "earlier"
            runs = [
                RunStatus("confirmation", "", "left") if run.name.startswith("confirmation") else run
                for run in runs
            ]
    return Status(job.study.study, owner, tuple(runs), answer)


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
    from proxies.data.token_store import TokenStore

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
    base = base_spec(job, store, next(iter(plan.of_kind("base")), None))
    found = [_state(job, "base", base.run_id, base.tokens)]
    for run in plan.of_kind("proxy"):
        spec = proxy_spec(job, store, run, base.run_id)
        found.append(_state(job, run.name, spec.run_id, spec.tokens))
    if plan.of_kind("confirmation"):
        found.append(_confirmation(job, job.study.proxies.tokens))
    return found


def _state(job: Job, name: str, run: str, of: int) -> RunStatus:
    from proxies.runs import claims
    from proxies.runs import store as runs

    folder = job.folder.runs / run
    record = runs.done(folder)
    if record is not None:
        speed, seconds = record.get("tokens_per_s"), record.get("seconds")
        return RunStatus(name, run, "done", "", of, of, speed, seconds)
    found = runs.state(folder)
    holder = claims.holder(folder / runs.LOCK) if found == "running" else None
    if holder is not None:
        where = f"{holder.host} {holder.pid}".strip()
        at = holder.progress
        if at is None:
            return RunStatus(name, run, "running", of=of, where=where)
        spent = at.tokens / at.tokens_per_s if at.tokens_per_s else None
        return RunStatus(name, run, "running", "", at.tokens, of, at.tokens_per_s, spent, at.eta_s, where)
    note = runs.failure(folder) or "" if found == "failed" else ""
    return RunStatus(name, run, "left" if found in ("absent", "running", "done") else found, note, of=of)


def _confirmation(job: Job, tokens: int) -> RunStatus:
    if not job.folder.confirmation.exists():
        return RunStatus("confirmation", "", "left", of=tokens)
    run, share = confirmed_run(job.folder.confirmation)
    return _state(job, f"confirmation target={share:g}", run, tokens)


def confirmed_run(path: Path) -> tuple[str, float]:
    """The id and the target share of the confirmation run. Raises InputError for what is no run's id."""
    import json
    import re

    found = json.loads(path.read_text(encoding="utf-8"))
    run = found.get("run")
    if not isinstance(run, str) or not re.fullmatch(r"[0-9a-f]{16}", run):
        raise InputError(
            f"{path}: run: {str(run)[:40]!r} is not the id of a run", "Delete it and run the study again"
        )
    return run, float(found["target_share"])


def print_status(found: Status, console: Console) -> None:
    """The runs, how fast they train and what they cost, and who runs the study."""
    from flows.reports.progress import duration
    from flows.reports.tables import table
    from mixing.amounts import format_amount

    def row(run: RunStatus) -> tuple[str, ...]:
        part = f"{run.tokens / run.of:.0%}" if run.of and run.tokens else ""
        speed = format_amount(run.tokens_per_s) if run.tokens_per_s else ""
        spent = duration(run.seconds) if run.seconds is not None else ""
        left = duration(run.eta_s) if run.eta_s is not None else ""
        shown = f"[{STYLES[run.state]}]{run.state}"
        return (run.name, shown, run.run, run.where or run.note, part, speed, spent, left)

    header = ("run", "state", "id", "where, or why", "trained", "tokens/s", "cost", "left")
    console.print(table(f"{found.study}: runs", header, [row(run) for run in found.runs], left=4))
    counts = ", ".join(f"{found.count(state)} {state}" for state in STYLES)  # type: ignore[arg-type]
    spent = f"; {duration(found.seconds)} of training so far" if found.seconds else ""
    console.print(f"{counts}{spent}")
    if found.eta_s is not None:
        speed, left = format_amount(found.tokens_per_s), duration(found.eta_s)
        console.print(f"training at {speed} tokens/s, about {left} left for all runs")
    console.print(f"running in {found.owner}" if found.owner is not None else "no process runs the study now")
    if found.answer:
        said = {"decided": "decided", "earlier": "only to an earlier question; run the study for this one"}
        console.print("answer: " + said.get(found.answer, "not yet"))
    for line in found.elsewhere:
        console.print(line)
