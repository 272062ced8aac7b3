"""How much to shrink a choice towards a simple form when the order of mixtures is carried to a larger size.

    python -m benchmarks.sizes      (MIXLAW_BENCH_DATA names the folder of public tables; ../shared/data otherwise)

SlimPajama's runs of one size, all or some of them, are fitted by a fine model (a Gaussian process) and a simple form;
the rank correlation (Spearman x 100, mean of 8 losses) at a larger size is printed for weights of the simple form.
`mixing.fitting.carrying.PER_LOG_FACTOR` follows from these alone. The last lines are RegMix from 1M to 60M parameters,
which decided nothing.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import itertools
import sys
from pathlib import Path

import numpy as np

from benchmarks.laws import points_of, regmix, rho
from mixing.arrays import Floats
from mixing.fitting.carrying import SIMPLE, simple_weight
from mixing.fitting.engine import fit_model
from mixing.fitting.selection import MODELS
from mixing.runs.budgets import common_budgets
from mixing.runs.points import Points
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable

FINE = "gaussian-process"
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
RUNS = (20, 30, 60)
DRAWS = 4


def carried(points: Points, losses_n: Floats, places: Points) -> tuple[Floats, Floats]:
    """Predictions of the fine model and of the simple form."""
    fine_n, simple_n = (
        fit_model(MODELS[name], points, losses_n[None, :])[0].predict(places)[0] for name in (FINE, SIMPLE)
    )
    return fine_n, simple_n


def slimpajama(folder: Path) -> None:
    table = read_runs(folder / "slimpajama" / "small.csv")
    sizes = table.trained["params"].unique().sort().to_list()
    parts = {size: RunTable(table.rows.filter(table.rows["params"] == size), table.source) for size in sizes}
    for (small, large), runs in itertools.product(itertools.combinations(sizes, 2), RUNS):
        scores = []
        for name in table.evals:
            (points, losses_n), (places, observed_n) = (
                points_of(part, name, common_budgets(part.trained["tokens"].to_numpy())[-1])
                for part in (parts[small], parts[large])
            )
            for draw in range(DRAWS if runs < len(points) else 1):
                some = np.random.default_rng(draw).permutation(len(points))[:runs]
                fine_n, simple_n = carried(points.take(some), losses_n[some], places)
                scores.append([rho((1 - w) * fine_n + w * simple_n, observed_n) for w in WEIGHTS])
        told = "  ".join(f"{w:g}: {s:.2f}" for w, s in zip(WEIGHTS, np.mean(scores, axis=0), strict=True))
        weight = simple_weight(large / small)
        print(f"x {large / small:.2f}, {runs} runs, by weight: {told}   (rule: {weight:.2f})", flush=True)


def far(folder: Path) -> None:
    train, test = regmix(folder, "train", "1m"), regmix(folder, "test", "60m")
    scores = {}
    for name in train.evals:
        points, losses_n = points_of(train, name)
        places, observed_n = points_of(test, name)
        fine_n, simple_n = carried(points, losses_n, places)
        weight = simple_weight(60)
        both_n = (1 - weight) * fine_n + weight * simple_n
        scores[name] = [rho(guess_n, observed_n) for guess_n in (fine_n, both_n, simple_n)]
    for label, row in (
        ("Pile-CC", scores["pile_cc"]),
        ("mean of 13", np.mean(list(scores.values()), axis=0)),
    ):
        fine, both, simple = row
        print(f"RegMix 1M to 60M, {label}: fine {fine:.2f}, by the rule {both:.2f}, simple {simple:.2f}")


def main() -> None:
    if sys.argv[1:]:
        sys.exit(f"usage: python -m benchmarks.sizes\n\n{__doc__}")
    folder = Path(os.environ.get("MIXLAW_BENCH_DATA", "../shared/data"))
    if not (folder / "slimpajama").exists():
        sys.exit(f"{folder}: no public tables there; set MIXLAW_BENCH_DATA to their folder")
    slimpajama(folder)
    far(folder)


if __name__ == "__main__":
    main()
