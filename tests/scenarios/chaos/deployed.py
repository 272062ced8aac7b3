"""kill -9 to Prefect's workers, flow runs and proxies of a deployed study that is spread over two workers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from flows.settings import home as homes
from flows.settings import locks
from tests.scenarios.chaos.kills import LONGEST, WORKS, client_of
from tests.scenarios.chaos.tally import DoneWatch, Reference, Tally, events, log_size, settle
from tests.scenarios.stack.services import Service, Stack
from tests.scenarios.tiny_study import mixlaw, write_study

SCHEDULE = 10.0
"""Seconds after which a study that nobody runs is started again, as its schedule would."""
OPEN = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]


def workers_killed(
    tally: Tally,
    folder: Path,
    reference: Reference,
    stack: Stack,
    rng: np.random.Generator,
    kills: int,
    seconds: float,
) -> int:
    """A deployed study from nothing to its end under `kills` kills, none after `seconds`; how many there were."""
    shutil.rmtree(stack.home / "tiny", ignore_errors=True)
    study = write_study(folder / "deployed")
    (stack.home / "tiny" / "runs").mkdir(parents=True)
    done = mixlaw(stack.home, "deploy", str(study), "--spread", "3", **client_of(stack))
    assert done.returncode == 0, done.stderr
    deployment = _deployment(stack, "mixlaw study")
    started = time.monotonic()
    given, next_kill, unowned = 0, started + 5.0, started - SCHEDULE
    with DoneWatch(stack.home / "tiny" / "runs") as watch:
        while True:
            now = time.monotonic()
            if now - started > seconds + 2 * LONGEST:
                tally.lost.append("deployed: the study does not end")
                break
            last = _last(stack)
            if last and last["state_type"] == "COMPLETED" and last["state_name"] != "Skipped":
                break
            if locks.owner(homes.StudyFolder.of("tiny", stack.home)) is not None:
                unowned = now
            elif now - unowned >= SCHEDULE and not (
                last and last["state_type"] in ("SCHEDULED", "PENDING") and now - unowned < 6 * SCHEDULE
            ):
                stack.prefect_api(
                    f"deployments/{deployment}/create_flow_run", {"state": {"type": "SCHEDULED"}}
                )
                unowned = now
            if now >= next_kill and given < kills and now - started < seconds:
                given += _kill_one(tally, stack, rng)
                next_kill = time.monotonic() + float(rng.uniform(2.0, 8.0))
            time.sleep(0.5)
    settle(tally, stack.home, watch, reference, "deployed")
    # The start after the last one closes what is still open of the dead.
    _final_start(stack, deployment)
    tally.unreaped += [f"{run['name']} ({run['state_type']})" for run in _open(stack)]
    return given


def _kill_one(tally: Tally, stack: Stack, rng: np.random.Generator) -> int:
    size, struck = log_size(stack.home / "tiny"), time.monotonic()
    what = str(rng.choice(["worker", "flow run", "proxy"]))
    if what == "worker":
        worker: Service = stack.workers[int(rng.integers(len(stack.workers)))]
        worker.kill()
        worker.start()
        kind = "kill -9 of a Prefect worker and all below it"
    else:
        mark = "prefect.engine" if what == "flow run" else "proxies.runs.worker"
        found = sorted(pid for pid, command in stack.processes().items() if mark in command)
        if not found:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(found[int(rng.integers(len(found)))], signal.SIGKILL)
        kind = f"kill -9 of a {what}" + (" (deployed)" if what == "proxy" else "")
    tally.injected(kind)
    while time.monotonic() - struck < LONGEST:
        if events(stack.home / "tiny", WORKS, size):
            tally.recovered(kind, time.monotonic() - struck)
            break
        if (last := _last(stack)) and last["state_type"] in ("COMPLETED", "CRASHED", "FAILED"):
            break
        if time.monotonic() - struck > 2 * SCHEDULE:
            break
        time.sleep(0.2)
    return 1


def _deployment(stack: Stack, flow: str) -> str:
    found = stack.prefect_api("deployments/filter", {"flows": {"name": {"any_": [flow]}}})
    return str(found[0]["id"])


def _runs(stack: Stack, states: list[str] | None = None) -> list[dict[str, Any]]:
    query: dict[str, Any] = {
        "flows": {"name": {"any_": ["mixlaw study"]}},
        "sort": "EXPECTED_START_TIME_DESC",
    }
    # Those of `mixlaw run` in the other scenarios are in homes of their own.
    query["flow_runs"] = {"deployment_id": {"is_null_": False}}
    if states:
        query["flow_runs"]["state"] = {"type": {"any_": states}}
        query["flows"]["name"]["any_"].append("mixlaw proxy")
    try:
        return list(stack.prefect_api("flow_runs/filter", query))
    except OSError:
        return []


def _last(stack: Stack) -> dict[str, Any] | None:
    return next(iter(_runs(stack)), None)


def _open(stack: Stack) -> list[dict[str, Any]]:
    return [run for run in _runs(stack, OPEN) if run["state_type"] != "SCHEDULED"]


def _final_start(stack: Stack, deployment: str) -> None:
    made = stack.prefect_api(f"deployments/{deployment}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        state = stack.prefect_api(f"flow_runs/{made['id']}")["state_type"]
        if state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return
        time.sleep(0.5)
