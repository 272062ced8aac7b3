"""`mixlaw plan`: the runs a study would train, or those to train next."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from flows.cli.options import Json, StudyFile
from flows.pipeline.cost import cost_of
from flows.pipeline.next_runs import plan_next, print_next_plan
from flows.pipeline.prepare import Job, catalogue, plan_before_tokens
from flows.reports import tables
from flows.reports.plan import plan_json, print_plan
from flows.reports.progress import bar

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
    job = Job.load(study)
    if following is None:
        _planned(job, as_json)
        return
    further = plan_next(job, following)
    if as_json:
        tables.print_json(further.to_json())
    else:
        print_next_plan(job, further, tables.console())


def _planned(job: Job, as_json: bool) -> None:
    _ = job.sources
    with bar("catalogue") as report:
        corpora = catalogue(job, report)
    planned = plan_before_tokens(job, corpora)
    cost = cost_of(job, planned, len(os.sched_getaffinity(0)))
    if as_json:
        tables.print_json(plan_json(job, planned, cost))
    else:
        print_plan(job, planned, cost, tables.console())
