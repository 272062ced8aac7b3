"""Do the 90% intervals of many sources cover? Studies of landscapes whose best mixture under a tolerance is known.

    python -m benchmarks.coverage_mixtures [--studies 40] [--seed 1] [--landscape NAME] [--runs 15,30,60]

A row is one landscape and number of runs. `shares` is how often the interval of a domain's share holds the best
mixture's, over studies and domains; `target` and `general` how often the interval of a run at the recommended mixture
holds what such a run has. `regret` is the mean target loss (nats) that the recommendation gives away to the best
mixture, `excess` the mean general loss above the tolerance, where it is above. `answers` may be fewer than the studies:
"not yet" is an answer without intervals.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from rich.console import Console
from rich.progress import track

from mixing.arrays import Floats
from mixing.decision.mixture.decider import decide_mixture
from mixing.decision.question import make_question
from mixing.decision.result import Decision
from mixing.test_problems import MIXTURE_LANDSCAPES, MixtureLandscape
from mixing.test_problems.mixtures import TOKENS

NOISE = 0.002


def decided(landscape: MixtureLandscape, runs: int, seed: int) -> Decision:
    table = landscape.study(runs, noise=NOISE, seed=seed)
    question = make_question(
        table,
        {"general": 1.0},
        {"target": 1.0},
        landscape.domains[1:],
        tolerance=landscape.tolerance,
        tokens=TOKENS,
    )
    return decide_mixture(table, question, seed=seed)


def row(landscape: MixtureLandscape, runs: int, studies: int, seed: int) -> str:
    best_d, least = landscape.best()
    held: list[Floats] = []
    lost: list[tuple[float, float]] = []
    steps = track(
        range(studies), f"{landscape.name}, {runs} runs", console=Console(stderr=True), transient=True
    )
    for v in steps:
        decision = decided(landscape, runs, 10_000 * seed + v)
        if not decision.has_answer:
            continue
        spans = [decision.share_intervals[d] for d in landscape.domains]
        shares = [low <= best <= high for (low, high), best in zip(spans, best_d, strict=True)]
        mix = np.array([[decision.shares[d] for d in landscape.domains]])
        true = {"general": float(landscape.general(mix)[0]), "target": float(landscape.target(mix)[0])}
        rng = np.random.default_rng([seed, v])
        losses = []
        for role in ("target", "general"):
            low, high = decision.predicted[role].interval
            losses.append(low <= true[role] + NOISE * rng.standard_normal() <= high)
        held.append(np.array([np.mean(shares), *losses]))
        lost.append(
            (true["target"] - least, max(true["general"] - landscape.base - landscape.tolerance, 0.0))
        )
    if not held:
        return f"{landscape.name:<16}{runs:>6}{0:>9}"
    rates, means = np.mean(held, 0), np.mean(lost, 0)
    cells = "".join(f"{rate:>9.0%}" for rate in rates)
    return f"{landscape.name:<16}{runs:>6}{len(held):>9}{cells}{means[0]:>10.4f}{means[1]:>10.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=40, help="studies per row (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="another seed draws other studies (default 1)")
    parser.add_argument("--runs", default="15,30,60", help="numbers of runs (default 15,30,60)")
    parser.add_argument("--landscape", action="append", help="only this one; may be given more than once")
    arguments = parser.parse_args()
    by_name = {landscape.name: landscape for landscape in MIXTURE_LANDSCAPES}
    for name in arguments.landscape or by_name:
        if name not in by_name:
            sys.exit(f"no landscape {name!r}: there are {', '.join(by_name)}")
    began = time.monotonic()
    print(f"nominal 90%, {arguments.studies} studies per row, seed {arguments.seed}")
    header = ("runs", "answers", "shares", "target", "general", "regret", "excess")
    print(
        f"{'landscape':<16}{header[0]:>6}"
        + "".join(f"{h:>9}" for h in header[1:5])
        + f"{header[5]:>10}{header[6]:>10}"
    )
    for name in arguments.landscape or by_name:
        for runs in arguments.runs.split(","):
            print(row(by_name[name], int(runs), arguments.studies, arguments.seed), flush=True)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
