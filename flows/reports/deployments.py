"""What `mixlaw deploy` shows: the deployments, and what to start next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from flows.reports.tables import table

if TYPE_CHECKING:
    from flows.orchestration.register import DeploymentResult


def print_deployed(done: DeploymentResult, console: Console) -> None:
    rows = [
        (
            deployment.full_name,
            f"{deployment.cron} ({done.timezone})" if deployment.cron else "by hand",
            deployment.pool,
        )
        for deployment in done.deployments
    ]
    console.print(table(f"Deployed to {done.api}", ("deployment", "schedule", "work pool"), rows, left=3))
    for pool in done.created_pools:
        console.print(f"work pool {pool} was created; it takes worker processes")
    for change in done.changes:
        console.print(Text(f"changed: {change}", "yellow"))
    for name, value in done.environment.items():
        console.print(Text(f"workers get {name}={value}"))
    if "MLFLOW_TRACKING_URI" not in done.environment:
        console.print("MLflow is the SQLite file in that home: for workers of one machine")
    pools = dict.fromkeys(deployment.pool for deployment in done.deployments)
    for pool in pools:
        now = done.workers.get(pool, 0)
        polling = f"   ({now or 'no'} worker{'s' if now != 1 else ''} seen there lately)"
        line = _line("prefect", "worker", "start", "--pool", pool)
        console.print(Text.assemble("start a worker  ", (line, "bold"), polling))
    first = done.deployments[0]
    console.print(
        Text.assemble("run it now      ", (_line("prefect", "deployment", "run", first.full_name), "bold"))
    )
    if first.url:
        console.print(Text(f"look at it      {first.url}"))


def _line(*parts: str) -> str:
    return " ".join(shlex.quote(part) for part in parts)
