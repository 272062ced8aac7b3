"""What Prefect and MLflow know of a study whose home this machine does not see."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from flows.settings import home
from flows.settings.logging import redacted
from flows.tracking.registry import reason


def seen_elsewhere(study: str, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """A line from each server that the environment names; none where it names none. Takes seconds at most."""
    lines = []
    if url := environment.get("PREFECT_API_URL"):
        lines.append(f"Prefect at {url}: " + _said(lambda: _prefect(study)))
    uri = environment.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(("http://", "https://")):
        lines.append(f"MLflow at {redacted(uri)}: " + _said(lambda: _mlflow(study, uri)))
    if lines:
        lines.insert(0, f"nothing of this study in {home.home()} (MIXLAW_HOME); from the servers:")
    return tuple(lines)


def _said(ask: object) -> str:
    assert callable(ask)
    try:
        return str(ask())
    except Exception as error:  # whatever a server or its client does wrong, the rest of the status stands
        return f"no answer ({reason(error)})"


def _prefect(study: str) -> str:
    home.set_defaults(home.home())
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterId,
        FlowRunFilterTags,
        TaskRunFilter,
        TaskRunFilterName,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[study])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=5,
        )
        newest = next((run for run in found if run.start_time is not None), None)
        if newest is None:
            return "no run of this study has started"
        proxies = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[newest.id])),
            task_run_filter=TaskRunFilter(name=TaskRunFilterName(like_="proxy")),
        )
        done = sum(task.state_type is not None and task.state_type.value == "COMPLETED" for task in proxies)
        since = newest.start_time.strftime("%Y-%m-%d %H:%M UTC") if newest.start_time else ""
        return f"flow run {newest.name}: {newest.state_name}, started {since}, {done} of {len(proxies)} proxies done"


def _mlflow(study: str, uri: str) -> str:
    home.set_defaults(home.home())
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return "nothing of this study"
    runs = client.search_runs([experiment.experiment_id], "tags.`mixlaw.kind` = 'proxy'", max_results=50000)
    said = f"{len(runs)} proxies"
    with contextlib.suppress(MlflowException):
        version = client.get_model_version_by_alias(study, "champion")
        said += f"; the mix is version {version.version} ({version.description})"
    return said
