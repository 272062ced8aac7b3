"""A runs table from an MLflow experiment, ours or anybody's: `mlflow:EXPERIMENT`.

Of a finished run it takes the parameters `share.<domain>`, `params` and `seed`, and the history of every metric
`loss.<eval>` (or `loss/<eval>`), whose step is training tokens; step 0 is the base model, in whichever run it was
logged. What the tracker of `flows.tracking.client` wrote is such an experiment, with tags that say more.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from flows.settings import home
from flows.settings.environment import set_defaults, tracking_uri
from flows.tracking.registry import check_file_store, reason
from mixing.amounts import parse_number, parse_size
from mixing.errors import InputError, MixlawError
from mixing.runs.cells import NOTHING
from mixing.runs.columns import SETTINGS
from mixing.runs.table import SHARE, STANDARD_ERRORS, RunTable, make_table

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PREFIX = "mlflow:"
LOSS = ("loss.", "loss/")


def read_experiment(address: str) -> RunTable:
    """The runs table of `mlflow:EXPERIMENT` at MLFLOW_TRACKING_URI, else in the database of MIXLAW_HOME.

    The importer that `read_runs` finds under the name `mlflow`. Raises what `load_experiment` does.
    """
    root = home.home()
    set_defaults(root)
    return load_experiment(address, tracking_uri(root))


def load_experiment(address: str, uri: str) -> RunTable:
    """The runs table of `mlflow:EXPERIMENT` in the MLflow at `uri`.

    Raises InputError where there is no such experiment, or nothing in it to fit; MixlawError where MLflow does
    not answer.
    """
    name = address.removeprefix(PREFIX)
    if not name:
        raise InputError(f"{address}: names no experiment", "Write mlflow:EXPERIMENT")
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        # Asking would create an empty database.
        raise InputError(
            f"{address}: no MLflow store at {uri}",
            "Set MLFLOW_TRACKING_URI, or MIXLAW_HOME to a study's home",
        )
    with _answering(address, uri):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(name)
        if experiment is None or experiment.lifecycle_stage == "deleted":
            names = [other.name for other in client.search_experiments(max_results=30)]
            raise InputError(
                f"{address}: MLflow at {uri} has no such experiment", f"It has: {', '.join(names) or 'none'}"
            )
        logged = _runs(client, experiment.experiment_id)
        runs, notes = _chosen(address, logged, experiment.tags)
        rows = [
            row for run, named in _names(runs).items() for row in _rows(client, address, logged[run], named)
        ]
    if not any(row["tokens"] for row in rows):
        raise InputError(
            f"{address}: no loss.<eval> metric at a step above 0 in the runs with shares",
            "Log losses as loss.<eval> with step = training tokens (docs/runs-table.md)",
        )
    return make_table(pl.DataFrame(rows, infer_schema_length=None), address, notes, in_log_order=True)


def metrics_of_run(experiment: str, name: str) -> list[tuple[int, str, float]]:
    """Step, metric and value of all that one run logged, as trainers log it: Hugging Face's `eval_web_loss`, say.

    Points are in the order of logging. Raises InputError where there is no such run, or several of this name.
    """
    root = home.home()
    set_defaults(root)
    uri, address = tracking_uri(root), f"{PREFIX}{experiment}"
    with _answering(address, uri):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            raise InputError(
                f"{address}: MLflow at {uri} has no such experiment", "Correct the run's log in the map"
            )
        runs = [run for run in _runs(client, found.experiment_id).values() if run.info.run_name == name]
        if len(runs) != 1:
            raise InputError(
                f"{address}: {len(runs)} runs are named {name!r}", "Name the runs of the map as in MLflow"
            )
        points = [
            (point.timestamp, point.step, metric, point.value)
            for metric in runs[0].data.metrics
            for point in client.get_metric_history(runs[0].info.run_id, metric)
        ]
    return [(step, metric, value) for _, step, metric, value in sorted(points)]


@contextlib.contextmanager
def _answering(address: str, uri: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        check_file_store(error, address, uri)
        step = (
            "Is it running?" if uri.startswith(("http://", "https://")) else "Is MLFLOW_TRACKING_URI right?"
        )
        raise MixlawError(f"{address}: MLflow at {uri} did not answer ({reason(error)})", step) from error


def _runs(client: MlflowClient, experiment: str) -> dict[str, Run]:
    """All runs by MLflow id, oldest first."""
    runs: list[Run] = []
    token: str | None = None
    while token is not None or not runs:
        page = client.search_runs(
            [experiment], max_results=1000, page_token=token, order_by=["attributes.start_time ASC"]
        )
        runs.extend(page)
        token = page.token or None
        if token is None:
            break
    return {run.info.run_id: run for run in runs}


def _chosen(
    address: str, runs: dict[str, Run], experiment_tags: dict[str, str]
) -> tuple[dict[str, Run], list[str]]:
    """The runs to read, and notes on those that are not: what a study's own answer is fitted on, where it is one."""
    from flows.tracking.records import KIND_TAG, NEWEST_TAG, PARENT_TAG

    newest = experiment_tags.get(NEWEST_TAG)
    chosen: dict[str, Run] = {}
    left_out: Counter[str] = Counter()
    shared = 0
    for key, run in runs.items():
        if not any(name.startswith(LOSS) for name in run.data.metrics) and not _shares(run):
            continue
        kind = run.data.tags.get(KIND_TAG)
        shared += bool(_shares(run))
        if run.info.status != "FINISHED":
            left_out["not finished"] += 1
        elif kind and newest and run.data.tags.get(PARENT_TAG) != newest:
            left_out["of an earlier question of the study"] += 1
        else:
            chosen[key] = run
    if not shared:
        raise InputError(
            f"{address}: none of its {len(runs)} runs has parameters share.<domain>",
            "Log the share of training tokens of every domain (docs/runs-table.md)",
        )
    return chosen, [f"{address}: {count} run(s) left out: {why}" for why, count in left_out.items()]


def _shares(run: Run) -> dict[str, str]:
    return {name: text for name, text in run.data.params.items() if name.startswith(SHARE)}


def _names(runs: dict[str, Run]) -> dict[str, str]:
    """A name for people of every run: MLflow's, with the start of its id where several have it."""
    names = {key: str(run.info.run_name or key) for key, run in runs.items()}
    count = Counter(names.values())
    return {key: name if count[name] == 1 else f"{name} {key[:8]}" for key, name in names.items()}


def _rows(client: MlflowClient, address: str, run: Run, name: str) -> Iterator[dict[str, Any]]:
    """Rows of the runs table. A run without shares can only tell of the base model, at step 0."""
    shares = {key: _number(address, name, key, text) for key, text in _shares(run).items()}
    facts: dict[str, Any] = {
        key: _number(address, name, key, run.data.params[key]) if key in run.data.params else None
        for key in ("params", "seed")
    }
    facts |= {"heldout": run.data.params.get("heldout")}
    facts |= {name: run.data.params[name] for name in SETTINGS if shares and name in run.data.params}
    for metric in sorted(run.data.metrics):
        if not metric.startswith(LOSS):
            continue
        of_set = metric[len("loss.") :]
        errors = {name: dict(_history(client, run, f"{name}{metric[4]}{of_set}")) for name in STANDARD_ERRORS}
        for step, value in _history(client, run, metric):
            if shares or step == 0:
                losses = {"tokens": step, "eval": of_set, "loss": value}
                losses |= {error: history.get(step) for error, history in errors.items()}
                yield {"run": name, **shares, **facts, **losses}


def _history(client: MlflowClient, run: Run, metric: str) -> list[tuple[int, float]]:
    """Steps and values of a metric as they were logged; none where the run has no such metric."""
    if metric not in run.data.metrics:
        return []
    history = client.get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in sorted(history, key=lambda point: point.timestamp)]


def _number(address: str, run: str, key: str, text: str) -> float | None:
    """What a parameter says; None where it says nothing (`None`, empty)."""
    if text.strip().casefold() in NOTHING:
        return None
    number = parse_size(text) if key == "params" else parse_number(text)
    if number is None:
        raise InputError(
            f"{address}: parameter {key} of run {run!r} is {text!r}, not a number", "Log it as a number"
        )
    return number
