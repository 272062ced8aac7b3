"""A study on the real stack: PostgreSQL, both servers behind logins, two workers, and the scheduler's clock."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scenarios.stack.services import ENTRY, MISSING, Stack, postgres_binaries
from tests.scenarios.tiny_study import mixlaw, write_study

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(540),
    pytest.mark.skipif(postgres_binaries() is None, reason=MISSING),
]

RUN_TIMEOUT = 400.0
"""Seconds from the deployment to the end of the run: up to 60 until the minute is full, then the study."""


@dataclass(frozen=True)
class Ran:
    """A study that the scheduler started and that ended: its flow run, and what the user saw."""

    stack: Stack
    study_run: dict[str, Any]
    screens: list[str] = field(default_factory=list)

    def flow_runs(self, flow: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.stack.prefect_api(
            "flow_runs/filter", {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC"}
        )
        return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("stack")
    study = write_study(folder)
    with Stack(folder) as stack:
        arguments = ("deploy", str(study), "--cron", "* * * * *", "--spread", "4")
        deployed = mixlaw(stack.home, *arguments, **stack.client())
        assert deployed.returncode == 0, deployed.stderr
        run = first_scheduled_run(stack)
        yield Ran(stack, run, [deployed.stdout, deployed.stderr])


def first_scheduled_run(stack: Stack) -> dict[str, Any]:
    """Wait until the first flow run of the study that the scheduler made has ended."""
    deadline = time.monotonic() + RUN_TIMEOUT
    query = {"flows": {"name": {"any_": ["mixlaw study"]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": 1}
    while time.monotonic() < deadline:
        found = stack.prefect_api("flow_runs/filter", query)
        if found and found[0]["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return dict(found[0])
        time.sleep(1)
    state = found[0]["state"] if found else "never scheduled"
    raise AssertionError(
        f"no run in {RUN_TIMEOUT:.0f} s: {state}\n{stack.prefect.tail()}\n{worker_logs(stack)}"
    )


def worker_logs(stack: Stack) -> str:
    return "\n".join(worker.tail() for worker in stack.workers)


def test_the_scheduler_started_the_study_and_it_was_decided(ran: Ran) -> None:
    assert ran.study_run["state_type"] == "COMPLETED", worker_logs(ran.stack)
    assert ran.study_run["auto_scheduled"]
    assert ran.study_run["state"]["message"].startswith("Train with at most ")


def test_both_workers_trained_runs_of_the_swarm(ran: Ran) -> None:
    proxies = [run for run in ran.flow_runs("mixlaw proxy") if run["state_type"] == "COMPLETED"]
    # The base, a proxy per share, and the confirmation.
    assert len(proxies) == 6
    assert {run["labels"]["prefect.worker.name"] for run in proxies} == {"worker-1", "worker-2"}


def test_another_process_exports_the_champion_from_mlflow(ran: Ran, tmp_path: Path) -> None:
    """From a home that holds nothing: all of it comes from the server."""
    client = {key: value for key, value in ran.stack.client().items() if key != "MIXLAW_HOME"}
    out = tmp_path / "mix.yaml"
    done = mixlaw(
        tmp_path / "home", "export", "models:/tiny@champion", "--to", "olmo-core", "--out", str(out), **client
    )
    ran.screens.extend([done.stdout, done.stderr])
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(out.read_text())


def test_databases_are_postgresql(ran: Ran) -> None:
    assert int(ran.stack.sql("prefect", "SELECT count(*) FROM flow_run")) >= 7
    assert int(ran.stack.sql("mlflow", "SELECT count(*) FROM runs")) >= 6
    assert ran.stack.sql("mlflow", "SELECT alias FROM registered_model_aliases") == "champion"
    assert set(ran.stack.sql("mlflow_auth", "SELECT username FROM users").split()) == {"admin", "mixlaw"}


@pytest.mark.parametrize("path", ["/api/flow_runs/filter", "/api/admin/settings"])
def test_prefect_asks_for_the_login(ran: Ran, path: str) -> None:
    assert status(ran.stack.api_url.removesuffix("/api") + path) == 401


@pytest.mark.parametrize("name", ["PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_PASSWORD"])
def test_a_worker_with_a_wrong_login_says_so(ran: Ran, name: str) -> None:
    environment = ran.stack.environment(**{**ran.stack.client(), name: "mixlaw:wrong"})
    command = [sys.executable, str(ENTRY / "worker.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    ran.screens.append(done.stderr)
    assert done.returncode == 2
    assert name in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_mlflow_asks_for_the_login(ran: Ran) -> None:
    assert status(f"{ran.stack.mlflow_url}/api/2.0/mlflow/experiments/get?experiment_id=0") == 401
    assert status(f"{ran.stack.mlflow_url}/") == 401


def test_mlflow_is_called_by_the_names_of_compose_and_no_others(ran: Ran) -> None:
    """Its default refuses the name of the service; and the probes of Kubernetes call it by an address."""
    path = "api/2.0/mlflow/experiments/get?experiment_id=0"
    assert status(f"{ran.stack.mlflow_url}/{path}", host="mlflow:5000") == 401
    assert status(f"{ran.stack.mlflow_url}/{path}", host="elsewhere.example") == 403
    assert status(f"{ran.stack.mlflow_url}/health", host="10.1.2.3:5000") == 200


def status(url: str, host: str = "") -> int:
    """What an address answers to somebody without a login, who may call it by another name."""
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_page_calls_the_api_of_the_host_that_served_it(ran: Ran) -> None:
    """An address that the browser cannot reach is shown as "Unable to connect to Prefect server"."""
    with urllib.request.urlopen(ran.stack.api_url.removesuffix("api") + "ui-settings", timeout=10) as reply:
        assert b'"api_url":"/api"' in reply.read()
    with urllib.request.urlopen(ran.stack.api_url.removesuffix("api"), timeout=10) as reply:
        assert b"<title>Prefect" in reply.read()


def test_secrets_are_in_no_log_database_file_or_command_line(ran: Ran) -> None:
    secrets = [secret.encode() for secret in ran.stack.secrets.values()]
    places: dict[str, bytes] = {
        str(path): path.read_bytes()
        for folder in (ran.stack.folder, ran.stack.data / "postgres.log")
        for path in ([folder] if folder.is_file() else folder.rglob("*"))
        if path.is_file()
    }
    for database in ("prefect", "mlflow"):
        places[f"database {database}"] = ran.stack.dump(database)
    places["command lines"] = "\n".join(ran.stack.processes().values()).encode()
    places["screens"] = "\n".join(ran.screens).encode()
    assert {str(ran.stack.logs / "prefect.log"), str(ran.stack.home / "tiny" / "run.log")} <= set(places)
    found = [place for place, content in places.items() if any(secret in content for secret in secrets)]
    assert not found
