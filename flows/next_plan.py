"""`mixlaw plan --next`: the target shares to train next, given the runs that are done."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.answer import question_of, runs_table, target_tokens
from flows.plan import mixture
from flows.stages import Job, supply_of
from flows.status import status_of
from mixing.decision import Decision
from mixing.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

APART = 0.01
"""A new share differs from every trained one by at least this."""


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

    Raises InputError where no proxy is done yet, and as `mixing.decide` does.
    """
    from mixing.decide import decide
    from proxies.tokens import TokenStore

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
    trained = sorted({m.total(question.target_domains) for m in table.mixtures().values()})
    shares = zoom(decision, trained, count)
    return NextPlan(
        tuple(shares), tuple(mixture(job.study, supply, s) for s in shares), tuple(trained), decision
    )


def zoom(decision: Decision, trained: list[float], count: int) -> list[float]:
    """Shares around the critical ratio: itself, the ends of its interval, what the decision asks for, then gaps."""
    wanted: list[float] = []
    if decision.critical_ratio is not None:
        wanted.append(decision.critical_ratio)
        wanted += list(decision.interval or ())
    wanted += [sum(mix.get(d, 0.0) for d in decision.question.target_domains) for mix in decision.next_runs]
    chosen: list[float] = []

    def add(share: float) -> None:
        share = round(min(max(share, 0.02), 0.98), 3)
        if len(chosen) < count and all(abs(share - other) >= APART for other in (*trained, *chosen)):
            chosen.append(share)

    for share in wanted:
        add(share)
    for _ in range(10 * count):
        ends = sorted({0.02, 0.98, *trained, *chosen})
        centre = decision.critical_ratio if decision.critical_ratio is not None else 0.5
        # The widest gap between shares, where one near the critical ratio counts for more.
        gaps = [
            ((b - a) / (0.1 + abs((a + b) / 2 - centre)), (a + b) / 2) for a, b in itertools.pairwise(ends)
        ]
        add(max(gaps)[1])
        if len(chosen) == count:
            break
    return chosen


def print_next_plan(job: Job, found: NextPlan, console: Console) -> None:
    """What is known, the runs to add, and the line of the study file that adds them."""
    from flows import describe

    console.print(f"now: {describe.ratio_line(found.decision)}")
    if not found.shares:
        console.print("no share is left to train: all lie next to one another")
        return
    console.print("train these next, the most telling first (token shares):")
    for mix in found.mixtures:
        console.print(f"  {describe.shares(mix)}")
    listed = ", ".join(f"{share:g}" for share in sorted({*job.study.proxies.target_shares, *found.shares}))
    console.print(f"in {job.study.study}'s study file:\n  target_shares: [{listed}]")
