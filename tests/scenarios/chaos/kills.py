"""kill -9 at random moments to a study's flow and its proxies, and a second start of a study that runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.orchestration.crashed_runs import study_tag
from flows.settings import home as homes
from flows.settings import locks
from tests.scenarios.chaos.tally import DoneWatch, Pot, Reference, Tally, events, eventually, log_size, settle
from tests.scenarios.stack.services import Stack
from tests.scenarios.tiny_study import environment, workers, write_study

WORKS = ("step_started", "run_started", "run_finished", "step_finished")
PER_STUDY = 34
"""Kills that one study gets before it may come to its end."""
NEXT_PROXY = 15.0
"""Seconds to wait for a proxy that can be killed; where none trains until then, the flow is."""
LONGEST = 300.0
"""Seconds after which a study that does not come to its end, undisturbed, is given up."""


def client_of(stack: Stack) -> dict[str, str]:
    """What a study with a home of its own has in the environment, on this stack."""
    own = {key: value for key, value in stack.client().items() if key != "MIXLAW_HOME"}
    return {**own, "PREFECT_HOME": str(stack.folder / "prefect")}


@dataclass
class Started:
    """A `mixlaw run` in the background."""

    process: subprocess.Popen[bytes]
    log: Path


def start(home: Path, study: Path, variables: Mapping[str, str]) -> Started:
    log = home.parent / f"{home.name}.log"
    with open(log, "ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli.main", "run", str(study)],
            env=environment(home, **variables),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return Started(process, log)


def undisturbed(folder: Path, variables: Mapping[str, str]) -> Reference:
    """The study without a fault."""
    study = write_study(folder / "reference")
    home = folder / "reference" / "home"
    run = start(home, study, variables)
    assert run.process.wait(LONGEST) == 0, run.log.read_text()
    return Reference.of(home / "tiny")


def kill_round(
    tally: Tally,
    folder: Path,
    reference: Reference,
    variables: Mapping[str, str],
    rng: np.random.Generator,
    kills: Pot,
    deadline: float,
    pause: tuple[float, float] = (0.2, 8.0),
) -> None:
    """One study from nothing to its end, killed at random moments, up to PER_STUDY of those that are left.

    After `deadline` (monotonic) it is left alone.
    """
    study = write_study(folder)
    home = folder / "home"
    (home / "tiny" / "runs").mkdir(parents=True)
    given = 0
    with DoneWatch(home / "tiny" / "runs") as watch:
        run = start(home, study, variables)
        waiting: list[threading.Thread] = []
        seconds: list[Started] = []
        alone = 0
        while True:
            disturb = given < PER_STUDY and kills.left > 0 and time.monotonic() < deadline
            wait = float(rng.uniform(*pause)) if disturb else LONGEST
            what = str(rng.choice(["flow", "proxy", "flow", "proxy", "second start"]))
            try:
                status = run.process.wait(wait)
            except subprocess.TimeoutExpired:
                if not disturb:
                    tally.lost.append(f"{folder.name}: no end in {LONGEST:.0f} s")
                    run.process.kill()
                    break
            else:
                if status == 0:
                    break
                # A run whose worker was killed three times ends the flow; a start beside a living one is refused.
                assert "Traceback" not in run.log.read_text()
                while _owner(home) is not None and not (disturb and rng.random() < 0.1):
                    time.sleep(0.5)
                alone += not disturb
                if alone > 3:
                    tally.lost.append(f"{folder.name}: it does not end well: {run.log.read_text()[-300:]}")
                    break
                if _owner(home) is None:
                    run = start(home, study, variables)
                    continue
            if what == "second start":
                # It is refused, or does the study itself if the first one has just died.
                seconds.append(start(home, study, variables))
                tally.injected("second start")
                continue
            if what == "proxy" and _trains(home, run):
                # Not always in its first moment.
                time.sleep(float(rng.uniform(0.0, 1.0)))
            # What has ended meanwhile cannot be killed, and is not counted.
            if run.process.poll() is not None or not kills.take():
                continue
            given += 1
            waiting.append(_kill(tally, what, home, run))
            if run.process.poll() is not None:
                run = start(home, study, variables)
        for second in seconds:
            # One that has only just started finds nothing left to do.
            try:
                second.process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                tally.lost.append(f"{folder.name}: a second start does not end")
                second.process.kill()
        for thread in waiting:
            thread.join(timeout=0.1)
    settle(tally, home, watch, reference, folder.name)


def _trains(home: Path, run: Started) -> bool:
    """Whether a proxy is trained within NEXT_PROXY seconds, or the study ends."""
    return eventually(lambda: workers(home) or run.process.poll() is not None, NEXT_PROXY)


def _kill(tally: Tally, what: str, home: Path, run: Started) -> threading.Thread:
    """kill -9 the flow, or one of its proxies (the flow where none trains); time its recovery in the background."""
    folder = home / "tiny"
    size = log_size(folder)
    victims = workers(home) if what == "proxy" else []
    if victims:
        victim = victims[0]
        name = _run_of(victim)
        kind = "kill -9 of a proxy"
    else:
        # A second start may have become the one that runs.
        victim, name, kind = _owner(home) or run.process.pid, "", "kill -9 of the flow"
    tally.injected(kind)
    struck = time.monotonic()
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    if victim == run.process.pid:
        run.process.wait()

    def back() -> bool:
        found = events(folder, WORKS, size)
        if name:
            return any(event.get("run") == name and event["event"] != "step_started" for event in found)
        return bool(found)

    def watch() -> None:
        while time.monotonic() - struck < LONGEST:
            if back():
                tally.recovered(kind, time.monotonic() - struck)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def _owner(home: Path) -> int | None:
    found = locks.owner(homes.StudyFolder.of("tiny", home))
    return found.pid if found else None


def _run_of(pid: int) -> str:
    """The id of the run that a worker process trains."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return Path(arguments[3].decode()).name
    except (OSError, IndexError):
        return ""


def open_flow_runs(stack: Stack, folder: Path) -> list[str]:
    """Flow runs of a study that has ended which Prefect still takes to be at work."""
    states = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    query = {"flow_runs": {"tags": {"all_": [study_tag(folder)]}, **states}}
    return [f"{run['name']} ({run['state_type']})" for run in stack.prefect_api("flow_runs/filter", query)]
