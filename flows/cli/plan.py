"""`mixlaw plan`: the runs a study would train, or those to train next."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated

import typer

from flows.cli.options import Json, StudyFile
from flows.pipeline.cost import cost_of
from flows.pipeline.next_runs import plan_next
from flows.pipeline.prepare import catalogue, plan_before_tokens
from flows.pipeline.workspace import Workspace
from flows.reports import tables
from flows.reports.next_runs import print_next_plan
from flows.reports.plan import plan_json, print_plan
from flows.reports.progress import bar
from flows.trainers.base import check_runner
from mixing.errors import MixlawError

Next = Annotated[
    int | None,
    typer.Option(
        "--next",
        metavar="K",
        min=1,
        max=50,
        help="Show instead the K runs that would narrow the answer most.",
    ),
]


def plan(study: StudyFile, following: Next = None, as_json: Json = False) -> None:
    """Show the planned runs and their cost, before any is trained."""
    if following is None:
        _planned(Workspace.open(study), as_json)
        return
    workspace = Workspace.load(study)
    further = plan_next(workspace, following)
    if as_json:
        tables.print_json(further.to_json())
    else:
        print_next_plan(workspace.study, further, tables.console())


def _doubts_of_runner(workspace: Workspace) -> list[str]:
    """Why `mixlaw run` would refuse to start here, if it would for the sake of its runner."""
    try:
        check_runner(workspace.study.runner)
    except MixlawError as error:
        return [str(error)]
    return []


def _planned(workspace: Workspace, as_json: bool) -> None:
    with bar("catalogue") as report:
        corpora = catalogue(workspace, report)
    planned = plan_before_tokens(workspace, corpora)
    planned = replace(planned, warnings=(*planned.warnings, *_doubts_of_runner(workspace)))
    cost = cost_of(workspace, planned, len(os.sched_getaffinity(0)))
    if as_json:
        tables.print_json(plan_json(workspace, planned, cost))
    else:
        print_plan(workspace, planned, cost, tables.console())
