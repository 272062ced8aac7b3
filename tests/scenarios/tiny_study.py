"""A study of seconds: two Markov chains over the same words, so that learning one forgets the other."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from unittest import mock

import pytest

from tests.scenarios import preloaded

T = TypeVar("T")
ROOT = Path(__file__).parents[2]

STUDY = """\
study: tiny
domains:
  docs: {role: general, paths: corpora/docs}
  code: {role: target, paths: corpora/code}
heldout: {fraction: 0.1, windows: 48}
tokenizer: {train: {vocab_size: 320}}
model: {depth: 1, context: 32}
base: {tokens: 64k, learning_rate: 1.0e-2, warmup_steps: 5, batch_tokens: 512}
proxies:
  tokens: 16k
  target_shares: [0.25, 0.5, 0.75, 0.9]
  learning_rate: 3.0e-3
  warmup_steps: 2
  batch_tokens: 512
decision: {tolerance: 0.3}
spec: {sequence_length: 32, global_batch_tokens: 512}
"""

WORDS = [
    *("the", "of", "and", "to", "in", "is", "it", "for", "on", "as"),
    *("with", "be", "by", "at", "or", "an"),
]


@functools.cache
def corpus(seed: int) -> str:
    """500 documents of one Markov chain, as JSON Lines."""
    import numpy as np

    rng = np.random.default_rng([7, seed])
    cumulative_ww = rng.dirichlet(np.full(len(WORDS), 0.15), size=len(WORDS)).cumsum(axis=1)
    lines = []
    for _ in range(500):
        at, words = int(rng.integers(len(WORDS))), []
        for uniform in rng.random(int(rng.integers(60, 200))):
            words.append(WORDS[at])
            at = min(int(np.searchsorted(cumulative_ww[at], uniform)), len(WORDS) - 1)
        lines.append(json.dumps({"text": " ".join(words)}) + "\n")
    return "".join(lines)


def write_study(folder: Path, text: str = STUDY) -> Path:
    """`folder/study.yaml` and its corpora."""
    for seed, name in enumerate(("docs", "code")):
        (folder / "corpora" / name).mkdir(parents=True, exist_ok=True)
        (folder / "corpora" / name / "text.jsonl").write_text(corpus(seed), encoding="utf-8")
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a run of `mixlaw` sees: its own home, and no MLflow but the embedded one unless told."""
    own = ("MLFLOW_", "MIXLAW_", "PREFECT_HOME")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    return {**kept, "PYTHONPATH": str(ROOT), "MIXLAW_HOME": str(home), **more}


@functools.cache
def _preloaded() -> Path:
    return preloaded.start(Path(tempfile.mkdtemp(prefix="mixlaw-tests-")))


def mixlaw(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, in a process of its own; where Python itself is told something, in a new one."""
    if not any(name.startswith("PYTHON") for name in more):
        return preloaded.call(_preloaded(), arguments, environment(home, **more))
    return subprocess.run(
        [sys.executable, "-m", "flows.cli.main", *arguments],
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=600,
    )


def in_process(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`mixlaw(...)` without a process of its own and its seconds of imports: for commands that train nothing."""
    from flows.cli import main as cli

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(home, **more), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main(arguments)
    return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), out.getvalue(), err.getvalue())


@contextlib.contextmanager
def running(home: Path, study: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`mixlaw run` in the background, what it prints in `<home>.log`."""
    with open(home.parent / f"{home.name}.log", "wb") as log:
        command = [sys.executable, "-m", "flows.cli.main", "run", str(study)]
        process = subprocess.Popen(command, env=environment(home), stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], moment: Callable[[], T]) -> T:
    """The first truth that `moment` gives while the process lives."""
    while process.poll() is None:
        if found := moment():
            return found
        time.sleep(0.01)
    raise AssertionError(f"the run ended with {process.returncode} before the moment came")


def signal_when(home: Path, study: Path, moment: Callable[[Path], bool], number: int = signal.SIGKILL) -> int:
    """Start `mixlaw run` and signal it at first sight of `moment(study folder)`; its exit status."""
    with running(home, study) as process:
        wait_for(process, lambda: moment(home / "tiny"))
        process.send_signal(number)
        return process.wait()


def workers(folder: Path) -> list[int]:
    """Worker processes in the midst of proxies below `folder`."""
    busy = [path.parent for path in folder.glob("tiny/runs/*/spec.json") if '"proxy"' in path.read_text()]
    busy = [run for run in busy if not (run / "done.json").exists()]
    return [
        pid for pid, command in commands() if any(f"proxies.runs.worker {run}" in command for run in busy)
    ]


def finished_runs(folder: Path) -> dict[str, float]:
    """Run ids that are done, and when each was."""
    return {path.parent.name: path.stat().st_mtime for path in folder.glob("runs/*/done.json")}


def open_files_below(folder: Path) -> list[int]:
    """Processes that hold a file below `folder` open, or have it on their command line."""
    found = []
    for pid, command in commands():
        try:
            links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        if str(folder) in command or any(link.startswith(str(folder)) for link in links):
            found.append(pid)
    return found


def commands() -> Iterator[tuple[int, str]]:
    """Every other process and its command line."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                yield int(process.name), (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
