"""Commands on a study file: init, catalog, plan, run, status, and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="The study file (YAML).")]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Proxies trained at the same time (default: one per core).")
]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the texts and the study.")] = Path("mixlaw-demo"),
    workers: Workers = None,
) -> None:
    """The whole job on real text that is already on this machine; five to eight minutes on 2 cores."""
    from flows.demo.run import run_demo

    run_demo(out, workers)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder with one sub-folder of text per domain.")
    ],
    out: Annotated[Path, typer.Option(help="The study file to write.")] = Path("study.yaml"),
) -> None:
    """A commented study file from folders of text."""
    from flows.study.template import write_study

    _, reason = write_study(folder, out)
    print(f"wrote {out}; roles are guessed: {reason}")
    print(f"look it over, then: mixlaw plan {out}")


def catalog(study: StudyFile, as_json: Json = False) -> None:
    """What the corpora hold: documents, sizes, duplicates, flaws."""
    import json

    from flows.pipeline.prepare import Job, catalogue
    from flows.reports import tables as output
    from flows.reports.progress import bar
    from mixing.amounts import format_amount

    job = Job.load(study)
    _ = job.sources
    with bar("catalogue") as report:
        found = catalogue(job, report)
    if as_json:
        output.print_json(json.loads(found.to_json()))
        return
    rows = [
        (
            domain.name,
            domain.role,
            format_amount(domain.documents),
            output.size(domain.bytes),
            format_amount(domain.tokens) if domain.tokens is not None else "-",
            f"{domain.mean_tokens_per_document:.0f}" if domain.mean_tokens_per_document is not None else "-",
            format_amount(domain.duplicates),
            format_amount(domain.empty),
            format_amount(domain.invalid_utf8),
            format_amount(domain.heldout_documents),
        )
        for domain in found.domains
    ]
    header = (
        "domain",
        "role",
        "documents",
        "text",
        "tokens",
        "per document",
        "duplicates",
        "blank",
        "not UTF-8",
    )
    console = output.console()
    console.print(output.table(f"{job.study.study}: corpora", (*header, "held out"), rows, left=2))
    if any(domain.tokens is None for domain in found.domains):
        console.print("tokens are counted when the study is run")
    for shared in found.shared:
        first, second = shared.domains
        console.print(f"note: {first} and {second} share {shared.documents:,} identical documents")


def plan(
    study: StudyFile,
    following: Annotated[
        int | None,
        typer.Option(
            "--next", metavar="K", min=1, max=50, help="The K shares to train next, given what is done."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """The runs it would train and their cost, before any is spent."""
    import os

    from flows.pipeline.cost import cost_of
    from flows.pipeline.prepare import Job, catalogue, plan_before_tokens
    from flows.reports import tables as output
    from flows.reports.plan import plan_json, print_plan
    from flows.reports.progress import bar

    job = Job.load(study)
    if following is not None:
        from flows.pipeline.next_runs import plan_next, print_next_plan

        further = plan_next(job, following)
        if as_json:
            output.print_json(further.to_json())
        else:
            print_next_plan(job, further, output.console())
        return
    _ = job.sources
    with bar("catalogue") as report:
        found = catalogue(job, report)
    planned = plan_before_tokens(job, found)
    cost = cost_of(job, planned, len(os.sched_getaffinity(0)))
    if as_json:
        output.print_json(plan_json(job, planned, cost))
    else:
        print_plan(job, planned, cost, output.console())


def run(study: StudyFile, workers: Workers = None, as_json: Json = False) -> None:
    """Everything, resuming what is done. Ends with the decision; run again after any interruption."""
    from flows.orchestration.local_flow import run_study
    from flows.reports import tables as output
    from flows.settings import home

    outcome = run_study(study, home.home(), workers)
    if as_json:
        from flows.reports.study import outcome_json

        output.print_json(outcome_json(outcome))
    else:
        from flows.reports.study import closing

        closing(outcome, output.console())
    if outcome.unpublished is not None:
        raise outcome.unpublished


def status(study: StudyFile, as_json: Json = False) -> None:
    """Runs done, running, failed, left; how fast they train, and what they cost."""
    from dataclasses import replace

    from flows.pipeline.prepare import Job
    from flows.pipeline.status import print_status, status_of
    from flows.reports import tables as output

    job = Job.load(study)
    found = status_of(job)
    if not job.folder.path.exists():
        from flows.orchestration.remote_status import seen_elsewhere

        found = replace(found, elsewhere=seen_elsewhere(job.study.study))
    if as_json:
        output.print_json(found.to_json())
    else:
        print_status(found, output.console())
