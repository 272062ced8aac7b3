"""`mixlaw deploy`: a study's flows registered as Prefect deployments on a work pool.

Deployments name module-level flows of the installed package (`flows.study_flow` and so on), so workers pull no
code. The home and MLflow's address travel as job variables; passwords never do: they belong to the workers'
environment.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows.orchestration.server import refused
from flows.settings.proxies import PROXIES, ask_local_servers_directly, is_this_machine
from flows.study.models import Study
from flows.tracking.registry import shortened
from mixing.errors import InputError, MixlawError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

POOL = "mixlaw"
POOL_NAME = r"[^/%&<>]*[^/%&<>\s][^/%&<>]*"
"""What Prefect takes, and not only spaces."""


@dataclass(frozen=True)
class DeploymentRequest:
    """What to register. `cron` and `refresh_cron` are None for flows that are started by hand.

    `spread` is how many runs are flow runs of their own at the same time (0: as the study's `runner` says), on
    `proxy_pool`. `token_change` is the relative change of a domain's tokens that a refresh ignores, `promote_gain`
    is in nats per token.
    """

    study: Study
    root: Path
    cron: str | None = None
    refresh_cron: str | None = None
    timezone: str = "UTC"
    pool: str = POOL
    proxy_pool: str = POOL
    spread: int = 0
    token_change: float = 0.05
    promote_gain: float = 0.01

    @property
    def spreads(self) -> bool:
        """Whether runs are flow runs of their own, which needs the deployment `mixlaw proxy`."""
        return self.spread > 0 or self.study.runner.kind == "prefect"


@dataclass(frozen=True)
class Registered:
    """One deployment as the server has it. `url` is its page in Prefect's UI, empty where there is none."""

    flow: str
    name: str
    id: str
    pool: str
    cron: str | None
    parameters: dict[str, Any]
    url: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.name}"


@dataclass(frozen=True)
class DeploymentResult:
    """What `mixlaw deploy` did. `created_pools` are those that did not exist.

    `changes` says in words what an earlier deploy had set and this one removed; `workers` how many polled each
    pool lately.
    """

    api: str
    deployments: tuple[Registered, ...]
    created_pools: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    workers: dict[str, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    timezone: str = "UTC"

    def to_json(self) -> dict[str, Any]:
        return {
            "api": self.api,
            "deployments": [
                {
                    "name": deployment.full_name,
                    "id": deployment.id,
                    "pool": deployment.pool,
                    "cron": deployment.cron,
                    "timezone": self.timezone,
                    "parameters": deployment.parameters,
                    "url": deployment.url or None,
                }
                for deployment in self.deployments
            ],
            "created_pools": list(self.created_pools),
            "changes": list(self.changes),
            "workers": self.workers,
            "environment": self.environment,
        }


def deploy(request: DeploymentRequest) -> DeploymentResult:
    """Register the study's deployments, or update them.

    Raises InputError for a schedule that is none or where no Prefect server is named, MixlawError where the
    server does not answer or refuses.
    """
    environment = job_environment(request.root)
    for option, pool in (("--pool", request.pool), ("--proxy-pool", request.proxy_pool)):
        if not re.fullmatch(POOL_NAME, pool):
            raise InputError(
                f"{option} {pool!r}: not the name of a work pool", "Such as mixlaw or gpu-nights"
            )
    check_cron(request.cron, request.timezone)
    check_cron(request.refresh_cron, request.timezone, "--refresh-cron")
    api = api_url()
    with _answering(api) as client:
        pools = dict.fromkeys([request.pool, *([request.proxy_pool] if request.spreads else [])])
        created = tuple(pool for pool in pools if _ensure_pool(client, pool))
        before = _before(client, request.study.study)
        registered = tuple(_register(request, environment))
        changes = _changes(before, registered, request)
        workers = {pool: _polling(client, pool) for pool in pools}
    return DeploymentResult(api, registered, created, changes, workers, environment, request.timezone)


def _before(client: SyncPrefectClient, study: str) -> dict[str, DeploymentResponse]:
    """The study's deployments as they were, by full name."""
    from prefect.exceptions import ObjectNotFound

    from flows.proxy_flow import PROXY
    from flows.refresh_flow import REFRESH
    from flows.study_flow import STUDY

    registered = {}
    for flow in (STUDY, REFRESH, PROXY):
        with contextlib.suppress(ObjectNotFound):
            registered[f"{flow}/{study}"] = client.read_deployment_by_name(f"{flow}/{study}")
    return registered


def _changes(
    before: dict[str, DeploymentResponse], now: tuple[Registered, ...], request: DeploymentRequest
) -> tuple[str, ...]:
    changes = []
    for part in now:
        if (earlier := before.get(part.full_name)) is None:
            continue
        schedule_now = f"{part.cron} ({request.timezone})" if part.cron else None
        times = [_when(schedule.schedule) for schedule in earlier.schedules]
        changes += [f"{part.full_name}: schedule {time} is removed" for time in times if time != schedule_now]
        if earlier.work_pool_name != part.pool:
            changes.append(f"{part.full_name}: moved from work pool {earlier.work_pool_name} to {part.pool}")
    study = before.get(now[0].full_name)
    if study is not None and not request.spreads and study.parameters.get("spread"):
        changes.append(
            f"its runs are trained where it runs itself: --spread was {study.parameters['spread']}"
        )
    return tuple(changes)


def _when(schedule: Any) -> str:
    """A schedule in words; people may have added other kinds on Prefect's page."""
    for key in ("cron", "interval", "rrule"):
        if (value := getattr(schedule, key, None)) is not None:
            return f"{'every ' if key == 'interval' else ''}{value} ({schedule.timezone})"
    return str(schedule)


def _polling(client: SyncPrefectClient, pool: str) -> int:
    """How many workers have asked the pool for work lately; Prefect notices after a minute or so that one is gone."""
    return sum(worker.status == "ONLINE" for worker in client.read_workers_for_work_pool(pool))


def job_environment(root: Path) -> dict[str, str]:
    """The variables that workers need for this home. Raises InputError where one would carry a password."""
    variables = {"MIXLAW_HOME": str(root.absolute())}
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri:
        parts = urlsplit(uri)
        if parts.username or parts.password:
            raise InputError(
                "MLFLOW_TRACKING_URI holds a user or password, which a deployment would show to everybody",
                "Leave it out of the address; give workers MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
            )
        variables["MLFLOW_TRACKING_URI"] = uri
    host = urlsplit(os.environ.get("PREFECT_API_URL", "")).hostname or ""
    if any(name.lower() in PROXIES for name in os.environ) and is_this_machine(host):
        # A flow run asks the server before any code of ours could exempt it from the proxy.
        ask_local_servers_directly()
        variables |= {name: os.environ[name] for name in ("NO_PROXY", "no_proxy") if name in os.environ}
    return variables


def check_cron(cron: str | None, timezone: str, option: str = "--cron") -> None:
    """Raises InputError for what Prefect would not schedule, and for a sixth field, which would count seconds."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    wrong = InputError(
        f"{option} {cron!r}: not a cron schedule", 'Minute, hour, day, month, weekday: "0 2 * * *" is 2 a.m.'
    )
    if cron is not None and not 1 <= len(cron.split()) <= 5:
        raise wrong
    try:
        CronSchedule(cron="0 0 * * *" if cron is None else cron, timezone=timezone)
    except ValidationError as error:
        field_name = str(error.errors()[0]["loc"][-1]) if error.errors()[0]["loc"] else "cron"
        if field_name == "timezone":
            raise InputError(f"--timezone {timezone}: not a time zone", "Such as Europe/Berlin") from None
        raise wrong from None


def api_url() -> str:
    """Prefect's API by `PREFECT_API_URL` or the active profile. Raises InputError where neither names one."""
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if not url:
        raise InputError(
            "PREFECT_API_URL is not set: a deployment needs a Prefect server that stays",
            "Start one (prefect server start) and set PREFECT_API_URL=http://127.0.0.1:4200/api, or log in to "
            "Prefect Cloud (prefect cloud login)",
        )
    return str(url)


@contextlib.contextmanager
def _answering(api: str) -> Iterator[SyncPrefectClient]:
    """A client of a server that answers and knows us; its failures as one line."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException, PrefectHTTPStatusError

    try:
        with get_client(sync_client=True) as client:
            client.read_work_pools(limit=1)
            yield client
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise refused(api, status) from None
        raise MixlawError(
            f"Prefect at {api} answered with status {status} ({_reason(error)})",
            "Is PREFECT_API_URL the address of its API (it ends with /api), and the server of version 3?",
        ) from None
    except PrefectException as error:
        raise MixlawError(
            f"Prefect at {api} refused the deployment ({shortened(str(error))})",
            "See what it names; `prefect work-pool inspect` shows what a pool takes",
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise MixlawError(
            f"Prefect at {api} does not answer ({shortened(str(error)) or type(error).__name__})",
            "Is the server running, and PREFECT_API_URL right? Start one with: prefect server start",
        ) from None


def _reason(error: Any) -> str:
    with contextlib.suppress(Exception):
        return shortened(str(error.response.json().get("detail") or error.response.reason_phrase))
    return str(error.response.reason_phrase)


def _ensure_pool(client: SyncPrefectClient, name: str) -> bool:
    """Create the work pool, for worker processes, where there is none; whether it was created."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(name)
        return False
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
        return True


def _register(request: DeploymentRequest, environment: dict[str, str]) -> Iterator[Registered]:
    from flows.proxy_flow import proxy_flow
    from flows.refresh_flow import refresh_flow
    from flows.study_flow import study_flow

    shared: dict[str, Any] = {
        "study_file": str(request.study.file),
        "spread": request.spread,
        "promote_gain": request.promote_gain,
    }
    yield _one(request, environment, study_flow, shared, request.pool, request.cron)
    refresh = {**shared, "token_change": request.token_change}
    yield _one(request, environment, refresh_flow, refresh, request.pool, request.refresh_cron)
    if request.spreads:
        one_run = {"study": request.study.study}
        yield _one(request, environment, proxy_flow, one_run, request.proxy_pool, None)


def _one(
    request: DeploymentRequest,
    environment: dict[str, str],
    flow: Any,
    parameters: dict[str, Any],
    pool: str,
    cron: str | None,
) -> Registered:
    import importlib.metadata

    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType
    from prefect.utilities.urls import url_for

    from flows.orchestration.crashed_runs import study_tag
    from flows.proxy_flow import PROXY
    from flows.trainers.prefect import proxies_tag

    study = request.study
    tag_of = proxies_tag if flow.name == PROXY else study_tag
    deployment = flow.to_deployment(
        name=study.study,
        schedules=[Cron(cron, timezone=request.timezone)] if cron else [],
        parameters=parameters,
        description=f"{flow.description}\n\nStudy file `{study.file}`, home `{request.root}`.",
        tags=["mixlaw", study.study, tag_of(request.root / study.study)],
        version=importlib.metadata.version("mixlaw"),
        work_pool_name=pool,
        job_variables={"env": environment},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment.storage = _nothing_to_pull()
    identity = str(deployment.apply())
    return Registered(
        flow.name, study.study, identity, pool, cron, parameters, url_for("deployment", identity) or ""
    )


def _nothing_to_pull() -> Any:
    """A pull step that stays where the flow run starts.

    Without any, Prefect copies the folder in which the worker's process starts to a temporary one, whole.
    """
    from prefect.runner.storage import LocalStorage

    class InPlace(LocalStorage):
        def to_pull_step(self) -> dict[str, Any]:
            return {"prefect.deployments.steps.set_working_directory": {"directory": "."}}

    return InPlace(".")
