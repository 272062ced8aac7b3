"""Laws declare what they are, and nobody recognises one by its name or class."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mixing.arrays import Floats
from mixing.fitting.engine import solve
from mixing.fitting.selection import MODELS
from mixing.laws import BASELINES, CMR, LAWS, RATIO
from mixing.laws.base import Law
from mixing.runs.points import Points

ROOT = Path(__file__).parents[3]


def basis(law: Law, points: Points) -> Floats:
    """The law's columns at its own starting values, on these points."""
    return law.basis(law.starts(many_sizes(), np.linspace(2, 3, len(points))), points)


def answers_to(law: Law, **changed: Floats) -> bool:
    """Whether the columns of a law, prepared for a table, change with what is changed there."""
    points = many_sizes()
    ready = law.prepare(points)
    return not np.allclose(basis(ready, points), basis(ready, replace(points, **changed)))


def test_baselines_are_known_by_their_trait() -> None:
    assert {name for name, model in MODELS.items() if model.baseline} == set(BASELINES)
    assert {"constant", "linear"} <= set(BASELINES)


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_a_law_is_what_it_says(law: Law) -> None:
    points = many_sizes()
    share = points.target_n[::-1].copy()
    shares = np.stack([1 - share, share], 1)
    assert law.ranks_mixtures == answers_to(law, target_n=share, shares_nd=shares)
    sees_only_target = answers_to(law, target_n=share) and not answers_to(law, shares_nd=shares)
    # Others may see no more than it either: a law of a source's own share is given that in its place.
    assert sees_only_target or not law.needs_target_share
    assert law.one_budget == (not answers_to(law, tokens_n=points.tokens_n[::-1].copy()))
    # Parameters of its own for every budget: more of them where there are more budgets.
    fewer = law.prepare(points.take(points.tokens_n > 1))
    assert law.per_budget == (len(law.prepare(points).linear) > len(fewer.linear))


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_a_law_with_sizes_answers_to_them(law: Law) -> None:
    points = many_sizes()
    assert points.params_n is not None
    assert law.prepare(points).has_sizes == answers_to(law, params_n=2 * points.params_n[::-1])
    assert not law.prepare(replace(points, params_n=None)).has_sizes


def test_what_is_known_of_laws() -> None:
    turning = {name for name, law in LAWS.items() if law.turns}
    assert turning >= {"cmr", "cmr-replay", "cmr-steady"}
    assert turning.isdisjoint({"constant", "linear", "ratio", "cmr-monotone", "d-cpt"})
    assert {name for name, law in LAWS.items() if law.needs_target_share} >= {"ratio", *turning}
    sized = {name for name, law in LAWS.items() if law.prepare(many_sizes()).has_sizes}
    assert sized >= {"d-cpt", "mixture-additive", "mixture-joint", "mixture-product"}
    assert {name for name, law in LAWS.items() if law.floor} >= {"d-cpt", "log-linear", "autoscale"}


@pytest.mark.parametrize("law", [law for law in LAWS.values() if law.floor], ids=lambda law: law.name)
def test_floors_are_constant_columns_that_may_not_be_negative(law: Law) -> None:
    points = many_sizes()
    ready = law.prepare(points)
    assert ready.floor in ready.linear
    assert ready.floor.startswith("+")
    column_bn = basis(ready, points)[..., ready.linear.index(ready.floor)]
    assert np.allclose(column_bn, 1)


def test_a_floor_may_be_negative_where_a_metric_is() -> None:
    law = LAWS["mixture-additive"].prepare(many_sizes())
    points = many_sizes()
    losses_bn = np.stack([points.shares_nd[:, 0] + 1.0, points.shares_nd[:, 0] - 5.0])
    start_bq = np.repeat(law.starts(points, losses_bn[0])[:1], 2, axis=0)
    floor_b = solve(law, points, losses_bn, np.ones_like(losses_bn), start_bq).linear_bl[
        :, law.linear.index(law.floor)
    ]
    assert floor_b[0] >= 0 > floor_b[1]


def test_only_laws_of_several_budgets_have_a_slope_over_tokens() -> None:
    points = many_sizes()
    assert RATIO.basis_slope(np.array([[0.5]]), points) is None
    assert LAWS["linear"].basis_slope(np.empty((1, 0)), points) is None
    slope_bnl = CMR.basis_slope(np.array([[0.5, -0.5, 1.0]]), points)
    assert slope_bnl is not None
    assert slope_bnl.shape == (1, len(points), 6)


def many_sizes() -> Points:
    """Nine mixtures at two sizes with five budgets each."""
    share = np.repeat(np.linspace(0.1, 0.9, 9), 10)
    codes = np.repeat(np.arange(9), 10)
    tokens = np.tile([1.0, 2.0, 4.0, 6.0, 8.0], 18)
    sizes = np.tile(np.repeat([1e8, 3e8], 5), 9)
    return Points(np.stack([1 - share, share], 1), share, tokens, 4.0, codes, codes, sizes)


@pytest.mark.parametrize("floor", ["mixing", "proxies", "flows"])
def test_nobody_compares_with_the_name_of_a_law(floor: str) -> None:
    """Comparisons such as `law == "ratio"` or `name in ("constant", "linear")` outside `mixing/laws`."""
    wrong = []
    for path in sorted((ROOT / floor).rglob("*.py")):
        if path.is_relative_to(ROOT / "mixing" / "laws"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                texts = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
                wrong += [f"{path.relative_to(ROOT)}:{node.lineno} {text}" for text in texts & set(MODELS)]
    assert not wrong
