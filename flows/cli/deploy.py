"""`mixlaw deploy`: a study as scheduled Prefect deployments."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Json, StudyFile, TokenChange
from flows.orchestration.register import DeploymentRequest
from flows.orchestration.register import deploy as register
from flows.reports import tables
from flows.reports.deployments import print_deployed
from flows.settings import home
from flows.study.corpora import study_corpora
from flows.study.loading import load_study
from mixing.errors import InputError

Cron = Annotated[
    str | None,
    typer.Option(metavar="CRON", help='When to run the study, such as "0 2 * * *" (default: only by hand).'),
]
RefreshCron = Annotated[
    str | None,
    typer.Option(metavar="CRON", help="When to check its corpora for changes (default: only by hand)."),
]
TimeZone = Annotated[str, typer.Option(help="Time zone of both schedules, such as Europe/Berlin.")]
Pool = Annotated[
    str, typer.Option(help="Work pool; if it does not exist, one for worker processes is created.")
]
Spread = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        help="Train the runs as flow runs of their own, N at a time, on as many workers as there are.",
    ),
]
ProxyPool = Annotated[
    str | None, typer.Option(help="Work pool of the runs that --spread starts (default: the study's).")
]
PromoteGain = Annotated[
    float,
    typer.Option(
        min=0, help="Gain in nats per token that makes a new mix champion although intervals overlap."
    ),
]


def deploy(
    study: StudyFile,
    cron: Cron = None,
    refresh_cron: RefreshCron = None,
    timezone: TimeZone = "UTC",
    pool: Pool = "mixlaw",
    spread: Spread = 0,
    proxy_pool: ProxyPool = None,
    token_change: TokenChange = 0.05,
    promote_gain: PromoteGain = 0.01,
    as_json: Json = False,
) -> None:
    """Create Prefect deployments of a study, scheduled or by hand.

    They are made on the server of PREFECT_API_URL: your own, or Prefect Cloud.
    """
    loaded = load_study(study)
    if proxy_pool is not None and not spread and loaded.runner.kind != "prefect":
        raise InputError("--proxy-pool: without --spread N there are no runs for it", "Give both")
    study_corpora(loaded)
    request = DeploymentRequest(
        loaded,
        home.home_of(loaded.file, loaded.study),
        cron=cron,
        refresh_cron=refresh_cron,
        timezone=timezone,
        pool=pool,
        proxy_pool=pool if proxy_pool is None else proxy_pool,
        spread=spread,
        token_change=token_change,
        promote_gain=promote_gain,
    )
    deployed = register(request)
    if as_json:
        tables.print_json(deployed.to_json())
    else:
        print_deployed(deployed, tables.console())
