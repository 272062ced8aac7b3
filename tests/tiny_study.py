"""A study of seconds: two Markov chains over the same words, so that learning one forgets the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]

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
  learning_rate: 5.0e-3
  batch_tokens: 512
decision: {tolerance: 0.3}
spec: {sequence_length: 32, global_batch_tokens: 512}
"""

WORDS = [
    *("the", "of", "and", "to", "in", "is", "it", "for", "on", "as"),
    *("with", "be", "by", "at", "or", "an"),
]


def write_study(folder: Path, text: str = STUDY) -> Path:
    """`folder/study.yaml` and its corpora."""
    for seed, name in enumerate(("docs", "code")):
        rng = np.random.default_rng([7, seed])
        chain_ww = rng.dirichlet(np.full(len(WORDS), 0.15), size=len(WORDS))
        (folder / "corpora" / name).mkdir(parents=True, exist_ok=True)
        with open(folder / "corpora" / name / "text.jsonl", "w", encoding="utf-8") as file:
            for _ in range(500):
                words, at = [], int(rng.integers(len(WORDS)))
                for _ in range(int(rng.integers(60, 200))):
                    words.append(WORDS[at])
                    at = int(rng.choice(len(WORDS), p=chain_ww[at]))
                file.write(json.dumps({"text": " ".join(words)}) + "\n")
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a run of `mixlaw` sees: its own home, and no MLflow but the embedded one unless told."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "MIXLAW_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "MIXLAW_HOME": str(home), **more}


def mixlaw(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=280,
    )


def kill_when(home: Path, study: Path, moment: Callable[[Path], bool]) -> bool:
    """Start `mixlaw run`, kill -9 it at first sight of `moment(study folder)`; False if it ended before."""
    with open(home.parent / f"{home.name}.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", str(study)],
            env=environment(home),
            stdout=log,
            stderr=log,
        )
        while process.poll() is None:
            if moment(home / "tiny"):
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
            time.sleep(0.01)
    return False


def finished_runs(folder: Path) -> dict[str, float]:
    """Run ids that are done, and when each was."""
    return {path.parent.name: path.stat().st_mtime for path in folder.glob("runs/*/done.json")}


def open_files_below(folder: Path) -> list[int]:
    """Processes that hold a file below `folder` open, or have it on their command line."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes()
            links = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if str(folder).encode() in command or any(link.startswith(str(folder)) for link in links):
            found.append(int(process.name))
    return found
