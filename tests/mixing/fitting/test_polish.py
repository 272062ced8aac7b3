"""The published fit: SciPy's optimum, and the engine held to it for every law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares

from mixing.arrays import Floats
from mixing.fitting.engine import Solution, fit
from mixing.fitting.fit import fit as fit_laws
from mixing.fitting.polish import Problem, polish
from mixing.laws import LAWS
from mixing.laws.base import Law
from mixing.runs.points import Points
from mixing.test_problems import LANDSCAPES

NOISE = 2e-3


def swarm(seed: int = 0) -> Points:
    """Eighteen mixtures of three sources at six budgets and two sizes; the last source is the target."""
    rng = np.random.default_rng(seed)
    shares_md = rng.dirichlet(np.ones(3), size=18).clip(0.02)
    shares_md /= shares_md.sum(1, keepdims=True)
    m, t, s = (a.ravel() for a in np.meshgrid(np.arange(18), np.arange(6), np.arange(2), indexing="ij"))
    tokens_n = 1e9 * 1.6**t
    return Points(shares_md[m], shares_md[m, -1], tokens_n, tokens_n.max(), m, 2 * m + s, 1e8 * 4.0**s)


def losses(points: Points, seed: int = 1) -> Floats:
    """A loss of no law's form, in nats: powers of a mean of the shares, of tokens and of size, with noise."""
    assert points.params_n is not None
    useful_n = points.shares_nd @ np.array([0.2, 0.5, 1.0]) + 0.05
    clean_n = 1.8 + 0.3 * useful_n**-0.4 + 0.2 * (points.tokens_n / 1e9) ** -0.3
    clean_n += 0.3 * (points.params_n / 1e8) ** -0.3
    return np.asarray(clean_n + NOISE * np.random.default_rng(seed).standard_normal(len(points)))


def prepared(law: Law) -> tuple[Points, Floats]:
    points = swarm()
    rows = law.usable(points)
    if law.one_budget:
        rows &= points.tokens_n == points.tokens_n.max()
    return points.take(rows), losses(points)[rows]


def cost(solution: Solution, problem: Problem) -> float:
    value_p = np.concatenate([solution.theta_bq[0], solution.linear_bl[0]])
    return 0.5 * float((problem.residuals(value_p) ** 2).sum())


@pytest.mark.parametrize("law", LAWS.values(), ids=lambda law: law.name)
def test_the_engine_ends_at_scipys_optimum(law: Law) -> None:
    """Next to its own answer, SciPy gains less than one part in 1e4 of the squared error: a hundredth of what
    another draw of the noise would change with 200 rows."""
    points, losses_n = prepared(law)
    solution = fit(law, points, losses_n[None], robust=False)[0]
    ones_n = np.ones(len(points))
    problem = Problem(solution.law, points, losses_n, ones_n, float(solution.scatter_b[0]))
    polished, optimum = polish(solution, points, losses_n, ones_n)
    assert optimum.cost == pytest.approx(cost(polished, problem), rel=1e-9)
    assert optimum.cost <= cost(solution, problem) <= optimum.cost * (1 + 1e-4)
    np.testing.assert_allclose(polished.predict(points), solution.predict(points), atol=0.1 * NOISE)
    assert optimum.status > 0
    assert len(optimum.parameters) == len(optimum.covariance) == len(polished.named())


@pytest.mark.parametrize("law", LAWS.values(), ids=lambda law: law.name)
def test_no_start_of_scipys_ends_far_below(law: Law) -> None:
    """SciPy, from places of its own within the bounds, finds nothing that is better by more than 2%: local optima of
    the laws with many parameters are that close together, one in the noise."""
    points, losses_n = prepared(law)
    solution = fit(law, points, losses_n[None], robust=False)[0]
    problem = Problem(solution.law, points, losses_n, np.ones(len(points)), float(solution.scatter_b[0]))
    low_p, high_p = problem.bounds()
    rng = np.random.default_rng(2)
    reached = []
    for _ in range(4):
        near_p = [
            p.expected + 0.5 * min(p.spread, 1.0) * rng.standard_normal() for p in solution.law.parameters
        ]
        linear_l = solution.linear_bl[0] * rng.uniform(0.5, 1.5, solution.linear_bl.shape[1])
        start_p = np.clip(np.concatenate([near_p, linear_l]), low_p + 1e-6, high_p - 1e-6)
        found = least_squares(
            problem.residuals, start_p, problem.jacobian, (low_p, high_p), x_scale="jac", max_nfev=200
        )
        reached.append(found.cost)
    assert cost(solution, problem) <= min(reached) * 1.02


def test_standard_errors_are_those_of_repetition() -> None:
    """Of 40 draws of independent noise, parameters scatter as the covariance says (each known to 11%)."""
    points = swarm()
    law = LAWS["scheffe"]
    runs = replace(points, run_n=np.arange(len(points)))
    clean_n = fit(law, runs, losses(points)[None])[0].predict(runs)[0]
    found, expected = [], []
    for seed in range(40):
        noisy_n = clean_n + NOISE * np.random.default_rng(seed).standard_normal(len(runs))
        solution = fit(law, runs, noisy_n[None], robust=False)[0]
        polished, optimum = polish(solution, runs, noisy_n, np.ones(len(runs)))
        found.append(list(polished.named().values()))
        expected.append(list(optimum.standard_errors.values()))
    assert np.std(found, axis=0).mean() / np.mean(expected) == pytest.approx(1.0, rel=0.2)


def test_luck_that_checkpoints_share_widens_standard_errors() -> None:
    points = swarm()
    luck_n = 5 * NOISE * np.random.default_rng(3).standard_normal(40)[points.run_n]
    law = LAWS["d-cpt"]
    apart = replace(points, run_n=np.arange(len(points)))
    solution = fit(law, points, (losses(points) + luck_n)[None])[0]
    together, alone = (polish(solution, p, losses(points) + luck_n)[1] for p in (points, apart))
    assert together.parameters == alone.parameters
    # Six checkpoints of a run tell little more than one: roots of up to 6.
    ratio = together.standard_errors["beta"] / alone.standard_errors["beta"]
    assert 1.5 < ratio < np.sqrt(6) + 1e-9


def test_the_chosen_law_is_published_as_scipy_leaves_it() -> None:
    table = LANDSCAPES[0].study([0.2, 0.35, 0.5, 0.65, 0.8], [200_000 * i for i in range(1, 6)], seed=0)
    report = fit_laws(table, "general", law="cmr")
    best = report.best("general")
    assert best.optimum is not None
    assert best.optimum.status > 0
    assert best.optimum.parameters == tuple(best.parameters)
    assert all(law.optimum is None for law in report.laws if law is not best)
    told = {law["law"]: law for law in report.to_dict()["laws"]}
    assert set(told["cmr"]["least_squares"]) == {
        "status", "message", "optimality", "cost", "evaluations", "standard_errors", "covariance"
    }  # fmt: skip
    assert "least_squares" not in told["linear"]
