"""The best mixture of three sources when the general loss must stay within a tolerance.

    python examples/many_sources.py

The runs come from a test problem whose best mixture is known, so that the answer can be compared with the truth.
"""

import mixlaw as ml
from mixing.test_problems import MIXTURE_LANDSCAPES


def main() -> None:
    problem = next(problem for problem in MIXTURE_LANDSCAPES if problem.name == "exponentials")
    runs = problem.study(30, noise=0.002, seed=1)  # 30 runs on mixtures of web, code and maths

    answer = ml.decide(
        runs,
        general="general",  # the loss to protect,
        target="target",  # the loss to lower,
        tolerance=problem.tolerance,  # and how much the first may rise over the base model, in nats
    )
    print(answer)

    best_shares, _ = problem.best()
    for name, best in zip(problem.domains, best_shares, strict=True):
        print(f"{name}: {answer.shares[name]:.2f} (true optimum: {best:.2f})")


if __name__ == "__main__":
    main()
