"""Do 90% intervals hold on a real study? The demo's, with other training streams and other held-out windows each time.

    python -m benchmarks.real_coverage                             # from the losses that are kept, in a minute
    python -m benchmarks.real_coverage --train FOLDER [--studies 12]   # trains, and writes these losses again

Each study seed has its own stream and its own held-out windows; the text and the base model are the same. A study
answers from its runs alone. Its reference is the crossing of the other studies' increments with the tolerance: their
mean over streams, each over two thirds of all held-out windows. So no study is judged by its own luck.

Training takes some seven minutes a study on one core. Killed and started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from flows.demo.run import example
from flows.demo.text import collect
from flows.pipeline.plan import PlannedRun, make_plan
from flows.pipeline.prepare import catalogue, supply_of, token_store
from flows.pipeline.run_specs import base_spec, proxy_spec
from flows.pipeline.workspace import Workspace
from mixing.atomic import replace_files
from proxies.data.token_store import TokenStore
from proxies.runs import store as runs
from proxies.spec import ProxySpec
from proxies.train import train

ALL = 1_000_000
"""Held-out windows of a domain: more than it has, so two thirds of them."""
FEW = 64


def workspace_of(folder: Path) -> Workspace:
    """The demo's text and study in `folder`."""
    collect(folder / "corpora", lambda done: None)
    study = folder / "study.yaml"
    if not study.exists():
        replace_files({study: example("code/study.yaml").read_bytes()})
    return Workspace.open(study, folder / ".mixlaw")


def train_base(workspace: Workspace, store: TokenStore, planned: PlannedRun) -> Path:
    """The base model that all studies start from: its weights."""
    spec = base_spec(workspace, store, planned)
    folder = workspace.folder.runs / spec.run_id
    train(spec, folder, store)
    return folder / runs.WEIGHTS


def specs_of(
    workspace: Workspace, store: TokenStore, weights: Path, proxies: tuple[PlannedRun, ...], seed: int
) -> Iterator[ProxySpec]:
    """The runs of the study of one seed: its base on its own windows, then its proxies."""
    measured = {"study_seed": seed, "heldout_windows": FEW, "final_windows": ALL}
    first = base_spec(workspace, store, make_plan(workspace.study, supply_of(store)).of_kind("base")[0])
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    given = {"base": digest, "mixture": {}, "tokens": 0, "budgets": (), "seed": seed, "warmup_steps": 0}
    adopted = ProxySpec.model_validate(first.model_dump() | measured | given)
    yield adopted
    for planned in proxies:
        spec = proxy_spec(workspace, store, planned, adopted.run_id)
        yield ProxySpec.model_validate(spec.model_dump() | measured)


def train_studies(folder: Path, studies: int, console: Console) -> None:
    """Train the runs of the study seeds 1, 2, ... that are not done yet."""
    workspace = workspace_of(folder)
    store = token_store(workspace, catalogue(workspace))
    plan = make_plan(workspace.study, supply_of(store))
    weights = train_base(workspace, store, plan.of_kind("base")[0])
    for seed in range(1, studies + 1):
        at = weights
        for spec in specs_of(workspace, store, weights, plan.of_kind("proxy"), seed):
            run = folder / "studies" / str(seed) / spec.run_id
            console.print(f"study {seed}: run {spec.run_id}")
            train(spec, run, store, at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=Path, metavar="FOLDER")
    parser.add_argument("--studies", type=int, default=12)
    arguments = parser.parse_args()
    console = Console()
    if arguments.train is not None:
        train_studies(arguments.train, arguments.studies, console)


if __name__ == "__main__":
    main()
