"""Laws on public tables of real proxy runs, beside the peers' scores and against the bars we set ourselves.

    python -m benchmarks.laws       (MIXLAW_BENCH_DATA names the folder of public tables; ../shared/data otherwise)

Every model of ours is chosen by `mixing.fitting.selection` from the training rows alone; rows scored here were seen
by no fit and no choice. Peers' recipes are quoted with the scores they reach on the same rows; LightGBM, the
Gaussian process and the linear law are run again here. Correlations are Spearman's x 100.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks import cpt
from mixing.arrays import Floats
from mixing.fitting.engine import Solution, fit, fit_model, refit
from mixing.fitting.fit import fit as fit_laws
from mixing.fitting.regressors import REGRESSORS
from mixing.fitting.selection import MODELS, candidates, select_law
from mixing.laws import LAWS
from mixing.laws.base import NotApplicable
from mixing.runs.points import Points, make_points
from mixing.runs.read import read_runs
from mixing.runs.table import SHARE, RunTable

STEP = 4096 * 256
"""Tokens per step of the mixinglaws runs."""
AGAIN = ("linear", "log-linear", "lightgbm", "gaussian-process")
"""Peers' recipes, run again beside ours."""


@dataclass(frozen=True)
class Row:
    data: str
    score: str
    peers: str
    again: str
    ours: str
    bar: str
    holds: bool | None


ROWS: list[Row] = []


def row(data: str, score: str, peers: str, again: str, ours: str, bar: str, holds: bool | None) -> None:
    ROWS.append(Row(data, score, peers, again, ours, bar, holds))
    print(f"{data} | {score}: {ours} ({bar})", file=sys.stderr, flush=True)


def regmix(folder: Path, kind: str, size: str) -> RunTable:
    return read_runs(f"{folder}/regmix/{kind}_mixture_{size}.csv,{folder}/regmix/{kind}_pile_loss_{size}.csv")


def points_of(
    table: RunTable, name: str | dict[str, float], tokens: float | None = None
) -> tuple[Points, Floats]:
    """Points and losses of one eval at its last checkpoint (or the one given), runs in order."""
    weights = {name: 1.0} if isinstance(name, str) else name
    rows = table.weighted(weights).sort("run")
    budget = tokens or rows["tokens"].max()
    rows = rows.filter(rows["tokens"] == budget)
    own = tuple(d for d in table.domains if isinstance(name, str) and d.casefold() == name.casefold())
    return make_points(rows, [SHARE + d for d in table.domains], own, 1.0), rows["loss"].to_numpy()


def chosen(points: Points, losses_n: Floats) -> tuple[str, object]:
    """The model that cross-validation picks, fitted."""
    fitted = candidates(points, losses_n, "leave-mixture-out", MODELS.values())
    pick = select_law(fitted, points, losses_n)
    assert pick is not None
    return pick.name, pick.fitted


def rho(predicted_n: Floats, observed_n: Floats) -> float:
    return 100 * float(spearmanr(predicted_n, observed_n)[0])


def full_swarm(folder: Path) -> None:
    train, tests = regmix(folder, "train", "1m"), {s: regmix(folder, "test", s) for s in ("1m", "60m")}
    scores: dict[str, list[tuple[float, float, float]]] = {}
    names = []
    for name in train.evals:
        points, losses_n = points_of(train, name)
        held = {size: points_of(table, name) for size, table in tests.items()}
        pick, fitted = chosen(points, losses_n)
        names.append(pick)
        again = {other: fit_model(MODELS[other], points, losses_n[None, :])[0] for other in AGAIN}
        for label, model in {"ours": fitted, **again}.items():
            guesses = {size: model.predict(place)[0] for size, (place, _) in held.items()}  # type: ignore[attr-defined]
            small, large = (rho(guesses[size], held[size][1]) for size in ("1m", "60m"))
            mse = float(((guesses["1m"] - held["1m"][1]) ** 2).mean())
            scores.setdefault(label, []).append((small, large, mse))
    at = train.evals.index("pile_cc")
    one = {label: values[at] for label, values in scores.items()}
    mean = {label: np.mean(values, axis=0) for label, values in scores.items()}
    cc, all_losses = f"RegMix Pile-CC, 512 x 1M ({names[at]})", "RegMix, mean of 13 losses"
    for data, values, score, place, form, peers, bar in (
        (cc, one, "rho 1M", 0, ".2f", "LightGBM 99.04, log-linear 96.24", 99.5),
        (cc, one, "MSE 1M", 2, ".5f", "LightGBM 0.00271", 0.0018),
        (cc, one, "rho 60M", 1, ".2f", "LightGBM 98.60", 99.15),
        (all_losses, mean, "rho 1M", 0, ".2f", "LightGBM 99.2, log-linear 96.5", 99.4),
        (all_losses, mean, "rho 60M", 1, ".2f", "LightGBM 95.8, log-linear 91.8", 97.0),
    ):
        again = " / ".join(format(values[label][place], form) for label in AGAIN)
        ours = values["ours"][place]
        holds = ours <= bar if score.startswith("MSE") else ours >= bar
        sign = "<=" if score.startswith("MSE") else ">="
        row(data, score, peers, again, format(ours, form), f"{sign} {bar}", bool(holds))


def small_swarm(folder: Path, draws: int = 5) -> None:
    train, tests = regmix(folder, "train", "1m"), {s: regmix(folder, "test", s) for s in ("1m", "60m")}
    points, losses_n = points_of(train, "pile_cc")
    held = {size: points_of(table, "pile_cc") for size, table in tests.items()}
    scores: dict[str, list[list[float]]] = {}
    for draw in range(draws):
        some = np.random.default_rng(draw).permutation(len(points))[:64]
        kept, y_n = points.take(some), losses_n[some]
        models = {"ours": chosen(kept, y_n)[1]}
        models |= {other: fit_model(MODELS[other], kept, y_n[None, :])[0] for other in AGAIN}
        for label, model in models.items():
            scores.setdefault(label, []).append(
                [rho(model.predict(place)[0], y) for place, y in held.values()]  # type: ignore[attr-defined]
            )
    mean = {label: np.mean(values, axis=0) for label, values in scores.items()}
    for place, (size, bar, peers) in enumerate(
        (("1M", 95.5, "log-linear 93.7, LightGBM 89.9"), ("60M", 95.0, "log-linear 93.1, LightGBM 89.3"))
    ):
        again = " / ".join(f"{mean[label][place]:.2f}" for label in AGAIN)
        value = mean["ours"][place]
        row(
            f"RegMix Pile-CC, 64 runs, {draws} draws",
            f"rho {size}",
            peers,
            again,
            f"{value:.2f}",
            f">= {bar}",
            value >= bar,
        )


def olmix(folder: Path, seeds: int = 10) -> None:
    table = read_runs(f"{folder}/olmix/dclm_ratios.csv,{folder}/olmix/dclm_metrics.csv")
    tasks = json.loads((folder / "olmix" / "dclm_per_family_priors.json").read_text())["eval"]["tasks"]
    families = [{task: 1.0 for task in names if task in table.evals} for names in tasks.values()]
    scores: dict[str, list[tuple[float, float]]] = {}
    for weights in families:
        points, losses_n = points_of(table, weights)
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(points))
            train, test = order[:102], order[102:]
            kept, y_n = points.take(train), losses_n[train]
            models = {"ours": chosen(kept, y_n)[1]}
            models |= {other: fit_model(MODELS[other], kept, y_n[None, :])[0] for other in AGAIN}
            for label, model in models.items():
                guess_n = model.predict(points.take(test))[0]  # type: ignore[attr-defined]
                error = float(np.abs(guess_n - losses_n[test]).mean())
                scores.setdefault(label, []).append((rho(guess_n, losses_n[test]), error))
    mean = {label: np.mean(values, axis=0) for label, values in scores.items()}
    data = f"olmix dclm, 102/25, {seeds} seeds, family means"
    for place, (score, form, peers, bar) in enumerate(
        (("rho", ".2f", "log-linear 94.2", 95.5), ("MAE", ".4f", "log-linear 0.079", 0.060))
    ):
        again = " / ".join(format(mean[label][place], form) for label in AGAIN)
        value = float(mean["ours"][place])
        holds = value >= bar if score == "rho" else value <= bar
        row(
            data, score, peers, again, format(value, form), f"{'>=' if score == 'rho' else '<='} {bar}", holds
        )


def five_sources(folder: Path, splits: int = 50) -> None:
    table = read_runs(folder / "mixinglaws" / "5Mix_70M.csv")
    weights = json.loads((folder / "mixinglaws" / "pile_weights.json").read_text())
    points, losses_n = points_of(table, weights, 30_000 * STEP)
    scores: dict[str, list[float]] = {}
    rng = np.random.default_rng(0)
    again = ("constant", "linear", "exponential", "gaussian-process")
    for _ in range(splits):
        order = rng.permutation(len(points))
        train, test = order[:20], order[20:]
        kept, y_n = points.take(train), losses_n[train]
        models = {"ours": chosen(kept, y_n)[1]}
        models |= {other: fit_model(MODELS[other], kept, y_n[None, :])[0] for other in again}
        for label, model in models.items():
            guess_n = model.predict(points.take(test))[0]  # type: ignore[attr-defined]
            scores.setdefault(label, []).append(float(np.abs(guess_n - losses_n[test]).mean()))
    value = float(np.mean(scores["ours"]))
    beside = ", ".join(f"{label} {np.mean(scores[label]):.4f}" for label in again)
    row(
        f"5Mix 70M at step 30k, {splits} splits 20/6",
        "MAE",
        "authors' 0.0226, constant 0.0671",
        beside,
        f"{value:.4f} +- {np.std(scores['ours']):.4f}",
        "<= 0.015",
        value <= 0.015,
    )


def slimpajama(folder: Path) -> None:
    """Train on 122M and 310M, all checkpoints; predict 680M at all its checkpoints."""
    table = read_runs(folder / "slimpajama" / "small.csv")
    sizes = table.trained["params"].unique().sort().to_list()
    small = RunTable(table.rows.filter(table.rows["params"] < sizes[-1]), table.source)
    large = RunTable(table.rows.filter(table.rows["params"] == sizes[-1]), table.source)
    report = fit_laws(small, list(table.evals), params=sizes[-1], test=large)
    by_law: dict[str, list[float]] = {}
    for fitted in report.laws:
        if fitted.test is not None:
            by_law.setdefault("ours" if report.chosen[fitted.eval] == fitted.law else fitted.law, []).append(
                fitted.test.mre
            )
            if report.chosen[fitted.eval] == fitted.law:
                by_law.setdefault(fitted.law, []).append(fitted.test.mre)
    beside = ", ".join(
        f"{law} {np.mean(by_law[law]):.2%}"
        for law in ("linear", "mixture-additive", "mixture-joint")
        if law in by_law
    )
    value = float(np.mean(by_law["ours"]))
    picks = ", ".join(sorted(set(report.chosen.values())))
    row(
        f"SlimPajama, N <= 310M to 680M, 8 losses ({picks})",
        "MRE",
        "additive law 1.36%",
        beside,
        f"{value:.2%}",
        "<= 0.9%",
        value <= 0.009,
    )


def continual(folder: Path) -> None:
    """The two rows on the public continual-pre-training runs; `python -m benchmarks.cpt` shows more of them."""
    for name, error, bar, peer in cpt.interior_errors(folder):
        row(
            "CPT, one interior mixture left out",
            f"MAE {name}",
            peer,
            "",
            f"{error:.5f}",
            f"<= {bar}",
            error <= bar,
        )
    for name, error, bar in cpt.later_errors(folder):
        row(
            "CPT, steps to 5000 to steps 6000-10000",
            f"MAE {name}",
            "",
            "",
            f"{error:.5f}",
            f"<= {bar}",
            error <= bar,
        )
    ratio, (low, high) = cpt.later_ratio(folder)
    holds = abs(ratio - 0.720) <= 0.02 and low <= 0.720 <= high
    row(
        "CPT, steps to 5000",
        "critical ratio at 10000",
        "",
        "",
        f"{ratio:.4f} [{low:.3f}, {high:.3f}]",
        "0.720 +- 0.02, inside",
        holds,
    )


def speed(folder: Path) -> None:
    law_speed(folder)
    command_speed(folder)


def law_speed(folder: Path) -> None:
    """All 13 RegMix losses x 512 runs: each law that is searched, against LightGBM's 13 plain fits in this process."""
    train = regmix(folder, "train", "1m")
    both = [points_of(train, name) for name in train.evals]
    points, losses_vn = both[0][0], np.stack([losses for _, losses in both])
    REGRESSORS["lightgbm"].fit(points, losses_vn[:1])
    start = time.perf_counter()
    REGRESSORS["lightgbm"].fit(points, losses_vn)
    peer = time.perf_counter() - start
    slowest, slowest_many = ("", 0.0), ("", 0.0)
    rng = np.random.default_rng(0)
    for law in LAWS.values():
        if law.one_budget or law.per_budget:
            continue
        rows = law.usable(points)
        used, y_vn = points.take(rows), losses_vn[:, rows]
        start = time.perf_counter()
        try:
            solutions = fit(law, used, y_vn)
        except NotApplicable:
            continue
        plain = (time.perf_counter() - start) / peer
        start = time.perf_counter()
        for solution, y_n in zip(solutions, y_vn, strict=True):
            replicates(solution, used, y_n, rng)
        many = plain + (time.perf_counter() - start) / peer
        print(
            f"speed {law.name}: {plain:.2f} x, with 200 replicates {many:.2f} x", file=sys.stderr, flush=True
        )
        slowest = max(slowest, (law.name, plain), key=lambda pair: pair[1])
        slowest_many = max(slowest_many, (law.name, many), key=lambda pair: pair[1])
    data = "speed, 13 losses x 512 runs, slowest law"
    row(
        data,
        "x LightGBM's 13 fits",
        f"1 ({peer:.2f} s)",
        "",
        f"{slowest[1]:.2f} ({slowest[0]})",
        "<= 1",
        slowest[1] <= 1,
    )
    row(
        data,
        "the same with 200 replicates",
        "",
        "",
        f"{slowest_many[1]:.2f} ({slowest_many[0]})",
        "<= 10",
        slowest_many[1] <= 10,
    )


def command_speed(folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "flows.cli.main",
        "fit",
        str(folder / "mixinglaws" / "ct.csv"),
        "--json",
        "--eval",
        "python",
    ]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    row(
        "speed, mixlaw fit on the CPT table, cold",
        "seconds",
        "",
        "",
        f"{min(times):.2f}",
        "<= 3",
        min(times) <= 3,
    )


def replicates(solution: Solution, points: Points, losses_n: Floats, rng: np.random.Generator) -> None:
    fitted_n = solution.predict(points)[0]
    scatter = (losses_n - fitted_n).std()
    refit(solution, points, fitted_n + scatter * rng.standard_normal((200, len(losses_n))))


def main(arguments: Sequence[str]) -> None:
    parts = {
        part.__name__: part
        for part in (continual, slimpajama, five_sources, small_swarm, olmix, full_swarm, speed)
    }
    if any(a in ("-h", "--help") for a in arguments) or any(a not in parts for a in arguments):
        sys.exit(f"usage: python -m benchmarks.laws [{' | '.join(parts)}] ...\n\n{__doc__}")
    folder = Path(os.environ.get("MIXLAW_BENCH_DATA", "../shared/data"))
    if not (folder / "regmix").exists():
        sys.exit(f"{folder}: no public tables there; set MIXLAW_BENCH_DATA to their folder")
    for name in arguments or parts:
        parts[name](folder)
    shown = Table("data (model chosen)", "score", "peers report", " / ".join(AGAIN), "ours", "bar", "")
    for one in ROWS:
        verdict = "" if one.holds is None else "holds" if one.holds else "MISSED"
        shown.add_row(one.data, one.score, one.peers, one.again, one.ours, one.bar, verdict)
    Console(width=190).print(shown)


if __name__ == "__main__":
    main(sys.argv[1:])
