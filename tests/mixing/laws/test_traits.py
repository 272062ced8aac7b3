"""Laws declare what they are, and nobody recognises one by its name or class."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mixing.fitting.engine import solve
from mixing.fitting.selection import MODELS
from mixing.laws import BASELINES, CMR, CONSTANT, LAWS, RATIO
from mixing.runs.points import Points

ROOT = Path(__file__).parents[3]


def holders(trait: str) -> set[str]:
    return {name for name, model in MODELS.items() if getattr(model, trait)}


def test_each_law_says_what_it_is() -> None:
    assert holders("baseline") == {"constant", "linear"} == set(BASELINES)
    assert set(MODELS) - holders("ranks_mixtures") == {"constant"} == {CONSTANT.name}
    assert holders("one_budget") == {"ratio"}
    assert holders("per_budget") == {"constant", "linear", "scheffe"}
    assert holders("needs_target_share") == {name for name in LAWS if name == "ratio" or "cmr" in name}
    assert {name for name, law in LAWS.items() if law.turns} == {"cmr", "cmr-replay", "cmr-steady"}


def test_floors_are_linear_parameters_that_may_not_be_negative() -> None:
    floors = {name: law.floor for name, law in LAWS.items() if law.floor}
    assert floors == {
        "d-cpt": "+E",
        "exponential-implicit": "+c",
        "log-linear": "+c",
        "mixture-additive": "+E",
        "mixture-joint": "+E",
        "mixture-product": "+E",
        "autoscale": "+E",
    }
    assert all(floor in LAWS[name].linear for name, floor in floors.items())


def test_sizes_are_known_after_a_table_was_seen() -> None:
    points = many_sizes()
    knowing = {"d-cpt", "mixture-additive", "mixture-joint", "mixture-product"}
    others = set(LAWS) - knowing - {"exponential-implicit", "cmr", "cmr-replay", "cmr-steady"}
    assert all(LAWS[name].prepare(points).has_sizes for name in knowing)
    assert not any(LAWS[name].prepare(points).has_sizes for name in others)
    assert not LAWS["d-cpt"].prepare(replace(points, params_n=None)).has_sizes


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
    share = np.repeat(np.linspace(0.1, 0.9, 5), 6)
    codes = np.repeat(np.arange(5), 6)
    tokens = np.tile([1.0, 2.0, 4.0], 10)
    sizes = np.tile(np.repeat([1e8, 3e8], 3), 5)
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
