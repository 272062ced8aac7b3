"""Asked about another size than the only one trained, the choice is shrunk towards a simple form."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mixing.fitting.carrying import CARRIED, SIMPLE, simple_weight
from mixing.fitting.fit import fit
from mixing.runs.table import RunTable, make_table


def swarm(runs: int = 24, noise: float = 1e-3, effect: float = 1.0) -> RunTable:
    """One size of 10^6 parameters, one budget; a loss quadratic in three shares."""
    rng = np.random.default_rng(0)
    rows = []
    for run in range(runs):
        a, b, c = rng.dirichlet(np.ones(3))
        loss = 3 - effect * (0.4 * a + 0.2 * b - 0.3 * a * b) + noise * rng.standard_normal()
        shares = {"share.a": a, "share.b": b, "share.c": c}
        rows.append({"run": f"r{run}", **shares, "params": 10**6, "tokens": 10**9, "eval": "x", "loss": loss})
    return make_table(pl.DataFrame(rows), "t.csv")


def test_the_simple_forms_weight_grows_with_the_factor() -> None:
    weights = [simple_weight(factor) for factor in (1, 2, 10, 60, 1000)]
    assert weights == sorted(weights)
    assert (weights[0], weights[-1]) == (0, 1)
    assert simple_weight(0.1) == pytest.approx(simple_weight(10))


def test_the_order_of_mixtures_is_carried_over() -> None:
    at_home = fit(swarm(), "x")
    chosen = at_home.chosen["x"]
    assert chosen not in (SIMPLE, "constant")
    far = fit(swarm(), "x", params=10**7)
    assert far.chosen == {"x": CARRIED}
    assert far.best("x").parameters == pytest.approx(
        {f"weight {chosen}": 1 - simple_weight(10), f"weight {SIMPLE}": simple_weight(10)}
    )
    # Its error on rows left out lies near that of its parts, and the screen says what may be expected to hold.
    parts = {law.law: law.cv.mae for law in far.laws if law.cv}
    assert parts[CARRIED] <= max(parts[chosen], parts[SIMPLE])
    assert any("only the order of mixtures" in warning for warning in far.warnings)


def test_very_far_the_simple_form_answers_and_luck_stays_luck() -> None:
    assert fit(swarm(), "x", params=10**9).chosen == {"x": SIMPLE}
    assert fit(swarm(effect=0.0), "x", params=10**9).chosen == {"x": "constant"}
    assert fit(swarm(), "x", "scheffe", params=10**9).chosen == {"x": "scheffe"}
