"""What Prefect, MLflow and the study's bookkeeping add to the wall time of a study.

    python -m benchmarks.orchestration [--seconds 30] [--proxies 16]

The same study is done twice: by plain function calls and worker processes, one per core (count the corpora, train,
fit, decide), and by `mixlaw run`, which does it under Prefect, keeps books, draws, and publishes to MLflow. Then the
finished study is run again.

The two go one after the other, so on a machine with other work their wall times differ by that as well. The
second overhead takes each one's own training time away first: what workers say they trained, shared by the cores.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as `mixlaw` sets it, before numpy is imported

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from flows.pipeline.analysis import analyse
from flows.pipeline.plan import make_plan
from flows.pipeline.prepare import catalogue, supply_of, token_store
from flows.pipeline.run_specs import base_spec, proxy_spec
from flows.pipeline.workspace import Workspace

STUDY = """\
study: orchestration
domains:
  general: {{role: general, paths: general, max_epochs: 1000}}
  target: {{role: target, paths: target, max_epochs: 1000}}
heldout: {{fraction: 0.1, windows: 16}}
tokenizer: {{train: {{vocab_size: 1024}}}}
model: {{depth: 2, context: 64}}
base: {{tokens: 65536, learning_rate: 2.0e-3}}
proxies: {{tokens: {tokens}, target_shares: {shares}, batch_tokens: 1024}}
decision: {{tolerance: 0.1}}
confirm: false
"""


def corpora(folder: Path) -> None:
    """Two corpora of random words, a few hundred kilobytes each."""
    for seed, name in enumerate(("general", "target")):
        rng = np.random.default_rng([11, seed])
        words = np.array([f"w{seed if n % 3 else 0}{n}" for n in range(800)])
        (folder / name).mkdir(parents=True)
        with open(folder / name / "text.jsonl", "w", encoding="utf-8") as file:
            for _ in range(600):
                text = " ".join(words[(rng.zipf(1.4, 150) - 1) % len(words)])
                file.write(json.dumps({"text": text}) + "\n")


def write_study(folder: Path, tokens: int, proxies: int) -> Path:
    shares = [round((n + 1) / (proxies + 1), 4) for n in range(proxies)]
    path = folder / "study.yaml"
    path.write_text(STUDY.format(tokens=tokens, shares=shares), encoding="utf-8")
    return path


def worker(workspace: Workspace, spec, weights: Path | None, threads: int) -> float:  # type: ignore[no-untyped-def]
    """Train one run in a plain worker process; its seconds of training as it counts them."""
    folder = workspace.folder.runs / spec.run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(spec.model_dump_json())
    command = [sys.executable, "-m", "proxies.runs.worker", str(folder), str(workspace.folder.tokens)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command += [str(weights)] if weights else []
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return float(json.loads((folder / "done.json").read_text())["seconds"])


def training(folder: Path, cores: int) -> float:
    """Wall seconds of a study's training by its runs' own clocks, with every core busy to the end."""
    records = [json.loads(path.read_text()) for path in folder.glob("orchestration/runs/*/done.json")]
    base = sum(record["seconds"] for record in records if record["kind"] == "base")
    return float(base + sum(record["seconds"] for record in records if record["kind"] == "proxy") / cores)


def plain(study: Path, home: Path, cores: int) -> tuple[float, list[float]]:
    """The study's own work and nothing else: wall seconds, and the seconds of each proxy."""
    started = time.perf_counter()
    workspace = Workspace.load(study, home)
    store = token_store(workspace, catalogue(workspace))
    plan = make_plan(workspace.study, supply_of(store))
    base = base_spec(workspace, store, plan.of_kind("base")[0])
    worker(workspace, base, None, cores)
    weights = workspace.folder.runs / base.run_id / "weights.pt"
    specs = [proxy_spec(workspace, store, run, base.run_id) for run in plan.of_kind("proxy")]
    with ThreadPoolExecutor(cores) as pool:
        seconds = list(pool.map(lambda spec: worker(workspace, spec, weights, 1), specs))
    if len(specs) > cores:
        analyse(workspace, store, [base.run_id, *(spec.run_id for spec in specs)])
    return time.perf_counter() - started, seconds


def through_the_flow(study: Path, home: Path) -> float:
    started = time.perf_counter()
    environment = {**os.environ, "MIXLAW_HOME": str(home)}
    subprocess.run(
        [sys.executable, "-m", "flows.cli.main", "run", str(study)],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="about what one proxy takes")
    parser.add_argument("--proxies", type=int, default=16)
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpora(folder)
        _, tried = plain(write_study(folder, 65536, cores), folder / "tried", cores)
        tokens = max(16, round(65536 * arguments.seconds / np.mean(tried) / 1024)) * 1024
        study = write_study(folder, tokens, arguments.proxies)
        bare, seconds = plain(study, folder / "plain", cores)
        flow = through_the_flow(study, folder / "flow")
        trained = {name: training(folder / name, cores) for name in ("plain", "flow")}
        again = through_the_flow(study, folder / "flow")
    added = (flow - trained["flow"]) - (bare - trained["plain"])
    print(f"proxies                    {arguments.proxies} of {np.mean(seconds):.1f} s, {cores} at a time")
    print(f"plain calls and workers    {bare:.1f} s, of which training {trained['plain']:.1f} s")
    print(f"mixlaw run                 {flow:.1f} s, of which training {trained['flow']:.1f} s")
    print(f"overhead                   {(flow - bare) / bare:.1%} (wanted: less than 10% at 30 s)")
    print(f"overhead beside training   {added:.1f} s, {added / bare:.1%}")
    print(f"run again, nothing to do   {again:.1f} s (wanted: less than 30 s)")


if __name__ == "__main__":
    main()
