"""The runs to train next, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixing.decision import wording

if TYPE_CHECKING:
    from rich.console import Console

    from flows.pipeline.next_runs import NextPlan
    from flows.study.models import Study


def print_next_plan(study: Study, plan: NextPlan, console: Console) -> None:
    """What is known, the runs to add, and the line of the study file that adds them."""
    console.print(f"now: {wording.answer_line(plan.decision)}")
    if not plan.shares:
        console.print("no share is left to train: all lie close together")
        return
    console.print("train these next, the most informative first (token shares):")
    for line in plan.lines():
        console.print(f"  {line}")
    listed = ", ".join(f"{share:g}" for share in sorted({*study.proxies.target_shares, *plan.shares}))
    console.print(f"in {study.study}'s study file:\n  target_shares: [{listed}]")
