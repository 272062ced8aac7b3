"""Does `decide` keep what it says on landscapes that no law has? Nothing was tuned on those reported by default.

    python -m benchmarks.audit [--studies 30] [--seed 11] [--developed] [--jobs 1]

Each study draws its target shares (3 with three seeds each, 4 to 12; even, random, or around the answer), budgets, and
noise (runs scatter 1 to 3 times as much as their checkpoints), and goes through `decide`. Printed by landscape
and by design: how often the 90% interval holds the critical ratio, how often the truth lies outside by more than half
the interval's width, widths, the interval score (width + 20 x miss; Gneiting & Raftery 2007, for 90%), the error of the
best estimate where shares lie on both sides, how often the recommended mix keeps its tolerance and what share it gives
up for that, and how often a new run there falls into its predicted interval. Beside it: a Gaussian process on the last
checkpoints, and linear interpolation with the scatter of runs.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from rich.console import Console
from rich.progress import track

from mixing.arrays import Floats
from mixing.decision.decide import answer_question
from mixing.decision.question import make_question
from mixing.decision.result import Decision
from mixing.test_problems.ratios import Landscape
from mixing.test_problems.unruly import DEVELOPED_ON, NEVER_TUNED_ON

TOKENS = {
    "even": [int(t) for t in np.linspace(100_000, 1_000_000, 10)],
    "log": [int(t) for t in np.geomspace(40_000, 1_000_000, 10)],
}
LEVEL = 0.9


@dataclass(frozen=True)
class Study:
    landscape: Landscape
    design: str
    ratios: list[float]
    tokens: list[int]
    run_sd: float
    checkpoint_sd: float
    correlation: float
    seed: int


@dataclass(frozen=True)
class Outcome:
    """Of one study; NaN where there was no answer. `kept` and the two `inside` are 0 or 1."""

    landscape: str
    design: str
    answered: bool
    truth: float
    ratio: float
    low: float
    high: float
    both_sides: bool
    kept: float
    given_up: float
    general_inside: float
    target_inside: float
    rivals: tuple[tuple[float, float, float], ...]


def draw(landscape: Landscape, count: int, seed: int) -> list[Study]:
    """Studies of one landscape."""
    rng = np.random.default_rng([seed, *landscape.name.encode()])
    truth = landscape.critical_ratio(0.0, 1_000_000)
    studies = []
    for number in range(count):
        runs = int(rng.choice([3, 4, 5, 6, 8, 12]))
        kind = str(rng.choice(["even", "around", "random"]))
        if kind == "even":
            ratios_r = np.linspace(0.125, 0.9, runs)
        elif kind == "around":
            ratios_r = np.linspace(max(truth - 0.3, 0.04), min(truth + 0.25, 0.96), runs)
        else:
            ratios_r = np.sort(rng.uniform(0.05, 0.95, runs))
        ratios = [round(float(r), 3) for r in ratios_r]
        if runs == 3 and rng.random() < 0.5:
            ratios = ratios * 3
        run_sd = float(rng.choice([0.001, 0.002, 0.004, 0.008]))
        studies.append(
            Study(
                landscape,
                f"{runs} shares",
                ratios,
                TOKENS[str(rng.choice(list(TOKENS)))],
                run_sd,
                run_sd / float(rng.choice([1, 2, 3])),
                float(rng.choice([0.0, 0.3, 0.7])),
                number,
            )
        )
    return studies


def outcome(study: Study) -> Outcome:
    """`decide` on one study, held against the truth."""
    landscape = study.landscape
    table = landscape.study(
        study.ratios,
        study.tokens,
        run_sd=study.run_sd,
        checkpoint_sd=study.checkpoint_sd,
        correlation=study.correlation,
        seed=study.seed,
    )
    truth = landscape.critical_ratio(0.0, study.tokens[-1])
    question = make_question(table, {"general": 1}, {"target": 1}, turning_point="report")
    decision = answer_question(table, question, seed=study.seed, curves=False)
    both = min(study.ratios) < truth < max(study.ratios)
    last = table.rows.filter(eval="general", tokens=study.tokens[-1]).sort("run")
    shares_r, losses_r = last["share.target"].to_numpy(), last["loss"].to_numpy() - 3.0
    rivals = (process(shares_r, losses_r), interpolation(shares_r, losses_r, study.run_sd))
    common = (landscape.name, study.design)
    if decision.interval is None or decision.critical_ratio is None:
        nothing = (float("nan"),) * 3
        return Outcome(*common, False, truth, *nothing, both, *(float("nan"),) * 4, rivals)
    share = sum(decision.shares[d] for d in question.target_domains)
    return Outcome(
        *common,
        True,
        truth,
        decision.critical_ratio,
        *decision.interval,
        both,
        float(share <= truth + 1e-9),
        max(truth - share, 0.0),
        *confirmation(study, decision, share),
        rivals,
    )


def confirmation(study: Study, decision: Decision, share: float) -> tuple[float, float]:
    """Whether a new run at the recommended share falls into its predicted intervals: general, target."""
    new = study.landscape.study(
        [share],
        study.tokens,
        run_sd=study.run_sd,
        checkpoint_sd=study.checkpoint_sd,
        correlation=study.correlation,
        seed=100_000 + study.seed,
    )
    found = []
    for role in ("general", "target"):
        loss = float(new.rows.filter(eval=role, tokens=study.tokens[-1], run="run000")["loss"][0])
        low, high = decision.predicted[role].interval
        found.append(float(low <= loss <= high))
    return found[0], found[1]


def process(shares_r: Floats, losses_r: Floats) -> tuple[float, float, float]:
    """A Gaussian process on the last checkpoints: estimate and 90% interval of the crossing."""
    import warnings

    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    grid_g = np.linspace(0.005, 0.995, 199)
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(0.3, (0.05, 3)) + WhiteKernel(1e-2, (1e-6, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(
            shares_r[:, None], losses_r
        )
        mean_g, covariance = model.predict(grid_g[:, None], return_cov=True)
    scale = float(model._y_train_std) ** 2
    noise = scale * float(model.kernel_.k2.noise_level)
    values, vectors = np.linalg.eigh(covariance - noise * np.eye(len(grid_g)))
    draws = (
        mean_g
        + np.random.default_rng(0).standard_normal((500, len(grid_g)))
        @ (vectors * np.sqrt(np.maximum(values, 0))).T
    )
    return _crossings(mean_g, draws, grid_g, shares_r)


def interpolation(shares_r: Floats, losses_r: Floats, scatter: float) -> tuple[float, float, float]:
    """Linear interpolation of the last checkpoints, redrawn with the runs' true scatter."""
    grid_g = np.linspace(0.005, 0.995, 199)
    at_r, inverse = np.unique(shares_r, return_inverse=True)
    runs_r = np.bincount(inverse)
    mean_r = np.bincount(inverse, losses_r) / runs_r
    rng = np.random.default_rng(0)
    drawn = mean_r + scatter / np.sqrt(runs_r) * rng.standard_normal((500, len(at_r)))
    draws = np.stack([np.interp(grid_g, at_r, row) for row in drawn])
    return _crossings(np.interp(grid_g, at_r, mean_r), draws, grid_g, shares_r)


def _crossings(
    mean_g: Floats, draws_bg: Floats, grid_g: Floats, shares_r: Floats
) -> tuple[float, float, float]:
    from mixing.decision.critical_ratio.feasibility import largest_passing

    top = (1 + float(shares_r.max())) / 2
    one = min(float(largest_passing(mean_g[None], 0.0)[0]), top)
    low, high = np.quantile(np.minimum(largest_passing(draws_bg, 0.0), top), [0.05, 0.95])
    return one, min(float(low), one), max(float(high), one)


def line(name: str, outcomes: list[Outcome]) -> str:
    """One row of the table."""
    answered = [o for o in outcomes if o.answered]
    if not answered:
        return f"{name:<14}{len(outcomes):>7}{0:>9}"
    truth = np.array([o.truth for o in answered])
    low, high = np.array([o.low for o in answered]), np.array([o.high for o in answered])
    scores = _scores(
        truth, np.array([o.ratio for o in answered]), low, high, [o.both_sides for o in answered]
    )
    kept = np.mean([o.kept for o in answered])
    cells = [
        f"{len(outcomes)}",
        f"{len(answered)}",
        *scores,
        f"{kept:.0%}",
        f"{np.mean([o.given_up for o in answered]):.3f}",
        f"{np.mean([o.general_inside for o in answered]):.0%}",
        f"{np.mean([o.target_inside for o in answered]):.0%}",
    ]
    return f"{name:<14}" + "".join(f"{cell:>9}" for cell in cells)


def _scores(truth: Floats, one: Floats, low: Floats, high: Floats, both: list[bool]) -> list[str]:
    miss = np.maximum(np.maximum(low - truth, truth - high), 0)
    width = high - low
    held = (miss <= 1e-9).mean()
    inside = np.array(both)
    rmse = np.sqrt(((one - truth)[inside] ** 2).mean()) if inside.any() else float("nan")
    return [
        f"{held:.1%}",
        f"{(miss > width / 2).mean():.1%}",
        f"{np.median(width):.3f}",
        f"{width.mean():.3f}",
        f"{(width + 20 * miss).mean():.3f}",
        f"{rmse:.3f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=30, help="studies per landscape (default 30)")
    parser.add_argument("--seed", type=int, default=11, help="another seed draws other studies (default 11)")
    parser.add_argument("--developed", action="store_true", help="the landscapes that priors were chosen on")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    arguments = parser.parse_args()
    landscapes = DEVELOPED_ON if arguments.developed else NEVER_TUNED_ON
    began = time.monotonic()
    names = [landscape.name for landscape in landscapes]
    work = [(name, n) for name in names for n in range(arguments.studies)]
    run = partial(_numbered, arguments.developed, arguments.studies, arguments.seed)
    console = Console(stderr=True)
    if arguments.jobs == 1:
        outcomes = [run(item) for item in track(work, "studies", console=console, transient=True)]
    else:
        with ProcessPoolExecutor(arguments.jobs) as pool:
            outcomes = list(
                track(pool.map(run, work, chunksize=4), "studies", len(work), console=console, transient=True)
            )
    print(
        "tuned on" if arguments.developed else "never tuned on", f"{arguments.studies} studies each", sep=", "
    )
    header = [
        "studies",
        "answers",
        "covered",
        "far",
        "median",
        "width",
        "score",
        "rmse",
        "kept",
        "given up",
        "general",
        "target",
    ]
    print(f"{'':<14}" + "".join(f"{cell:>9}" for cell in header))
    for name in names:
        print(line(name, [o for o in outcomes if o.landscape == name]))
    for design in sorted({o.design for o in outcomes}, key=lambda d: int(d.split()[0])):
        print(line(design, [o for o in outcomes if o.design == design]))
    print(line("all", outcomes))
    for number, rival in enumerate(("process", "interpolation")):
        one, low, high = np.array([o.rivals[number] for o in outcomes]).T
        truth = np.array([o.truth for o in outcomes])
        cells = ["", "", *_scores(truth, one, low, high, [o.both_sides for o in outcomes])]
        print(f"{rival:<14}" + "".join(f"{cell:>9}" for cell in cells))
    print(f"{time.monotonic() - began:.0f} s")


def _numbered(developed: bool, count: int, seed: int, item: tuple[str, int]) -> Outcome:
    by_name = {each.name: each for each in (DEVELOPED_ON if developed else NEVER_TUNED_ON)}
    return outcome(draw(by_name[item[0]], count, seed)[item[1]])


if __name__ == "__main__":
    main()
