"""Start a run in a worker process of its own and wait for it."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from mixing.errors import InputError, MixlawError
from proxies.progress import Progress, Report
from proxies.runs import claims
from proxies.runs import store as runs
from proxies.runs.claims import Holder
from proxies.runs.slots import Slots, slot
from proxies.spec import ProxySpec

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
LOG_SECONDS = 30.0
"""Between two lines of the log on how far a run is."""


class WorkerDied(MixlawError):
    """The worker ended without a reason (killed, out of memory). Launched again, the run continues."""

    process_died = True


def launch(
    spec: ProxySpec,
    runs_dir: Path,
    store_dir: Path,
    base_weights: Path | None = None,
    threads: int = 1,
    on_progress: Report | None = None,
    *,
    device: str = "cpu",
    slots: Slots | None = None,
) -> Path:
    """Train a run, or continue it, in a worker process; its folder `runs_dir/<run id>` when it is done.

    Returns at once for a run that is done, and waits for one that another process is training, on this machine
    or another; if that process dies, this one takes over. A run that failed before is tried again, save one
    that diverged: it would again. The worker is stopped if this call is interrupted, and ends by itself with
    this process. `slots` limits how many train at once on this machine.

    Raises what the worker ended with, naming the run: InputError (bad input), MixlawError (it failed, or
    diverged), WorkerDied (it was killed).
    """
    run_dir = runs_dir / spec.run_id
    while True:
        if runs.done(run_dir) is not None:
            runs.check_done(run_dir)
            return run_dir
        _refuse_diverged(run_dir)
        runs.write_spec(run_dir, spec)
        _wait_for_others(run_dir, on_progress)
        if runs.done(run_dir) is not None:
            continue
        with slot(slots, device):
            log.info("run %s: training", spec.run_id, extra=_facts("run_started", spec, device=device))
            outcome = _work(_command(run_dir, store_dir, base_weights, device), threads, on_progress, spec)
        if outcome.failure is not None and outcome.failure.kind == "claimed":
            continue
        return _ended(run_dir, spec, outcome)


def _refuse_diverged(run_dir: Path) -> None:
    earlier = runs.read_failure(run_dir)
    if earlier is not None and earlier.kind == "divergence":
        raise MixlawError(earlier.reason, f"{earlier.hint}; or delete {run_dir} to train it once more")


def _wait_for_others(run_dir: Path, on_progress: Report | None) -> None:
    """Until nobody else trains the run; meanwhile theirs is its progress."""
    waited = False

    def show(holder: Holder | None) -> None:
        nonlocal waited
        if not waited:
            waited = True
            log.info(
                "run %s: waiting for %s, which is training it",
                run_dir.name,
                holder or "another process",
                extra={"event": "run_waiting", "run": run_dir.name, "holder": str(holder or "")},
            )
        if on_progress is not None and holder is not None and holder.progress is not None:
            on_progress(holder.progress)

    claims.wait_while_held(run_dir / runs.LOCK, lambda: runs.done(run_dir) is not None, show)


def _ended(run_dir: Path, spec: ProxySpec, outcome: _Outcome) -> Path:
    """The run's folder, or what its worker ended with is raised. Either is logged with the run's id."""
    record = runs.done(run_dir)
    if outcome.failure is not None:
        kind = InputError if outcome.failure.kind == "input" else MixlawError
        facts = _facts("run_failed", spec, kind=outcome.failure.kind, reason=outcome.failure.reason)
        log.error("run %s failed: %s", spec.run_id, outcome.failure.reason, extra=facts)
        raise kind(outcome.failure.reason, outcome.failure.hint)
    if outcome.status != 0 or record is None:
        ending = _ending(outcome.status)
        facts = _facts("worker_died", spec, reason=ending)
        log.warning("run %s: its worker %s", spec.run_id, ending, extra=facts)
        raise WorkerDied(
            f"run {spec.run_id}: its worker {ending}{outcome.last_line}",
            "Run again: it continues from its last checkpoint",
        )
    results = {key: record[key] for key in ("tokens", "tokens_per_s", "seconds") if key in record}
    log.info("run %s: done", spec.run_id, extra=_facts("run_finished", spec, **results))
    return run_dir


def _facts(event: str, spec: ProxySpec, **facts: object) -> dict[str, object]:
    """What a structured log line holds beside its text."""
    return {"event": event, "run": spec.run_id, "kind": spec.kind, "mixture": spec.mixture, **facts}


@dataclass
class _Outcome:
    status: int
    failure: runs.Failure | None
    last_line: str


def _command(run_dir: Path, store_dir: Path, base_weights: Path | None, device: str) -> list[str]:
    command = [sys.executable, "-m", "proxies.runs.worker", str(run_dir), str(store_dir)]
    if base_weights is not None:
        command.append(str(base_weights))
    return [*command, "--parent", str(os.getpid()), "--device", device]


def _work(command: list[str], threads: int, on_progress: Report | None, spec: ProxySpec) -> _Outcome:
    environment = {
        # Threads that spin while they wait for each other crawl as soon as a core is shared: two threads next
        # to one busy process did 500-5000 tokens/s spinning and 10000-12000 sleeping.
        "OMP_WAIT_POLICY": "passive",
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
    }
    worker = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # A Ctrl-C in the terminal is ours to handle; it must not strike the worker in the midst of a write.
        start_new_session=True,
    )
    assert worker.stdout is not None
    assert worker.stderr is not None
    last_lines: deque[str] = deque(maxlen=1)
    listener = threading.Thread(target=_relay_log, args=(worker.stderr, spec.run_id, last_lines), daemon=True)
    listener.start()
    try:
        failure = _follow(worker.stdout, on_progress)
        status = worker.wait()
    finally:
        _stop(worker)
        listener.join(timeout=1)
        worker.stdout.close()
    return _Outcome(status, failure, f" ({last_lines[0]})" if last_lines else "")


def _follow(stdout: IO[str], on_progress: Report | None) -> runs.Failure | None:
    """Pass the worker's progress on until it ends; the failure that it reported, if any."""
    failure = None
    logged = time.monotonic()
    for line in stdout:
        try:
            record = json.loads(line)
            event = record.pop("event")
        except (ValueError, KeyError, AttributeError):
            continue
        if event == "progress":
            at = Progress(**record)
            if time.monotonic() - logged >= LOG_SECONDS:
                logged = time.monotonic()
                log.info("run %s: step %d of %d", at.run, at.step, at.steps, extra=_at(at))
            if on_progress is not None:
                on_progress(at)
        elif event == "failed":
            failure = runs.Failure(**record)
    return failure


def _at(at: Progress) -> dict[str, object]:
    record = asdict(at)
    speed, left = round(at.tokens_per_s, 1), round(at.eta_s, 1)
    return {
        "event": "run_progress",
        **record,
        "tokens_per_s": speed,
        "eta_s": left,
        "loss": round(at.loss, 4),
    }


def _relay_log(stderr: IO[str], run: str, last_lines: deque[str]) -> None:
    with stderr:
        for line in stderr:
            if line.strip():
                last_lines.append(line.strip())
                log.warning("run %s: %s", run, line.rstrip(), extra={"event": "worker_said", "run": run})


def _stop(worker: subprocess.Popen[str]) -> None:
    if worker.poll() is not None:
        return
    worker.terminate()
    try:
        worker.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name
    return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
