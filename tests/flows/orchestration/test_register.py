"""Deployments on a real Prefect server: what is registered, updated, refused, and how the flows run there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Finished
from tests.scenarios.tiny_study import ROOT, STUDY, environment, mixlaw, write_study


def deploy(study: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return mixlaw(study.parent / "home", "deploy", str(study), *arguments, **more)


STAYS = {"prefect.deployments.steps.set_working_directory": {"directory": "."}}


def refused(done: subprocess.CompletedProcess[str], status: int, *said: str) -> None:
    assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr
    for text in said:
        assert text in done.stderr


def registered(name: str) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name(name)


def test_deploy_registers_and_updates(prefect_server: None, tmp_path: Path) -> None:
    study = write_study(tmp_path)
    flags = ("--cron", "0 2 * * *", "--timezone", "Europe/Berlin", "--pool", "nights", "--spread", "3")
    done = deploy(study, *flags, "--json", MLFLOW_TRACKING_URI="http://mlflow:5000")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["created_pools"] == ["nights"]
    names = [part["name"] for part in found["deployments"]]
    assert names == ["mixlaw study/tiny", "mixlaw refresh/tiny", "mixlaw proxy/tiny"]
    environment_of = {"MIXLAW_HOME": str(tmp_path / "home"), "MLFLOW_TRACKING_URI": "http://mlflow:5000"}
    assert found["environment"] == environment_of
    first = registered("mixlaw study/tiny")
    assert first.entrypoint == "flows.study_flow.study_flow"
    # Without a pull step Prefect copies the folder that the worker's process starts in.
    assert (first.path, first.pull_steps) == (None, [STAYS])
    assert first.work_pool_name == "nights"
    assert first.job_variables == {"env": environment_of}
    assert first.parameters == {"study_file": str(study), "spread": 3, "promote_gain": 0.01}
    assert {"mixlaw", "tiny"} <= set(first.tags)
    (schedule,) = first.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("0 2 * * *", "Europe/Berlin")
    assert "Study file" in first.description

    again = deploy(study, "--refresh-cron", "*/5 * * * *", "--pool", "nights", "--token-change", "0.1")
    assert again.returncode == 0, again.stderr
    for text in ("mixlaw refresh/tiny", "*/5 * * * * (UTC)", "prefect worker start --pool nights"):
        assert text in again.stdout
    said = " ".join(again.stdout.split())
    assert "changed: mixlaw study/tiny: schedule 0 2 * * * (Europe/Berlin) is removed" in said
    assert "--spread was 3" in said
    assert "(no workers seen there lately)" in said
    second = registered("mixlaw study/tiny")
    assert (second.id, second.schedules) == (first.id, [])
    assert second.parameters["spread"] == 0
    refresh = registered("mixlaw refresh/tiny")
    assert refresh.parameters["token_change"] == 0.1
    assert len(refresh.schedules) == 1


def test_a_study_that_names_prefect_as_its_runner_gets_a_flow_for_its_runs(
    prefect_server: None, tmp_path: Path
) -> None:
    study = write_study(tmp_path, STUDY.replace("study: tiny", "study: spread") + "runner: prefect\n")
    done = deploy(study, "--proxy-pool", "gpus", "--json")
    assert done.returncode == 0, done.stderr
    pools = {part["name"]: part["pool"] for part in json.loads(done.stdout)["deployments"]}
    assert pools == {
        "mixlaw study/spread": "mixlaw",
        "mixlaw refresh/spread": "mixlaw",
        "mixlaw proxy/spread": "gpus",
    }


def test_what_deploy_refuses(prefect_server: None, tmp_path: Path) -> None:
    study = write_study(tmp_path)
    refused(deploy(study, "--cron", "every night"), 2, "--cron", "not a cron schedule", "0 2 * * *")
    refused(deploy(study, "--refresh-cron", "0 * * * * *"), 2, "--refresh-cron", "not a cron schedule")
    refused(deploy(study, "--cron", ""), 2, "--cron ''", "not a cron schedule")
    refused(deploy(study, "--pool", "a/b"), 2, "--pool 'a/b'", "not the name of a work pool")
    refused(deploy(study, "--proxy-pool", "", "--spread", "2"), 2, "--proxy-pool ''")
    refused(deploy(study, "--proxy-pool", "gpus"), 2, "without --spread")
    refused(deploy(study, MIXLAW_HOME=str(study)), 2, "MIXLAW_HOME", "is not a folder")
    refused(deploy(study, "--timezone", "Mars/Olympus"), 2, "not a time zone")
    refused(deploy(tmp_path / "none.yaml"), 2, "no such study file")
    refused(
        deploy(study, MLFLOW_TRACKING_URI="https://me:hunter22@mlflow"),
        2,
        "MLFLOW_TRACKING_USERNAME",
        "password",
    )
    assert not (tmp_path / "home").exists()


def test_no_server(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    nowhere = {"PREFECT_API_URL": "", "PREFECT_HOME": str(tmp_path / "prefect")}
    refused(deploy(study, **nowhere), 2, "PREFECT_API_URL is not set", "prefect server start")
    away = {**nowhere, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    refused(deploy(study, **away), 1, "does not answer", "PREFECT_API_URL")


@pytest.fixture
def guarded() -> Iterator[str]:
    """The address of a server that knows nobody."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(401)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()


def test_a_server_that_does_not_know_us(guarded: str, tmp_path: Path) -> None:
    done = deploy(write_study(tmp_path), PREFECT_API_URL=guarded, PREFECT_API_AUTH_STRING="me:hunter22")
    refused(done, 1, "refused us (status 401)", "PREFECT_API_AUTH_STRING")
    assert "hunter22" not in done.stdout + done.stderr


def test_a_study_that_prefect_does_not_know(guarded: str, finished: Finished) -> None:
    done = mixlaw(finished.home, "run", str(finished.study), PREFECT_API_URL=guarded)
    assert done.returncode == 1
    assert "refused us (status 401). Set PREFECT_API_AUTH_STRING" in done.stderr
    assert "Traceback" not in done.stderr


def in_flow(code: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run flows as a worker does, in a folder of their own; each line printed is a state."""
    script = (
        "from flows import deployed\n"
        "def show(state): print(state.type.value, state.name, state.message, sep='|')\n" + code
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment(home, **more),
        cwd=home.parent,
        capture_output=True,
        text=True,
    )


def states(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    return [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 2]


def test_flows_answer_from_what_is_done(original: Finished) -> None:
    """The study, a refresh that finds nothing, and one run; a second start while the study is held."""
    run = json.loads((original.folder / "runs" / "answered.json").read_text())["runs"][-1]
    done = in_flow(
        f"study = {str(original.study)!r}\n"
        "show(deployed.study(study, return_state=True))\n"
        "show(deployed.refresh(study, return_state=True))\n"
        f"show(deployed.proxy('tiny', {run!r}, 'a proxy', return_state=True))\n"
        "show(deployed.proxy('../tiny', '..', 'a proxy', return_state=True))\n"
        "from flows.settings.home import StudyFolder; from flows.settings.locks import exclusive\n"
        "from pathlib import Path; import os\n"
        "folder = StudyFolder(Path(os.environ['MIXLAW_HOME']) / 'tiny')\n"
        "with exclusive(folder): show(deployed.refresh(study, return_state=True))\n"
        "show(deployed.study('study.yaml', return_state=True))\n",
        original.home,
    )
    assert done.returncode == 0, done.stderr
    study, refresh, proxy, outside, held, relative = states(done)
    decided = json.loads((original.folder / "decision.json").read_text())
    assert study[:2] == ["COMPLETED", "Completed"]
    assert f"{decided['critical_ratio']:.3f}, 90% interval" in study[2]
    assert study[2].endswith("version 1 (champion)")
    assert refresh == ["COMPLETED", "Unchanged", "unchanged since version 1"]
    assert proxy == ["COMPLETED", "Completed", f"run {run} is done"]
    assert outside[0] == "FAILED"
    assert "not the name of a study" in outside[2]
    assert held[:2] == ["COMPLETED", "Skipped"]
    assert "is running already" in held[2]
    assert relative[0] == "FAILED"
    assert "not an absolute path" in relative[2]


def test_a_flow_run_without_a_home_says_so(finished: Finished) -> None:
    done = in_flow(
        f"show(deployed.study({str(finished.study)!r}, return_state=True))", finished.home, MIXLAW_HOME=""
    )
    ((kind, _, message),) = states(done)
    assert kind == "FAILED"
    assert "MIXLAW_HOME is not set" in message


def test_the_page_and_the_event(finished: Finished) -> None:
    """The decision as the flow run shows it: answer first, figure in it, and where MLflow has it."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

    logged = (finished.folder / "events.jsonl").read_text().splitlines()
    flow_run = next(line["flow_run"] for line in map(json.loads, logged) if line.get("flow_run"))
    wanted = ArtifactFilter(
        key=ArtifactFilterKey(any_=["tiny-decision"]),
        flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run]),
    )
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    page = str(found[0].data)
    assert page.startswith("**Train with ")
    assert page.index("recommended mix") < page.index("Mix: `models:/tiny/1` (champion)") < page.index("![")
    assert "(data:image/png;base64," in page
    assert "| confirmation | predicted | observed |" in page


def test_files_of_deploy_are_what_prefect_reads(tmp_path: Path) -> None:
    """`deploy/prefect.yaml` and `deploy/automation.yaml`, by Prefect's own models, against our flows."""
    from prefect.automations import AutomationCore
    from prefect.cli.deploy._models import PrefectYamlModel
    from prefect.flows import load_flow_from_entrypoint

    file = ROOT / "deploy" / "prefect.yaml"
    PrefectYamlModel.model_validate(yaml.safe_load(file.read_text()))
    assert yaml.safe_load(file.read_text())["pull"] == [STAYS]
    for part in yaml.safe_load(file.read_text())["deployments"]:
        flow = load_flow_from_entrypoint(part["entrypoint"])
        assert set(part["parameters"]) <= set(flow.parameters.properties)
    text = (
        (ROOT / "deploy" / "automation.yaml")
        .read_text()
        .replace("BLOCK", "4dc561e8-3249-4f71-9f8a-1631d8709fcf")
    )
    decision, failed = (AutomationCore.model_validate(part) for part in yaml.safe_load(text)["automations"])
    from flows.orchestration.events import DECISION
    from flows.refresh_flow import REFRESH
    from flows.study_flow import STUDY

    assert decision.trigger.expect == {DECISION}
    assert "Crashed" in str(failed.trigger.expect)
    assert failed.trigger.match_related["prefect.resource.name"] == [STUDY, REFRESH]


def test_deployments_of_version_0_1_0_name_the_same_flows() -> None:
    """Their entrypoints are `flows.deployed.study` and so on; a worker loads them as Prefect does."""
    from prefect.flows import load_flow_from_entrypoint

    from flows.proxy_flow import proxy_flow
    from flows.refresh_flow import refresh_flow
    from flows.study_flow import study_flow

    flows = {"study": study_flow, "refresh": refresh_flow, "proxy": proxy_flow}
    for name, flow in flows.items():
        assert load_flow_from_entrypoint(f"flows.deployed.{name}") is flow
        assert load_flow_from_entrypoint(f"flows.deployed:{name}") is flow
        assert load_flow_from_entrypoint(f"flows.{name}_flow.{name}_flow") is flow
        assert flow.name == f"mixlaw {name}"


def test_help_does_not_need_a_server() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli.main", "deploy", "--help"],
        env={**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert "--refresh-cron" in done.stdout
