"""`mixlaw plan`: the runs a study would train, or those to train next."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Annotated

import typer

from flows.cli.options import Json, StudyFile
from flows.pipeline.cost import cost_of
from flows.pipeline.next_runs import plan_next
from flows.pipeline.prepare import catalogue, plan_before_tokens
from flows.pipeline.refusals import missing_files, refusals, too_long
from flows.pipeline.workspace import Workspace
from flows.reports import tables
from flows.reports.next_runs import print_next_plan
from flows.reports.plan import plan_json, print_plan
from flows.reports.progress import bar
from flows.trainers.base import check_runner
from mixing.errors import InputError, MixlawError

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
    """Show the planned runs and their cost, before any is trained.

    Ends with status 2 where `mixlaw run` would refuse the study, and says why.
    """
    if following is None:
        _planned(Workspace.open(study), as_json)
        return
    workspace = Workspace.load(study)
    further = plan_next(workspace, following)
    if as_json:
        tables.print_json(further.to_json())
    else:
        print_next_plan(workspace.study, further, tables.console())


def _doubts_of_runner(workspace: Workspace) -> list[MixlawError]:
    """Why `mixlaw run` would refuse to start here, if it would for the sake of its runner."""
    try:
        check_runner(workspace.study.runner)
    except MixlawError as error:
        return [error]
    return []


def _planned(workspace: Workspace, as_json: bool) -> None:
    refused = refusals(workspace)
    with bar("catalogue") as report:
        corpora = catalogue(workspace, report)
    try:
        planned = plan_before_tokens(workspace, corpora)
    except InputError:
        # Without a plan there is no screen to list them on.
        for error in refused:
            print(f"mixlaw: mixlaw run also refuses this study: {error}", file=sys.stderr)
        raise
    # What a run costs is not known without the model that it would train.
    unknown = any(missing_files(workspace))
    cost = None if unknown else cost_of(workspace, planned, len(os.sched_getaffinity(0)))
    long = too_long(cost.seconds) if cost else ""
    doubts = [f"mixlaw run refuses this study: {error}" for error in refused]
    doubts += [str(error) for error in _doubts_of_runner(workspace)] + ([long] if long else [])
    planned = replace(planned, warnings=(*planned.warnings, *doubts))
    if as_json:
        tables.print_json(plan_json(workspace, planned, cost))
    else:
        print_plan(workspace, planned, cost, tables.console())
    if refused:
        raise InputError(refused[0].message, refused[0].hint)
