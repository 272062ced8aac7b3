"""Faults of what a study leans on: PostgreSQL, MLflow, the disk, the clock, and Prefect's deliveries."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.scenarios.chaos.kills import LONGEST, WORKS, client_of, start
from tests.scenarios.chaos.tally import DoneWatch, Reference, Tally, events, eventually, log_size, settle
from tests.scenarios.stack.services import Stack
from tests.scenarios.tiny_study import environment, mixlaw, workers, write_study

MLFLOW_DOWN = 30.0
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


def to_its_end(
    tally: Tally, home: Path, study: Path, variables: Mapping[str, str], at: Callable[[], object], fault: str
) -> None:
    """Run a study; do `at` once, when a proxy trains; start again until it ends well; time the recovery."""
    folder = home / "tiny"
    run = start(home, study, variables)
    assert eventually(lambda: workers(home) or run.process.poll() is not None, LONGEST), run.log.read_text()
    size = log_size(folder)
    at()
    struck = time.monotonic()
    tally.injected(fault)

    def time_recovery() -> None:
        if eventually(lambda: events(folder, WORKS, size), LONGEST):
            tally.recovered(fault, time.monotonic() - struck)

    threading.Thread(target=time_recovery, daemon=True).start()
    while time.monotonic() - struck < 2 * LONGEST:
        if run.process.wait(LONGEST) == 0:
            return
        last = run.log.read_text().strip().splitlines()[-1][:160]
        tally.notes.append(f"{fault}: the study ended and was started again ({last})")
        run = start(home, study, variables)
    tally.lost.append(f"{fault}: the study does not end: {run.log.read_text()[-300:]}")


@contextlib.contextmanager
def study_of(tally: Tally, folder: Path, reference: Reference, name: str) -> Iterator[tuple[Path, Path]]:
    """A fresh study and its home, held against the reference at the end."""
    study = write_study(folder / name)
    home = folder / name / "home"
    (home / "tiny" / "runs").mkdir(parents=True)
    with DoneWatch(home / "tiny" / "runs") as watch:
        yield home, study
    settle(tally, home, watch, reference, name)


def postgres_restarts(tally: Tally, folder: Path, reference: Reference, stack: Stack) -> None:
    """PostgreSQL, under Prefect's and MLflow's servers, is killed and started again."""

    def restart() -> None:
        stack.postgres.kill()
        stack.postgres.start().wait()

    with study_of(tally, folder, reference, "postgres") as (home, study):
        to_its_end(tally, home, study, client_of(stack), restart, "PostgreSQL killed and started")


def mlflow_is_away(tally: Tally, folder: Path, reference: Reference, stack: Stack) -> None:
    """MLflow's server is killed before the study publishes, and is back 30 s later."""
    with study_of(tally, folder, reference, "mlflow") as (home, study):
        run = start(home, study, client_of(stack))
        eventually(lambda: (home / "tiny" / "decision.json").exists(), LONGEST)
        stack.mlflow.kill()
        tally.injected("MLflow away for 30 s")
        down = time.monotonic()
        status = run.process.wait(LONGEST)
        if status != 0 and "in the run store" not in run.log.read_text():
            tally.notes.append(f"MLflow away: the study ended with {run.log.read_text()[-300:]}")
        time.sleep(max(0.0, MLFLOW_DOWN - (time.monotonic() - down)))
        stack.mlflow.start().wait()
        back = time.monotonic()
        if start(home, study, client_of(stack)).process.wait(LONGEST) != 0:
            tally.lost.append("MLflow is back, and the study does not publish")
        tally.recovered("MLflow away for 30 s", time.monotonic() - back)


def disk_full(tally: Tally, folder: Path, reference: Reference, variables: Mapping[str, str]) -> None:
    """The home is a file system of 64 MB that is filled up while proxies are trained, and emptied again."""
    disk = folder / "disk"
    disk.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        tally.notes.append(
            "no full disk: this process may not mount a tmpfs (the tests limit file sizes instead)"
        )
        return
    try:
        with study_of(tally, disk, reference, "full") as (home, study):
            run = start(home, study, variables)
            eventually(lambda: workers(home) or run.process.poll() is not None, LONGEST)
            ballast = disk / "ballast"
            with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(b"\0" * 4096):
                    pass
            tally.injected("disk full (tmpfs)")
            status = run.process.wait(LONGEST)
            if status != 1:
                tally.notes.append(f"disk full: the study ended with {status}")
            half = [path for path in home.rglob("*.partial") if path.stat().st_size]
            tally.half_files += [str(path) for path in half]
            ballast.unlink()
            back, size = time.monotonic(), log_size(home / "tiny")
            again = start(home, study, variables)
            eventually(lambda: events(home / "tiny", WORKS, size), LONGEST)
            tally.recovered("disk full (tmpfs)", time.monotonic() - back)
            if again.process.wait(LONGEST) != 0:
                tally.lost.append(f"disk full: {again.log.read_text()[-300:]}")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def clock_jumps(tally: Tally, folder: Path, reference: Reference, variables: Mapping[str, str]) -> None:
    """The clock goes three days ahead while proxies train, the flow is killed, and restarted two days behind."""
    if not FAKETIME.exists():
        tally.notes.append("no clock jump: libfaketime is not installed (apt-get install libfaketime)")
        return
    offset = folder / "offset"
    folder.mkdir(parents=True, exist_ok=True)
    offset.write_text("+0")
    faked = {
        **variables,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        # A clock that is set leaves the monotonic one alone.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with study_of(tally, folder, reference, "clock") as (home, study):
        run = start(home, study, faked)
        eventually(lambda: workers(home) or run.process.poll() is not None, LONGEST)
        offset.write_text("+3d")
        tally.injected("clock jump")
        time.sleep(2)
        with contextlib.suppress(ProcessLookupError):
            os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
        offset.write_text("-2d")
        tally.injected("clock jump")
        struck, size = time.monotonic(), log_size(home / "tiny")
        again = start(home, study, faked)
        eventually(lambda: events(home / "tiny", WORKS, size), LONGEST)
        tally.recovered("clock jump", time.monotonic() - struck)
        if again.process.wait(LONGEST) != 0:
            tally.lost.append(f"clock jump: {again.log.read_text()[-300:]}")


def delivered_twice(tally: Tally, folder: Path, reference: Reference, stack: Stack) -> None:
    """Each proxy of a deployed study is delivered to two processes at once, as flow run and as a copy of it."""
    study = write_study(folder / "twice")
    home = stack.home
    source = folder.parent / "reference" / "reference" / "home" / "tiny"
    shutil.copytree(source, home / "tiny", dirs_exist_ok=True)
    proxies = sorted(path.parent for path in (home / "tiny" / "runs").glob("*/spec.json"))
    proxies = [run for run in proxies if '"proxy"' in (run / "spec.json").read_text()][:3]
    for run in proxies:
        for path in run.iterdir():
            if path.name != "spec.json":
                path.unlink()
    deployed = mixlaw(home, "deploy", str(study), "--spread", "2", **client_of(stack))
    if deployed.returncode:
        tally.lost.append(f"mixlaw deploy: {deployed.stderr[-300:]}")
        return
    found = stack.prefect_api("deployments/filter", {"flows": {"name": {"any_": ["mixlaw proxy"]}}})
    with DoneWatch(home / "tiny" / "runs") as watch:
        for run in proxies:
            body = {
                "parameters": {"study": "tiny", "run": run.name, "name": run.name},
                "state": {"type": "PENDING"},
            }
            made = stack.prefect_api(f"deployments/{found[0]['id']}/create_flow_run", body)
            command = [sys.executable, "-m", "prefect", "flow-run", "execute", made["id"]]
            log = open(folder / "twice" / f"{run.name}.log", "ab")  # noqa: SIM115
            both = [
                subprocess.Popen(command, env=environment(home, **client_of(stack)), stdout=log, stderr=log)
                for _ in range(2)
            ]
            tally.injected("delivered twice")
            struck = time.monotonic()
            for process in both:
                process.wait(LONGEST)
            log.close()
            tally.recovered("delivered twice", time.monotonic() - struck)
    settle(tally, home, watch, reference, "delivered twice")
