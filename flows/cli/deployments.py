"""Commands for teams that leave it running: deploy, refresh, promote, compare."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flows.cli.study import Json, StudyFile, Workers

TokenChange = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Share of a domain's tokens or documents that may change without consequence."
    ),
]


def deploy(
    study: StudyFile,
    cron: Annotated[
        str | None,
        typer.Option(metavar="CRON", help='When the study runs, such as "0 2 * * *"; left out: by hand.'),
    ] = None,
    refresh_cron: Annotated[
        str | None,
        typer.Option(metavar="CRON", help="When its corpora are looked at again; left out: by hand."),
    ] = None,
    timezone: Annotated[str, typer.Option(help="Of both, such as Europe/Berlin.")] = "UTC",
    pool: Annotated[
        str, typer.Option(help="Work pool; one for worker processes is created where there is none.")
    ] = "mixlaw",
    spread: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Runs as flow runs of their own, N at a time, for several workers."
        ),
    ] = 0,
    proxy_pool: Annotated[
        str | None, typer.Option(help="Work pool of those (default: that of the study).")
    ] = None,
    token_change: TokenChange = 0.05,
    promote_gain: Annotated[
        float,
        typer.Option(min=0, help="Nats per token that make a new mix champion where intervals overlap."),
    ] = 0.01,
    as_json: Json = False,
) -> None:
    """Scheduled Prefect deployments of a study, on your server or Prefect Cloud (PREFECT_API_URL)."""
    from flows.orchestration.register import Wanted
    from flows.orchestration.register import deploy as register
    from flows.reports import tables as output
    from flows.settings import home
    from flows.study.models import Study
    from mixing.errors import InputError

    if proxy_pool is not None and not spread:
        raise InputError("--proxy-pool: there are no runs for it without --spread N", "Give both")
    found = Study.load(study)
    found.sources()
    wanted = Wanted(
        found,
        home.home(),
        cron=cron,
        refresh_cron=refresh_cron,
        timezone=timezone,
        pool=pool,
        proxy_pool=pool if proxy_pool is None else proxy_pool,
        spread=spread,
        token_change=token_change,
        promote_gain=promote_gain,
    )
    done = register(wanted)
    if as_json:
        output.print_json(done.to_json())
        return
    from flows.reports.deployments import print_deployed

    print_deployed(done, output.console())


def refresh(
    study: StudyFile, token_change: TokenChange = 0.05, workers: Workers = None, as_json: Json = False
) -> None:
    """Look at the corpora again; run the study only if a change can move its mix."""
    from flows.orchestration.corpus_changes import look
    from flows.pipeline.prepare import Job
    from flows.reports import tables as output
    from flows.reports.progress import bar
    from flows.settings import home

    job = Job.load(study)
    _ = job.sources
    job.create_folder()
    running = home.owner(job.folder)
    if running is not None:
        raise home.already_running(job.folder, running)
    with bar("catalogue") as report:
        found = look(job, token_change, report)
    said = {"changed": found.changed, "reasons": list(found.reasons), "notes": list(found.notes)}
    said |= {"since_version": found.version or None}
    if not found.changed:
        if as_json:
            output.print_json(said)
        else:
            print(f"{job.study.study}: {found.sentence()}")
        return
    from flows.orchestration.local_flow import run_study
    from flows.reports.study import closing, outcome_json

    print(f"{job.study.study}: {found.sentence()}", file=sys.stderr)
    outcome = run_study(study, home.home(), workers, note=found.sentence())
    if as_json:
        output.print_json({**said, **outcome_json(outcome)})
    else:
        closing(outcome, output.console())
    if outcome.unpublished is not None:
        raise outcome.unpublished


def promote(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The study, whose mix is registered by its name.")
    ],
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", min=1, help="Default: the challenger.")
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="Roll back to the champion before this one.")] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Only show versions and past champions.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Noted in the history.")] = "",
    as_json: Json = False,
) -> None:
    """Make a version of a mix the champion, by hand; or roll back."""
    from flows.reports import tables as output
    from flows.settings import home
    from mixing.errors import InputError

    if back and version is not None:
        raise InputError("promote: --back and VERSION exclude each other", "Give one of them")
    root = home.home()
    home.set_defaults(root)
    from flows.tracking import registry

    uri = home.tracking_uri(root)
    turn = None
    if back:
        turn = registry.roll_back(name, uri, reason)
    elif not history:
        turn = registry.promote(name, uri, None if version is None else str(version), reason)
    now = registry.standing(name, uri)
    if as_json:
        output.print_json(now.to_json())
        return
    from flows.reports.comparison import print_standing

    if turn is not None:
        before = f", version {turn.before} was" if turn.before else ""
        print(f"models:/{name}@champion is version {turn.version}{before}")
    print_standing(now, output.console())


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A mixspec.yaml, or models:/NAME@champion.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Such as models:/NAME@challenger.")],
    as_json: Json = False,
) -> None:
    """Two mixes side by side: shares, predicted losses, intervals, cost."""
    from flows.cli.mix import load_mix
    from flows.pipeline.comparison import compare as side_by_side
    from flows.reports import tables as output

    found = side_by_side(load_mix(first), load_mix(second), (first, second))
    if as_json:
        output.print_json(found.to_json())
        return
    from flows.reports.comparison import print_comparison

    print_comparison(found, output.console())
