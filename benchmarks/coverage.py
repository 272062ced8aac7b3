"""Do 90% intervals cover? Studies drawn from landscapes whose critical ratio is known.

python -m benchmarks.coverage [STUDIES]      (default 100 per row)
"""

from __future__ import annotations

import sys

import numpy as np

from mixing.decide import decide
from mixing.landscapes import LANDSCAPES
from mixing.question import make_question

TOKENS = [int(t) for t in np.geomspace(40_000, 1_000_000, 10)]
NOISES = {"noise 0.002/0.002": (0.002, 0.002), "noise 0.004/0.002": (0.004, 0.002)}


def main() -> None:
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    header = ("runs", "coverage", "+-", "width", "bias")
    print(f"{'landscape':<14}{'noise (run/checkpoint, nats)':<32}" + "".join(f"{h:>10}" for h in header))
    for landscape in LANDSCAPES:
        truth = landscape.critical_ratio(0.0, TOKENS[-1])
        for noise, (run_sd, checkpoint_sd) in NOISES.items():
            for count in (4, 6, 10, 20):
                ratios = np.linspace(0.125, 0.9, count).tolist()
                hits, widths, errors = 0, [], []
                for seed in range(studies):
                    table = landscape.study(
                        ratios, TOKENS, run_sd=run_sd, checkpoint_sd=checkpoint_sd, seed=seed
                    )
                    asked = make_question(table, {"general": 1}, {"target": 1}, tolerance=0.0)
                    answer = decide(table, asked, seed=seed)
                    if answer.interval is None or answer.critical_ratio is None:
                        continue
                    hits += answer.interval[0] <= truth <= answer.interval[1]
                    widths.append(answer.interval[1] - answer.interval[0])
                    errors.append(answer.critical_ratio - truth)
                answered = max(len(widths), 1)
                rate = hits / answered
                error = 1.645 * np.sqrt(rate * (1 - rate) / answered)
                cells = (
                    f"{count}",
                    f"{rate:.1%}",
                    f"{error:.1%}",
                    f"{np.mean(widths):.3f}",
                    f"{np.mean(errors):+.4f}",
                )
                print(f"{landscape.name:<14}{noise:<32}" + "".join(f"{c:>10}" for c in cells), flush=True)


if __name__ == "__main__":
    main()
