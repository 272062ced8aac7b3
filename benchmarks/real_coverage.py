"""Do 90% intervals hold on a real study? The demo's, with other training streams and other held-out windows each time.

    python -m benchmarks.real_coverage                                 # from the losses that are kept
    python -m benchmarks.real_coverage --train FOLDER [--studies 12]   # trains, and writes these losses anew

Each study seed has its own stream and its own held-out windows; the text and the base model are the same. A study
answers from its runs alone. Its reference is the crossing of the other studies' increments with the tolerance: their
mean over streams, each over two thirds of all held-out windows. So no study is judged by its own luck.

Training takes some eight minutes a study on one core. Killed and started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from flows.demo.run import example
from flows.demo.text import collect
from flows.pipeline.heldout import windows_of
from flows.pipeline.plan import PlannedRun, make_plan
from flows.pipeline.prepare import catalogue, supply_of, token_store
from flows.pipeline.run_specs import base_spec, proxy_spec
from flows.pipeline.workspace import Workspace
from mixing.atomic import replace_files
from mixing.decision.decide import decide
from mixing.runs.heldout import carried, restated
from proxies.data.token_store import TokenStore
from proxies.runs import store as runs
from proxies.spec import ProxySpec
from proxies.train import train

ALL = 1_000_000
"""Held-out windows of a domain: more than it has, so two thirds of them."""
GENERAL, TARGET = "docs", "python"
SHARES = (0.125, 0.25, 0.5, 0.625, 0.75, 0.9)
FEWEST = 3
"""Studies: one is judged by two others."""
LOSSES = Path(__file__).with_name("real_coverage.parquet")


def workspace_of(folder: Path) -> Workspace:
    """The demo's text and study in `folder`."""
    collect(folder / "corpora", lambda done: None)
    study = folder / "study.yaml"
    if not study.exists():
        replace_files({study: example("code/study.yaml").read_bytes()})
    return Workspace.open(study, folder / ".mixlaw")


def train_base(workspace: Workspace, store: TokenStore, planned: PlannedRun) -> Path:
    """The base model that all studies start from: its weights."""
    # Each study measures it on windows of its own.
    few = {"heldout_windows": 64, "final_windows": None}
    spec = ProxySpec.model_validate(base_spec(workspace, store, planned).model_dump() | few)
    folder = workspace.folder.runs / spec.run_id
    train(spec, folder, store)
    return folder / runs.WEIGHTS


def specs_of(
    workspace: Workspace, store: TokenStore, weights: Path, proxies: tuple[PlannedRun, ...], seed: int
) -> Iterator[ProxySpec]:
    """The runs of the study of one seed: its base on its own windows, then its proxies."""
    few = windows_of(workspace.study).few
    measured = {"study_seed": seed, "heldout_windows": few, "final_windows": ALL}
    first = base_spec(workspace, store, make_plan(workspace.study, supply_of(store)).of_kind("base")[0])
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    given = {"base": digest, "mixture": {}, "tokens": 0, "budgets": (), "seed": seed, "warmup_steps": 0}
    adopted = ProxySpec.model_validate(first.model_dump() | measured | given)
    yield adopted
    for planned in proxies:
        spec = proxy_spec(workspace, store, planned, adopted.run_id)
        yield ProxySpec.model_validate(spec.model_dump() | measured)


def train_studies(folder: Path, studies: int, console: Console) -> None:
    """Train the runs of the study seeds 1, 2, ... that are not done yet, and keep the losses of each study."""
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
            if spec.kind == "base":
                at = run / runs.WEIGHTS
        table = kept_losses(folder, windows_of(workspace.study).last)
        replace_files({LOSSES: runs.parquet(table)})


def kept_losses(folder: Path, windows: int) -> pl.DataFrame:
    """The runs table of the studies that are done: `study`, and `windows`, either as many per domain as a study has
    ("study"), or at the last budget all that were measured ("all")."""
    tables = []
    for study in sorted((folder / "studies").glob("*"), key=lambda path: int(path.name)):
        done = [run for run in sorted(study.iterdir()) if runs.done(run) is not None]
        if len(done) < len(SHARES) + 1:
            continue
        for name, count in (("study", windows), ("all", ALL)):
            table = study_table(done, int(study.name), count)
            if name == "all":
                table = table.filter(pl.col("tokens").is_in([0, table["tokens"].max()]))
            tables.append(table.with_columns(study=pl.lit(int(study.name)), windows=pl.lit(name)))
    return pl.concat(tables)


def study_table(folders: list[Path], seed: int, windows: int) -> pl.DataFrame:
    """The runs table of one study as if `windows` per domain had been measured at the last budget."""
    losses = {folder.name: pl.read_parquet(folder / runs.WINDOW_LOSSES) for folder in folders}
    sample = _sample(next(table for table in losses.values() if table["tokens"].max()), seed, windows)
    taken = {run: table.join(sample, on=["eval", "window"], how="semi") for run, table in losses.items()}
    frame = pl.concat(pl.read_parquet(folder / runs.LOSSES) for folder in folders)
    losses_n = [_loss(taken[row["run"]], row["eval"], row["tokens"]) for row in frame.iter_rows(named=True)]
    return restated(frame.with_columns(loss=pl.Series(losses_n)), taken).drop("stderr", "heldout")


def _sample(proxy: pl.DataFrame, seed: int, windows: int) -> pl.DataFrame:
    """`windows` of each domain, those of the early budgets among them: columns eval and window."""
    by_window = proxy.group_by("eval", "window").len("budgets").sort("eval", "window")
    drawn = np.random.default_rng([seed, ALL]).random(by_window.height)
    ordered = by_window.with_columns(drawn=pl.Series(drawn)).sort(
        "eval", "budgets", "drawn", descending=[False, True, False]
    )
    return ordered.filter(pl.int_range(pl.len()).over("eval") < windows).select("eval", "window")


def _loss(windows: pl.DataFrame, eval_: str, tokens: int) -> float:
    of_eval = windows.filter(eval=eval_)
    last = of_eval.filter(tokens=of_eval["tokens"].max())
    here = last.join(of_eval.filter(tokens=tokens), on="window", how="left", maintain_order="left")
    losses_w = here["loss_right"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return carried(losses_w, last["loss"].cast(pl.Float64).to_numpy()).loss


def reference_without(losses: pl.DataFrame, study: int) -> float:
    """Where the mean of the other studies' general increments, over all windows, crosses the tolerance of 0."""
    others = losses.filter((pl.col("windows") == "all") & (pl.col("study") != study), eval=GENERAL)
    base = others.filter(tokens=0).select("study", before="loss")
    last = others.filter(pl.col("tokens") > 0).join(base, on="study")
    mean = (
        last.group_by(f"share.{TARGET}")
        .agg((pl.col("loss") - pl.col("before")).mean().alias("increment"))
        .sort(f"share.{TARGET}")
    )
    curve = PchipInterpolator(mean[f"share.{TARGET}"], mean["increment"])
    return float(brentq(curve, SHARES[0], SHARES[-1]))


def report(losses: pl.DataFrame, console: Console) -> None:
    """A row per study, and how many intervals hold their reference."""
    studies = losses["study"].unique().sort().to_list()
    shown = Table(
        "study", "critical ratio", "90% interval", "safe ratio", "reference", "holds", "stderr, nats"
    )
    holds, halves = [], []
    for study in studies:
        mine = losses.filter(study=study, windows="study").drop("study", "windows")
        answer = decide(mine, general=GENERAL, target=TARGET, tolerance=0.0, tokens=mine["tokens"].max())
        reference = reference_without(losses, study)
        errors = mine.filter(tokens=mine["tokens"].max(), eval=GENERAL)["increment_stderr"]
        if answer.critical_ratio is None or answer.interval is None:
            shown.add_row(str(study), "not yet", "", "", f"{reference:.3f}", "no", f"{errors.mean():.4f}")
            holds.append(False)
            continue
        low, high = answer.interval
        holds.append(low <= reference <= high)
        halves.append((high - low) / 2)
        shown.add_row(
            str(study),
            f"{answer.critical_ratio:.3f}",
            f"[{low:.3f}, {high:.3f}]",
            f"{answer.safe_ratio:.3f}" if answer.safe_ratio is not None else "-",
            f"{reference:.3f}",
            "yes" if holds[-1] else "no",
            f"{errors.mean():.4f}",
        )
    console.print(shown)
    width = f"mean width +-{np.mean(halves):.3f}" if halves else "no interval"
    console.print(f"{sum(holds)} of {len(holds)} intervals hold the reference; {width}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="train there, and keep the losses")
    parser.add_argument("--studies", type=int, default=12)
    arguments = parser.parse_args()
    console = Console()
    if arguments.train is not None:
        train_studies(arguments.train, arguments.studies, console)
    losses = pl.read_parquet(LOSSES) if LOSSES.exists() else pl.DataFrame({"study": []})
    count = losses["study"].n_unique()
    if count < FEWEST:
        sys.exit(
            f"{LOSSES.name}: the losses of {count} studies are kept, and it takes {FEWEST}: --train FOLDER"
        )
    report(losses, console)


if __name__ == "__main__":
    main()
