"""A plan and its cost, as a table or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from flows.pipeline.heldout import windows_of
from flows.reports.progress import duration
from flows.reports.tables import table
from mixing.amounts import format_amount

if TYPE_CHECKING:
    from rich.console import Console

    from flows.pipeline.cost import Cost
    from flows.pipeline.plan import Plan, PlannedRun
    from flows.pipeline.workspace import Workspace


def print_plan(workspace: Workspace, plan: Plan, cost: Cost | None, console: Console) -> None:
    """The runs, what they read, and how long they take."""
    domains = list(workspace.study.domains)
    rows = [
        (run.name, _share(run), format_amount(run.tokens), *(_epochs(run, d) for d in domains))
        for run in plan.runs
    ]
    header = ("run", "target share", "tokens", *(f"epochs of {domain}" for domain in domains))
    console.print(table(f"{workspace.study.study}: {len(plan.runs)} runs", header, rows))
    guess = " (estimated from bytes; exact once tokenised)" if plan.estimated else ""
    supply = ", ".join(f"{name} {format_amount(tokens)}" for name, tokens in plan.supply.items())
    console.print(f"available training tokens: {supply}{guess}")
    if plan.real_supply != plan.supply:
        real = ", ".join(f"{name} {format_amount(tokens)}" for name, tokens in plan.real_supply.items())
        console.print(f"tokens of the real corpora: {real} (supply)")
    if pools := next((run.pools for run in plan.runs if run.kind == "proxy"), {}):
        read = ", ".join(f"{name} {format_amount(tokens)}" for name, tokens in pools.items())
        target = format_amount(workspace.study.target_run_tokens)
        console.print(
            f"repeated as in the run of {target} tokens: proxies read only so many tokens of {read}"
        )
    caps = ", ".join(f"{name} {part.max_epochs:g}" for name, part in workspace.study.domains.items())
    console.print(f"max epochs: {caps}")
    if cost is not None:
        _print_cost(workspace, plan, cost, console)
    for warning in plan.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))


def _print_cost(workspace: Workspace, plan: Plan, cost: Cost, console: Console) -> None:
    console.print(
        f"model: {cost.params:,} non-embedding parameters; {format_amount(plan.tokens)} tokens in all, "
        f"{cost.done} of {len(plan.runs)} runs done"
    )
    console.print(
        f"time: about {duration(cost.seconds)} on {cost.cores} cores "
        f"({format_amount(cost.tokens_per_second)} tokens per second and core, {cost.source})"
    )
    console.print(f"held-out losses: {_windows(workspace)}; {cost.measuring:.0%} of the work")


def _windows(workspace: Workspace) -> str:
    windows = windows_of(workspace.study)
    context = workspace.study.model.context
    if windows.last == windows.few:
        return f"{windows.few} windows of {context} tokens per domain"
    return f"up to {windows.last} windows of {context} tokens per domain at the end, {windows.few} of them before"


def _share(run: PlannedRun) -> str:
    if run.target_share is None:
        return "as decided"
    return f"{run.target_share:g}" if run.kind != "base" else "-"


def _epochs(run: PlannedRun, domain: str) -> str:
    if run.kind == "confirmation":
        return "-"
    return f"{run.epochs.get(domain, 0):.2f}" + (" !" if domain in run.over else "")


def plan_json(workspace: Workspace, plan: Plan, cost: Cost | None) -> dict[str, Any]:
    """The same as one JSON object; what the cost says is null where it is not known."""
    runs = [
        {
            "name": run.name,
            "kind": run.kind,
            "target_share": run.target_share,
            "seed": run.seed,
            "shares": run.mixture,
            "tokens": run.tokens,
            "epochs": run.epochs,
            "pools": run.pools,
        }
        for run in plan.runs
    ]
    return {
        "study": workspace.study.study,
        "runs": runs,
        "tokens": plan.tokens,
        "params": cost and cost.params,
        "supply": plan.supply,
        "supply_estimated": plan.estimated,
        "real_supply": plan.real_supply,
        "runs_done": cost and cost.done,
        "seconds_left": cost and round(cost.seconds, 1),
        "tokens_per_second_per_core": cost and round(cost.tokens_per_second, 1),
        "throughput": cost and cost.source,
        "cores": cost and cost.cores,
        "heldout_windows": windows_of(workspace.study).last,
        "heldout_part_of_work": cost and round(cost.measuring, 4),
        "warnings": list(plan.warnings),
    }
