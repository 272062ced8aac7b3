"""`mixlaw deploy`: a study's flows registered as Prefect deployments on a work pool.

Deployments name module-level flows of the installed package (`flows.deployed`), so workers pull no code. The
home and MLflow's address travel as job variables; passwords never do: they belong to the workers' environment.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows.study import Study
from mixing.errors import InputError, MixlawError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POOL = "mixlaw"


@dataclass(frozen=True)
class Wanted:
    """What is to be registered. `cron` and `refresh_cron` are empty for flows that are started by hand.

    `spread` is how many runs are flow runs of their own at the same time (0: trained where the study runs), on
    `proxy_pool`. `token_change` is the relative change of a domain's tokens that a refresh takes no notice of,
    `promote_gain` nats per token.
    """

    study: Study
    root: Path
    cron: str = ""
    refresh_cron: str = ""
    timezone: str = "UTC"
    pool: str = POOL
    proxy_pool: str = POOL
    spread: int = 0
    token_change: float = 0.05
    promote_gain: float = 0.01


@dataclass(frozen=True)
class Registered:
    """One deployment as the server has it. `url` is its page in Prefect's UI, empty where there is none."""

    flow: str
    name: str
    id: str
    pool: str
    cron: str
    parameters: dict[str, Any]
    url: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.name}"


@dataclass(frozen=True)
class Deployed:
    """What `mixlaw deploy` did. `created_pools` are those that were not there."""

    api: str
    deployments: tuple[Registered, ...]
    created_pools: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    timezone: str = "UTC"

    def to_json(self) -> dict[str, Any]:
        return {
            "api": self.api,
            "deployments": [
                {
                    "name": found.full_name,
                    "id": found.id,
                    "pool": found.pool,
                    "cron": found.cron or None,
                    "timezone": self.timezone,
                    "parameters": found.parameters,
                    "url": found.url or None,
                }
                for found in self.deployments
            ],
            "created_pools": list(self.created_pools),
            "environment": self.environment,
        }


def deploy(wanted: Wanted) -> Deployed:
    """Register the study's deployments, or update them.

    Raises InputError for a schedule that is none or where no Prefect server is named, MixlawError where the
    server does not answer or refuses.
    """
    environment = job_environment(wanted.root)
    check_cron(wanted.cron, wanted.timezone)
    check_cron(wanted.refresh_cron, wanted.timezone, "--refresh-cron")
    api = api_url()
    with _answering(api) as client:
        pools = dict.fromkeys([wanted.pool, *([wanted.proxy_pool] if wanted.spread else [])])
        created = tuple(pool for pool in pools if _ensure_pool(client, pool))
        registered = tuple(_register(wanted, environment))
    return Deployed(api, registered, created, environment, wanted.timezone)


def job_environment(root: Path) -> dict[str, str]:
    """What workers must know of this home. Raises InputError where it would carry a password."""
    found = {"MIXLAW_HOME": str(root.absolute())}
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri:
        parts = urlsplit(uri)
        if parts.username or parts.password:
            raise InputError(
                "MLFLOW_TRACKING_URI holds a user or password, which a deployment would show to everybody",
                "Leave it out of the address; give workers MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
            )
        found["MLFLOW_TRACKING_URI"] = uri
    return found


def check_cron(cron: str, timezone: str, option: str = "--cron") -> None:
    """Raises InputError for what Prefect would not schedule, and for a sixth field, which would count seconds."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    wrong = InputError(
        f"{option} {cron!r}: not a cron schedule", 'Minute, hour, day, month, weekday: "0 2 * * *" is 2 a.m.'
    )
    if len(cron.split()) > 5:
        raise wrong
    try:
        CronSchedule(cron=cron or "0 0 * * *", timezone=timezone)
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
            raise MixlawError(
                f"Prefect at {api} refused us (status {status})",
                "Set PREFECT_API_AUTH_STRING as the server has it, or PREFECT_API_KEY for Prefect Cloud",
            ) from None
        raise MixlawError(
            f"Prefect at {api} answered with status {status} ({_reason(error)})",
            "Is PREFECT_API_URL the address of its API (it ends with /api), and the server of version 3?",
        ) from None
    except PrefectException as error:
        raise MixlawError(
            f"Prefect at {api} refused the deployment ({' '.join(str(error).split())[:200]})",
            "See what it names; `prefect work-pool inspect` shows what a pool takes",
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise MixlawError(
            f"Prefect at {api} does not answer ({str(error)[:120] or type(error).__name__})",
            "Is the server running, and PREFECT_API_URL right? Start one with: prefect server start",
        ) from None


def _reason(error: Any) -> str:
    with contextlib.suppress(Exception):
        return str(error.response.json().get("detail") or error.response.reason_phrase)[:200]
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


def _register(wanted: Wanted, environment: dict[str, str]) -> Iterator[Registered]:
    from flows import deployed

    shared: dict[str, Any] = {
        "study_file": str(wanted.study.file),
        "spread": wanted.spread,
        "promote_gain": wanted.promote_gain,
    }
    yield _one(wanted, environment, deployed.study, shared, wanted.pool, wanted.cron)
    again = {**shared, "token_change": wanted.token_change}
    yield _one(wanted, environment, deployed.refresh, again, wanted.pool, wanted.refresh_cron)
    if wanted.spread:
        yield _one(wanted, environment, deployed.proxy, {"study": wanted.study.study}, wanted.proxy_pool, "")


def _one(
    wanted: Wanted,
    environment: dict[str, str],
    flow: Any,
    parameters: dict[str, Any],
    pool: str,
    cron: str,
) -> Registered:
    import importlib.metadata

    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType
    from prefect.utilities.urls import url_for

    from flows.reaping import proxies_tag, study_tag

    study = wanted.study
    tag_of = proxies_tag if flow.name == "mixlaw proxy" else study_tag
    deployment = flow.to_deployment(
        name=study.study,
        schedules=[Cron(cron, timezone=wanted.timezone)] if cron else [],
        parameters=parameters,
        description=f"{flow.description}\n\nStudy file `{study.file}`, home `{wanted.root}`.",
        tags=["mixlaw", study.study, tag_of(wanted.root / study.study)],
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
