"""Beside a critical ratio: both tests, increments over target shares, and the ratio over token budgets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixing.arrays import Floats
from mixing.decision.critical_ratio.cmr_law import fit_cmr_law
from mixing.decision.critical_ratio.evidence import LAMBDA, Evidence, evidence
from mixing.decision.critical_ratio.feasibility import critical_times
from mixing.decision.critical_ratio.ratio_runs import set_of
from mixing.decision.question import Question
from mixing.decision.record import PROTECT, ROLES, CurvePoint, Interval, Test
from mixing.decision.result import Decision

CURVE_DRAWS = 200
"""Draws of the loss over shares at each point of the curve over budgets."""
BUDGETS = 25


def interval_of(values_b: Floats, level: float) -> Interval:
    """The central interval of draws."""
    low, high = np.quantile(values_b, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def feasibility_tests(believed: Evidence, question: Question) -> list[Test]:
    """The tests of the tolerance and of protected sets, then that of the turning point unless it is off."""
    tests = [
        _test(_shown(name, question), *test, question)
        for name, test in believed.tests.items()
        if name != "turning_point"
    ]
    if question.turning_point == "off":
        return tests
    if believed.turning_one is None or believed.turning_b is None:
        note = "the form chosen for the general loss has no turning point: too few checkpoints, or none to be seen"
        if believed.extended:
            note = "turning points are not followed to other sizes"
        return [*tests, Test("turning_point", None, None, note, binds=False)]
    turning = _test("turning_point", believed.turning_one, believed.turning_b, question)
    return [*tests, replace(turning, binds=question.turning_point == "require")]


def _shown(name: str, question: Question) -> str:
    """The name of a test: a protected set is called by its own name, where it alone is a role's loss too."""
    if not name.startswith(PROTECT):
        return name
    return PROTECT + set_of(question, name.removeprefix(PROTECT))


def _test(name: str, one: float, many_b: Floats, question: Question) -> Test:
    note = {0.0: "no share passes", 1.0: "every share passes"}.get(one, "")
    return Test(name, one, interval_of(many_b, question.level), note)


def over_shares(believed: Evidence, ratios: list[float], level: float) -> dict[str, list[CurvePoint]]:
    """The increment of each loss over target share at the asked budget, with its band."""
    shares = np.linspace(max(ratios[0] / 2, 0.01), min((1 + ratios[-1]) / 2, 0.99), 81)
    edges = [(1 - level) / 2, (1 + level) / 2]
    curves = {}
    for name, curve in believed.now.items():
        mean_n, draws_bn = curve.at(shares)
        low_n, high_n = np.quantile(draws_bn, edges, axis=0)
        rows = zip(shares, mean_n, np.minimum(low_n, mean_n), np.maximum(high_n, mean_n), strict=True)
        curves[name] = [CurvePoint(*map(float, row)) for row in rows]
    return curves


def with_curves(decision: Decision, believed: Evidence, ratios: list[float]) -> Decision:
    """The decision with its tests and its curves over target shares."""
    return replace(
        decision,
        tests=feasibility_tests(believed, decision.question),
        ratio_curves=over_shares(believed, ratios, decision.question.level),
        law=believed.surfaces["general"].law.name,
    )


def with_budgets(decision: Decision, believed: Evidence, ratios: list[float], seed: int) -> Decision:
    """The decision with its curve over budgets, and the critical times with their law, at a trained size."""
    question, general, target = decision.question, believed.surfaces["general"], believed.surfaces["target"]
    if not general.law.token_powers or believed.extended:
        return decision
    tokens_n = general.points.tokens_n
    last = max(float(tokens_n.max()) * 2, float(question.tokens))
    # Single sets without a tolerance are predicted at the asked budget only.
    followed = {n: s for n, s in believed.surfaces.items() if n in ROLES or n in believed.protect}
    curve = []
    for budget in np.geomspace(float(tokens_n.min()), last, BUDGETS):
        then = evidence(followed, question, float(budget), CURVE_DRAWS, seed, believed.protect)
        low, high = interval_of(then.both_b, question.level)
        curve.append(CurvePoint(float(budget), then.one, min(low, then.one), max(high, then.one)))
    if question.turning_point == "off":
        return replace(decision, cmr_curve=curve)
    times = critical_times(general.fit, target.fit, general.points, ratios, question.tokens, LAMBDA)
    return replace(decision, cmr_curve=curve, critical_times=times, cmr_law=fit_cmr_law(times))
