"""How far a study is, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from flows.reports.progress import duration
from flows.reports.tables import table
from mixing.amounts import format_amount

if TYPE_CHECKING:
    from rich.console import Console

    from flows.pipeline.status import RunStatus, State, Status

STYLES: dict[State, str] = {
    "done": "green",
    "failed": "red",
    "running": "cyan",
    "partial": "yellow",
    "left": "dim",
}
ANSWERS = {
    "decided": "decided",
    "bound": "a bound: every trained share keeps the tolerance",
    "earlier": "only to an earlier question; run the study for this one",
}


def print_status(status: Status, console: Console) -> None:
    """The runs, how fast they train and what they cost, and who runs the study."""
    header = ("run", "state", "id", "where, or why", "trained", "tokens/s", "cost", "left")
    console.print(table(f"{status.study}: runs", header, [_row(run) for run in status.runs], left=4))
    counts = ", ".join(f"{status.count(state)} {state}" for state in STYLES)
    spent = f"; {duration(status.seconds)} of training so far" if status.seconds else ""
    console.print(f"{counts}{spent}")
    if status.eta_s is not None:
        speed, left = format_amount(status.tokens_per_s), duration(status.eta_s)
        console.print(f"training at {speed} tokens/s, about {left} left for all runs")
    running = f"running in {status.owner}" if status.owner is not None else "no process runs the study now"
    console.print(running)
    if status.answer:
        console.print("answer: " + ANSWERS.get(status.answer, "not yet"))
    for line in status.elsewhere:
        console.print(line)
    for warning in status.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))


def _row(run: RunStatus) -> tuple[str, ...]:
    part = f"{run.tokens / run.of:.0%}" if run.of and run.tokens else ""
    speed = format_amount(run.tokens_per_s) if run.tokens_per_s else ""
    spent = duration(run.seconds) if run.seconds is not None else ""
    left = duration(run.eta_s) if run.eta_s is not None else ""
    state = f"[{STYLES[run.state]}]{run.state}"
    return (run.name, state, run.run, run.where or run.note, part, speed, spent, left)
