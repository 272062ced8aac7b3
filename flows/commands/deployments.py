"""Commands for teams that leave it running: deploy, refresh, promote, compare."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.study import Json, StudyFile


def deploy(
    study: StudyFile,
    cron: Annotated[
        str, typer.Option(metavar="CRON", help='When the study runs, such as "0 2 * * *"; left out: by hand.')
    ] = "",
    refresh_cron: Annotated[
        str, typer.Option(metavar="CRON", help="When its corpora are looked at again; left out: by hand.")
    ] = "",
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
    as_json: Json = False,
) -> None:
    """Scheduled Prefect deployments of a study, on your server or Prefect Cloud (PREFECT_API_URL)."""
    from flows import home
    from flows.commands import output
    from flows.deployments import Wanted
    from flows.deployments import deploy as register
    from flows.study import Study

    found = Study.load(study)
    found.sources()
    wanted = Wanted(
        found,
        home.home(),
        cron=cron,
        refresh_cron=refresh_cron,
        timezone=timezone,
        pool=pool,
        proxy_pool=proxy_pool or pool,
        spread=spread,
    )
    done = register(wanted)
    if as_json:
        output.print_json(done.to_json())
        return
    from flows.deployments_view import print_deployed

    print_deployed(done, output.console())
