"""`mixlaw catalog`: what the corpora hold."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import Json, StudyFile
from flows.pipeline.prepare import catalogue
from flows.pipeline.workspace import Workspace
from flows.reports import tables
from flows.reports.corpora import print_catalog
from flows.reports.leakage import print_leakage, print_near_duplicates
from flows.reports.progress import bar

if TYPE_CHECKING:
    from mixing.corpora.leakage import Leakage
    from mixing.corpora.near_duplicates import NearDuplicates


def catalog(
    study: StudyFile,
    near_duplicates: Annotated[
        bool,
        typer.Option(
            "--near-duplicates", help="Also look for near-duplicates, and for held-out text that leaks"
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Summarise the corpora: documents, sizes, duplicates, flaws."""
    workspace = Workspace.open(study)
    with bar("catalogue") as report:
        corpora = catalogue(workspace, report)
    leakage, groups = _near_duplicates(workspace) if near_duplicates else (None, None)
    if as_json:
        found = {**json.loads(corpora.to_json()), "warnings": list(corpora.warnings())}
        if leakage is not None and groups is not None:
            found["leakage"] = [asdict(leak) for leak in leakage.leaks]
            found["near_duplicates"] = [asdict(group) for group in groups]
        tables.print_json(found)
        return
    console = tables.console()
    print_catalog(workspace.study.study, corpora, console)
    if leakage is not None and groups is not None:
        budget = workspace.study.target_run_tokens
        print_leakage(leakage, budget, console)
        print_near_duplicates(groups, console)


def _near_duplicates(workspace: Workspace) -> tuple[Leakage, tuple[NearDuplicates, ...]]:
    from flows.pipeline.leakage import leaks
    from mixing.corpora.near_duplicates import near_duplicates

    with bar("leakage") as report:
        leakage = leaks(workspace, report)
    with bar("near-duplicates") as report:
        return leakage, near_duplicates(workspace.sources, on_progress=report)
