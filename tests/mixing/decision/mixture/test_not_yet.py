"""When no mixture of many sources is given: runs that cannot support one, and limits that leave none."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl
import pytest

from mixing.decision.constraints import Constraints
from mixing.decision.question import make_question
from mixing.errors import InputError
from mixing.runs.table import RunTable
from tests.mixing.decision.mixture.swarms import BASE, DOMAINS, corners, decide, drawn, swarm

pytestmark = pytest.mark.usefixtures("few_replicates")


def test_one_mixture_is_not_yet() -> None:
    found = decide(swarm(np.full((6, 3), 1 / 3), base=BASE))
    assert found.status == "not_yet"
    assert "all runs have one mixture" in found.reason
    assert len(found.next_runs) >= 3
    for mix in found.next_runs:
        assert math.fsum(mix.values()) == pytest.approx(1)


def test_few_mixtures_are_said_and_too_few_refused() -> None:
    # 6 mixtures of 3 free shares: fewer than 3 (3 + 1).
    few = decide(swarm(corners(3), base=BASE))
    assert few.status == "decided"
    assert any("rule of thumb: 12" in w for w in few.warnings)
    assert not any("rule of thumb" in w for w in decide(swarm(corners(), base=BASE)).warnings)
    none = decide(swarm(np.eye(3), base=BASE))
    assert none.status == "not_yet"
    assert "3 different mixtures cannot tell 3 free shares apart" in none.reason
    assert none.next_runs


def test_runs_on_a_line_tell_no_free_shares_apart() -> None:
    part_k = np.linspace(0.1, 0.9, 9)[:, None]
    line_kd = (1 - part_k) * np.array([0.6, 0.3, 0.1]) + part_k * np.array([0.1, 0.2, 0.7])
    found = decide(swarm(line_kd.round(3), base=BASE))
    assert found.status == "not_yet"
    assert found.reason is not None
    assert "vary in 1 direction(s) and cannot tell 3 free shares apart" in found.reason
    assert found.next_runs
    # Along the line is another question, which its runs answer.
    frozen = decide(swarm(line_kd.round(3), base=BASE), Constraints(freeze=(("web", "code"),)))
    assert frozen.status == "decided"


def test_losses_that_no_mixture_moves_are_not_yet() -> None:
    rng = np.random.default_rng(3)
    found = decide(swarm(drawn(20), {"target": lambda p: rng.normal()}), general=None, law="constant")
    assert found.status == "not_yet"
    assert "no law beats the constant" in found.reason


def test_missing_evals_and_far_budgets() -> None:
    table = swarm(corners(), base=BASE)
    rows = table.rows.filter(~((pl.col("run") == "r3") & (pl.col("eval") == "target")))
    assert decide(RunTable(rows, "t.csv")).n_runs == 14
    nowhere = table.rows.filter(
        (pl.col("tokens") == 0) | (pl.col("eval") == "general") | (pl.col("run") == "none")
    )
    with pytest.raises(InputError, match="no run has all the named losses"):
        decide(RunTable(nowhere, "t.csv"))
    far = decide(table, tokens=5000)
    assert far.status == "not_yet"
    assert "not followed that far" in far.reason
    assert any("assumed" in w for w in decide(table, tokens=3000).warnings)


def test_no_mixture_within_the_tolerance_tells_the_least_increment() -> None:
    found = decide(
        swarm(corners(), base={"general": 2.95, "target": 2.0}), Constraints(min_shares={"code": 0.5})
    )
    assert found.status == "not_yet"
    # At code 0.5, web 0.5: 3.2 against 2.95.
    assert found.reason
    # Runs scatter by 1e-4.
    assert re.search(r"general \+0\.(25|2499|2501) nats", found.reason)
    assert "least increments" in found.reason
    assert found.tests[0].note.startswith("the least increment is +0.2")
    assert found.next_runs[0]["web"] == pytest.approx(0.5, abs=1e-3)


def test_caps_that_leave_no_mixture() -> None:
    supply = dict.fromkeys(DOMAINS, 50.0)
    with pytest.raises(InputError, match=r"may fill 0.6 of the budget.*repeated too often") as error:
        decide(swarm(corners()), Constraints(supply=supply))
    assert "lower the token budget" in error.value.hint


def test_weights_of_sets_that_the_table_lacks() -> None:
    table = swarm(corners(), base=BASE)
    with pytest.raises(InputError, match="no validation set 'german'"):
        make_question(table, {"general": 0.5, "german": 0.5}, {"target": 1.0}, tolerance=0.0)
    with pytest.raises(InputError, match="no validation set 'python'"):
        make_question(table, {"general": 1.0}, {"python": 1.0}, tolerance=0.0)


def test_sizes_that_the_table_says_nothing_of() -> None:
    table = swarm(corners(), base=BASE)
    sized = RunTable(table.rows.with_columns(params=pl.lit(7, dtype=pl.Int64)), "t.csv")
    with pytest.raises(InputError, match="no runs of 9 parameters"):
        decide(sized, params=9)


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (Constraints(prior={"x": 1}), "prior x: no such domain"),
        (Constraints(supply={"x": 1}), "supply x: no such domain"),
        (Constraints(prior={"web": math.nan}), "prior web=nan"),
        (Constraints(prior={"web": 1.0}), "prior: no share of"),
        (Constraints(max_shares={"web": 1.5}), "max_shares web=1.5: not a share"),
        (Constraints(prior=dict.fromkeys(("web", "code", "books"), 0.0)), "all shares are 0"),
        (Constraints(max_epochs=0), "max_epochs 0: not above 0"),
        (Constraints(min_shares={"x": 0.1}), "min_shares x: no such domain"),
        (Constraints(kl=-1.0), "kl -1"),
        (Constraints(protect={"general": -1.0}), "protect general=-1"),
        (Constraints(protect={"nothing": 0.1}), "no validation set 'nothing'"),
    ],
)
def test_bad_constraints(constraints: Constraints, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decide(swarm(corners()), constraints)
