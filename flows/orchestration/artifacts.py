"""What Prefect's pages show of a study: the decision with its figure and links, and the runs as a table."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flows.reports.page import decision_markdown, run_rows
from flows.settings.logging import redacted
from flows.settings.logins import split_login

if TYPE_CHECKING:
    from flows.pipeline.publication import Publication
    from flows.pipeline.result import StudyResult
    from flows.pipeline.workspace import Workspace

LARGEST_FIGURE = 400_000
"""Bytes of a figure that is put into the page; a larger one is only linked."""


def write_artifacts(result: StudyResult, figures: list[Path]) -> None:
    """Write the runs table and the decision as artifacts of the flow run."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    key = artifact_key(result.workspace)
    header, rows = run_rows(result)
    table = [dict(zip(header, row, strict=True)) for row in rows]
    create_table_artifact(
        table, key=f"{key}-runs", description=f"Runs of the study {result.workspace.study.study}"
    )
    create_markdown_artifact(page(result, figures), key=f"{key}-decision", description="The decision")


def artifact_key(workspace: Workspace) -> str:
    """Prefect's keys have small letters, digits and dashes only."""
    return workspace.study.study.replace("_", "-").strip("-")


def page(result: StudyResult, figures: list[Path]) -> str:
    """The decision as Markdown: answer, what changed, figure, links, and everything behind it."""
    answer, mix, rest = [*decision_markdown(result).split("\n\n", 2), "", ""][:3]
    lines = [answer, "", mix, ""]
    if result.note:
        lines += [f"**What changed:** {result.note}", ""]
    lines += [f"{line}  " for line in links(result)]
    figure = next((path for path in figures if path.stat().st_size <= LARGEST_FIGURE), None)
    if figure is not None:
        data = base64.b64encode(figure.read_bytes()).decode("ascii")
        lines += ["", f"![{figure.stem}](data:image/png;base64,{data})"]
    return "\n".join([*lines, "", rest])


def links(result: StudyResult) -> list[str]:
    """Where MLflow has it, as Markdown; in words where it is a file."""
    publication = result.publication
    if publication is None:
        reason = f": {redacted(str(result.unpublished))}" if result.unpublished is not None else ""
        return [f"Not in MLflow{reason}"]
    name = result.workspace.study.study
    lines = []
    if publication.version is not None:
        alias = f" ({publication.alias})" if publication.alias else ""
        address = f"models:/{name}/{publication.version}"
        link = mlflow_link(publication, f"models/{name}/versions/{publication.version}")
        lines.append(f"Mix: [{address}]({link}){alias}" if link else f"Mix: `{address}`{alias}")
        if publication.verdict:
            lines.append(f"{publication.alias.capitalize()}: {publication.verdict}")
    run = mlflow_link(publication, f"experiments/{publication.experiment}/runs/{publication.run}")
    if run:
        lines.append(f"MLflow: [this run]({run}), with figures, laws and all proxies")
    else:
        uri = redacted(publication.uri)
        lines.append(f"MLflow: run `{publication.run}` in `{uri}` (open it with `mixlaw ui`)")
    return lines


def mlflow_link(publication: Publication, path: str) -> str:
    """The address of a page of MLflow's UI; empty where MLflow is no server.

    Where browsers call the server by another address than workers do, that is `MIXLAW_MLFLOW_UI_URL`.
    """
    if not publication.uri.startswith(("http://", "https://")):
        return ""
    parts = urlsplit(split_login(os.environ.get("MIXLAW_MLFLOW_UI_URL") or publication.uri)[0])
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/#/{path}"
