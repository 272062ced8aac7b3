"""What Prefect and MLflow know of a study whose home this machine does not see."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from flows.pipeline.publication import CHAMPION
from flows.settings.environment import set_defaults
from flows.settings.logging import redacted
from flows.tracking.records import KIND_TAG
from flows.tracking.registry import reason


def remote_status(study: str, root: Path, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """A line from each server that the environment names; none where it names none. Takes seconds at most."""
    lines = []
    if url := environment.get("PREFECT_API_URL"):
        lines.append(f"Prefect at {url}: " + _answer(lambda: _prefect(study, root)))
    uri = environment.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(("http://", "https://")):
        lines.append(f"MLflow at {redacted(uri)}: " + _answer(lambda: _mlflow(study, uri, root)))
    if lines:
        lines.insert(0, f"nothing of this study in {root} (MIXLAW_HOME); from the servers:")
    return tuple(lines)


def _answer(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except Exception as error:  # what a server or its client does wrong must not hide the rest of the status
        return f"no answer ({reason(error)})"


def _prefect(study: str, root: Path) -> str:
    set_defaults(root)
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterId,
        FlowRunFilterTags,
        TaskRunFilter,
        TaskRunFilterTags,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    from flows.orchestration.tasks import kind_tag

    with get_client(sync_client=True) as client:
        latest = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[study])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=5,
        )
        newest = next((run for run in latest if run.start_time is not None), None)
        if newest is None:
            return "no run of this study has started"
        proxies = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[newest.id])),
            task_run_filter=TaskRunFilter(tags=TaskRunFilterTags(all_=[kind_tag("proxy")])),
        )
        done = sum(task.state_type is not None and task.state_type.value == "COMPLETED" for task in proxies)
        since = newest.start_time.strftime("%Y-%m-%d %H:%M UTC") if newest.start_time else ""
        trained = f", {done} of {len(proxies)} proxies done" if proxies else ""
        return f"flow run {newest.name}: {newest.state_name}, started {since}{trained}"


def _mlflow(study: str, uri: str, root: Path) -> str:
    set_defaults(root)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return "nothing of this study"
    runs = client.search_runs([experiment.experiment_id], f"tags.`{KIND_TAG}` = 'proxy'", max_results=50000)
    line = f"{len(runs)} proxies"
    with contextlib.suppress(MlflowException):
        version = client.get_model_version_by_alias(study, CHAMPION)
        line += f"; the mix is version {version.version} ({version.description})"
    return line
