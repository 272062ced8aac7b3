"""What Prefect shows of a study: the decision as a page with its figure and links, the runs as a table, events.

Events are for automations (docs/deployments.md): `mixlaw.decision` when a study has answered, `mixlaw.failed`
when it could not.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flows.reports.wording import decision_markdown, run_rows, shares
from flows.settings.logging import redacted

if TYPE_CHECKING:
    from flows.pipeline.prepare import Job
    from flows.pipeline.result import Outcome, Publication

DECISION, FAILED, UNCHANGED = "mixlaw.decision", "mixlaw.failed", "mixlaw.unchanged"
LARGEST_FIGURE = 400_000
"""Bytes of a figure that is put into the page; a larger one is only linked."""


def show(outcome: Outcome, figures: list[Path]) -> None:
    """The runs table and the decision as artifacts of the flow run, and the event that it is decided."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    key = artifact_key(outcome.job)
    header, rows = run_rows(outcome)
    table = [dict(zip(header, row, strict=True)) for row in rows]
    create_table_artifact(
        table, key=f"{key}-runs", description=f"Runs of the study {outcome.job.study.study}"
    )
    create_markdown_artifact(page(outcome, figures), key=f"{key}-decision", description="The decision")
    decided(outcome)


def artifact_key(job: Job) -> str:
    """Prefect's keys have small letters, digits and dashes only."""
    return job.study.study.replace("_", "-").strip("-")


def page(outcome: Outcome, figures: list[Path]) -> str:
    """The decision as Markdown: answer, what changed, figure, links, and everything behind it."""
    answer, mix, rest = [*decision_markdown(outcome).split("\n\n", 2), "", ""][:3]
    lines = [answer, "", mix, ""]
    if outcome.note:
        lines += [f"**What changed:** {outcome.note}", ""]
    lines += [f"{line}  " for line in links(outcome)]
    figure = next((path for path in figures if path.stat().st_size <= LARGEST_FIGURE), None)
    if figure is not None:
        data = base64.b64encode(figure.read_bytes()).decode("ascii")
        lines += ["", f"![{figure.stem}](data:image/png;base64,{data})"]
    return "\n".join([*lines, "", rest])


def links(outcome: Outcome) -> list[str]:
    """Where MLflow has it, as Markdown; in words where it is a file."""
    found = outcome.publication
    if found is None:
        reason = f": {redacted(str(outcome.unpublished))}" if outcome.unpublished is not None else ""
        return [f"Not in MLflow{reason}"]
    name = outcome.job.study.study
    said = []
    if found.version is not None:
        alias = f" ({found.alias})" if found.alias else ""
        address = f"models:/{name}/{found.version}"
        link = mlflow_link(found, f"models/{name}/versions/{found.version}")
        said.append(f"Mix: [{address}]({link}){alias}" if link else f"Mix: `{address}`{alias}")
        if found.verdict:
            said.append(f"{found.alias.capitalize()}: {found.verdict}")
    run = mlflow_link(found, f"experiments/{found.experiment}/runs/{found.run}")
    if run:
        said.append(f"MLflow: [this run]({run}), with figures, laws and all proxies")
    else:
        said.append(f"MLflow: run `{found.run}` in `{redacted(found.uri)}` (open it with `mixlaw ui`)")
    return said


def mlflow_link(found: Publication, path: str) -> str:
    """A page of MLflow's UI; empty where MLflow is no server.

    Where browsers call the server by another address than workers do, that is `MIXLAW_MLFLOW_UI_URL`.
    """
    if not found.uri.startswith(("http://", "https://")):
        return ""
    parts = urlsplit(os.environ.get("MIXLAW_MLFLOW_UI_URL") or found.uri)
    # Never with a login.
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/#/{path}"


def decided(outcome: Outcome) -> None:
    """Emit `mixlaw.decision`, labelled by whether the mix is of a `new` version, the `same`, or `none`."""
    decision, found = outcome.given.decision, outcome.publication
    version = "none" if found is None or found.version is None else "new" if found.new_version else "same"
    _emit(
        outcome.job,
        DECISION,
        {
            "status": decision.status,
            "shares": decision.shares,
            "mix": shares(decision.shares) if decision.shares else "not yet",
            "critical_ratio": decision.critical_ratio,
            "interval": list(decision.interval) if decision.interval else None,
            "version": found.version if found else None,
            "alias": found.alias if found else None,
            "verdict": found.verdict if found else None,
            "new_version": found.new_version if found else None,
            "mlflow_run": found.run if found else None,
            "note": outcome.note,
        },
        version=version,
    )


def unchanged(job: Job, reason: str) -> None:
    """Emit `mixlaw.unchanged`: a refresh found nothing that can move the answer."""
    _emit(job, UNCHANGED, {"reason": reason})


@contextlib.contextmanager
def failures(job: Job) -> Iterator[None]:
    """Emit `mixlaw.failed` for what the block raises."""
    try:
        yield
    except Exception as error:
        _emit(job, FAILED, {"reason": redacted(str(error)), "error": type(error).__name__})
        raise


def _emit(job: Job, event: str, payload: dict[str, object], **labels: str) -> None:
    """`labels` are what automations can match. Prefect adds the flow run, its deployment and its tags."""
    from prefect.events import emit_event
    from prefect.runtime import flow_run

    name = job.study.study
    resource = {"prefect.resource.id": f"mixlaw.study.{name}", "prefect.resource.name": name}
    emit_event(
        event=event,
        resource=resource | {f"mixlaw.{key}": value for key, value in labels.items()},
        payload={"study": name, "flow_run": str(flow_run.id or ""), "home": str(job.root), **payload},
    )
