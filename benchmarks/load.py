"""A study of thousands of proxies through the real flow, servers and MLflow, with runs that take no time.

    python -m benchmarks.load [--proxies 50 2000] [--sqlite]

Runs are real run folders, written by a stub in place of the trainer; catalogue, tokens, plan, Prefect's tasks,
decision, figures and MLflow are the real ones. Laws are fitted on eight of the runs, however many there are: what
fits cost is `make bench-laws`'s to say. PostgreSQL, Prefect's and MLflow's servers are those of
deploy/, on this machine (`--sqlite`: the embedded ones of `mixlaw run`). Wall time per proxy should not grow with
their number, and the flow's memory hardly.

Then DuckDB reads the losses of 2,000 runs x 20 checkpoints x 20 validation sets.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as `mixlaw` sets it, before numpy is imported

import argparse
import contextlib
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flows.trainers.base import Setting
from tests.scenarios.tiny_study import ROOT, write_study

CHECKPOINTS = 20
STUDY = """\
study: load{proxies}
domains:
  docs: {{role: general, paths: corpora/docs, max_epochs: 1000}}
  code: {{role: target, paths: corpora/code, max_epochs: 1000}}
heldout: {{fraction: 0.1, windows: 16}}
tokenizer: {{train: {{vocab_size: 320}}}}
model: {{depth: 1, context: 32}}
base: {{tokens: 8192, learning_rate: 1.0e-2, batch_tokens: 512}}
proxies: {{tokens: 65536, target_shares: {shares}, batch_tokens: 512, checkpoints: 20}}
decision: {{tolerance: 0.1}}
confirm: false
"""
LOADED = 20
"""Validation sets, and checkpoints, of the table that DuckDB reads."""


def write_load_study(folder: Path, proxies: int) -> Path:
    shares = [round((n + 1) / (proxies + 1), 5) for n in range(proxies)]
    return write_study(folder, STUDY.format(shares=shares, proxies=proxies))


# In the flow's own process.


@contextlib.contextmanager
def open_stub(setting: Setting) -> Iterator[Any]:
    """Writes what a trainer would: a claimed folder with spec, losses and marker; the base is really trained."""
    from flows.trainers.local import LocalTrainer
    from proxies.runs import store as runs
    from proxies.runs.store import LossRow

    workspace = setting.workspace
    trained = LocalTrainer(workspace, setting.workers)

    def train(name: str, spec: Any, weights: Any, report: Any, alone: bool) -> None:
        if spec.kind == "base":
            trained(name, spec, weights, report, alone)
            return
        folder = workspace.folder.runs / spec.run_id
        runs.write_spec(folder, spec)
        with runs.claim(folder):
            if runs.done(folder) is not None:
                return
            rng = np.random.default_rng(int(spec.run_id, 16))
            share = spec.mixture["code"]
            rows = []
            for tokens in spec.budgets:
                grown = math.log1p(tokens / 2000)
                for domain, change in (("docs", 0.06 * share**2 - 0.01), ("code", -0.2 * share**0.3)):
                    loss = 3 + change * grown + 0.001 * float(rng.standard_normal())
                    rows.append(LossRow(tokens, domain, loss, 0.001))
            facts = {"tokens": spec.tokens, "steps": spec.steps, "seconds": 0.0, "tokens_per_s": 1.0}
            runs.finish(folder, spec, {runs.LOSSES: runs.losses_table(spec, rows)}, facts)

    train.at_once = setting.workers  # type: ignore[attr-defined]
    yield train


def run_flow(study: Path) -> None:
    """Run the study with the stub; print its steps' seconds and this process's memory as JSON."""
    from flows import trainers
    from flows.orchestration import local_run
    from flows.settings import home
    from flows.settings.environment import set_defaults

    trainers.TRAINERS["local"] = open_stub
    # Before Prefect is imported.
    set_defaults(home.home())
    from flows.orchestration import study_tasks

    analyse = study_tasks.analyse
    study_tasks.analyse = lambda workspace, store, runs: analyse(
        workspace, store, [runs[0], *_eight(runs[1:])]
    )
    memory = Memory()
    with memory:
        started = time.perf_counter()
        result = local_run.run_study(study, home.home())
        seconds = time.perf_counter() - started
    if result.unpublished is not None:
        raise result.unpublished
    took = {}
    for line in result.workspace.folder.events.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "step_finished":
            took[event["step"]] = took.get(event["step"], 0.0) + event["seconds"]
    print(
        json.dumps(
            {
                "seconds": seconds,
                "steps": took,
                "swarm": outcome_swarm(result),
                "megabytes": memory.megabytes,
                "runs": len(result.names),
                "status": result.analysis.decision.status,
            }
        )
    )


def _eight(runs: Sequence[str]) -> list[str]:
    """Spread evenly."""
    return [runs[round(place)] for place in np.linspace(0, len(runs) - 1, 8)]


def outcome_swarm(result: Any) -> float:
    """Seconds from the first proxy's folder to the last one's marker."""
    markers = [
        (result.workspace.folder.runs / run / "done.json").stat().st_mtime
        for run, name in result.names.items()
        if name != "base"
    ]
    return max(markers) - min(markers)


class Memory:
    """Resident megabytes of this process, each second."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []
        self._over = threading.Event()

    def __enter__(self) -> Memory:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.megabytes.append(round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1))


# From outside.


def measure(folder: Path, proxies: int, environment: dict[str, str]) -> dict[str, Any]:
    study = write_load_study(folder, proxies)
    home = folder / "home"
    own = ("MLFLOW_", "MIXLAW_", "PREFECT_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    environment = {**kept, "PYTHONPATH": str(ROOT), **environment, "MIXLAW_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", "--flow", str(study)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    again = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "benchmarks.load", "--flow", str(study)],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
        cwd=ROOT,
    )
    measured["again"] = time.perf_counter() - again
    status = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "flows.cli.main", "status", str(study), "--json"],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
        cwd=ROOT,
    )
    measured["status_seconds"] = time.perf_counter() - status
    return measured


def read_many(folder: Path, runs: int = 2000) -> tuple[float, float]:
    """Seconds in which DuckDB reads 800,000 losses of 2,000 run folders: an aggregate, and as a runs table."""
    import duckdb
    import polars as pl

    from mixing.runs.readers import read_layout

    rng = np.random.default_rng(0)
    domains = [f"d{n:02d}" for n in range(LOADED)]
    rows = LOADED * LOADED
    for number in range(runs):
        run = folder / f"{number:016x}"
        run.mkdir(parents=True)
        shares = rng.dirichlet(np.ones(LOADED))
        columns: dict[str, Any] = {"run": [run.name] * rows}
        columns |= {f"share.{n}": [float(s)] * rows for n, s in zip(domains, shares, strict=True)}
        columns |= {"params": [1000] * rows, "tokens": np.repeat(np.arange(1, LOADED + 1) * 1000, LOADED)}
        columns |= {"seed": [0] * rows, "eval": domains * LOADED}
        columns |= {"loss": 2 + rng.random(rows), "stderr": rng.random(rows)}
        pl.DataFrame(columns).write_parquet(run / "losses.parquet")
        (run / "done.json").write_text(json.dumps({"version": 1, "kind": "proxy", "run": run.name}))
    query = "SELECT eval, tokens, avg(loss) FROM read_parquet($paths) GROUP BY ALL"
    started = time.perf_counter()
    with duckdb.connect() as connection:
        connection.execute(query, {"paths": str(folder / "*" / "losses.parquet")}).fetchall()
    aggregate = time.perf_counter() - started
    started = time.perf_counter()
    frame, _ = read_layout(str(folder))
    assert frame.height == runs * rows
    return aggregate, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--proxies", type=int, nargs="+", default=[50, 2000])
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--flow", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.flow is not None:
        run_flow(arguments.flow)
        return
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment: dict[str, str] = {}
        if not arguments.sqlite:
            from tests.scenarios.stack.services import Stack

            environment = stack.enter_context(Stack(folder / "stack", workers=0)).client()
        print(f"servers: {'embedded, SQLite' if arguments.sqlite else 'PostgreSQL, Prefect, MLflow'}")
        for proxies in arguments.proxies:
            # A study of its own in MLflow as well.
            measured = measure(folder / str(proxies), proxies, environment)
            report(proxies, measured)
        aggregate, table = read_many(folder / "read")
        print(
            f"DuckDB, 2,000 runs x 20 checkpoints x 20 losses: aggregate {aggregate:.2f} s, table {table:.2f} s"
        )


def report(proxies: int, measured: dict[str, Any]) -> None:
    steps = measured["steps"]
    publish = steps.get("publish to MLflow", 0.0)
    memory = measured["megabytes"]
    print(f"{proxies} proxies: {measured['seconds']:.1f} s, {measured['status']}")
    print(
        f"  swarm                {measured['swarm']:.1f} s, {1000 * measured['swarm'] / proxies:.0f} ms per proxy"
    )
    print(f"  publish to MLflow    {publish:.1f} s, {1000 * publish / proxies:.0f} ms per proxy")
    others = {name: took for name, took in steps.items() if name not in ("base", "publish to MLflow")}
    print("  other steps          " + ", ".join(f"{name} {took:.1f} s" for name, took in others.items()))
    print(f"  memory of the flow   {memory[len(memory) // 10]:.0f} MB early, {max(memory):.0f} MB at most")
    print(
        f"  again                {measured['again']:.1f} s; mixlaw status {measured['status_seconds']:.1f} s"
    )


if __name__ == "__main__":
    main()
