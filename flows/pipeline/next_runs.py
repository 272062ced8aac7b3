"""`mixlaw plan --next`: the target shares to train next, given the runs that are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.pipeline.analysis import question_of, runs_table, target_tokens
from flows.pipeline.plan import mixture
from flows.pipeline.prepare import Job, supply_of
from flows.pipeline.status import status_of
from mixing.decision.result import Decision
from mixing.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class NextPlan:
    """Target shares to add to a study, the most telling first, and the decision that calls for them."""

    shares: tuple[float, ...]
    mixtures: tuple[dict[str, float], ...]
    trained: tuple[float, ...]
    decision: Decision

    def to_json(self) -> dict[str, Any]:
        return {
            "next_runs": list(self.mixtures),
            "target_shares": list(self.shares),
            "trained": list(self.trained),
            "critical_ratio": self.decision.critical_ratio,
            "interval": list(self.decision.interval) if self.decision.interval else None,
            "status": self.decision.status,
        }


def plan_next(job: Job, count: int) -> NextPlan:
    """The `count` target shares that tell most about the study's critical ratio.

    Raises InputError where no proxy is done yet, and as `mixing.decision.critical_ratio.decider` does.
    """
    from mixing.decision.critical_ratio.decider import decide
    from mixing.decision.critical_ratio.next_ratios import next_ratios, trained_ratios
    from proxies.data.token_store import TokenStore

    done = [
        run for run in status_of(job).runs if run.state == "done" and run.name.split()[0] in ("base", "proxy")
    ]
    proxies = [run.run for run in done if run.name != "base"]
    if not proxies or len(done) == len(proxies):
        raise InputError(
            f"{job.study.study}: no proxy is trained yet, so nothing says which one tells most",
            "Train the study first: mixlaw run; mixlaw plan without --next shows its runs",
        )
    supply = supply_of(TokenStore.open(job.folder.tokens, verify=False))
    table = runs_table(job.folder.runs, [run.run for run in done])
    question = question_of(job, supply, table)
    budget, total = target_tokens(job, question), sum(supply.values())
    decision = decide(
        table,
        question,
        max_shares={n: job.study.domains[n].max_epochs * supply[n] / budget for n in supply},
        natural_shares={name: tokens / total for name, tokens in supply.items()},
        seed=job.study.seed,
    )
    shares = next_ratios(table, question, count, seed=job.study.seed)
    return NextPlan(
        tuple(shares),
        tuple(mixture(job.study, supply, share) for share in shares),
        tuple(trained_ratios(table, question)),
        decision,
    )


def print_next_plan(job: Job, found: NextPlan, console: Console) -> None:
    """What is known, the runs to add, and the line of the study file that adds them."""
    from flows.reports import wording

    console.print(f"now: {wording.ratio_line(found.decision)}")
    if not found.shares:
        console.print("no share is left to train: all lie close together")
        return
    console.print("train these next, the most telling first (token shares):")
    for mix in found.mixtures:
        console.print(f"  {wording.shares(mix)}")
    listed = ", ".join(f"{share:g}" for share in sorted({*job.study.proxies.target_shares, *found.shares}))
    console.print(f"in {job.study.study}'s study file:\n  target_shares: [{listed}]")
