"""When no critical ratio is given: runs that cannot support one, and questions without a meaning."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from mixing.decision.critical_ratio.decider import decide_ratio
from mixing.decision.question import make_question
from mixing.errors import InputError
from mixing.runs.table import RunTable
from tests.mixing.decision.critical_ratio.ratio_studies import (
    BUDGETS,
    ask,
    at_end,
    four_domains,
    landscape,
    study,
)


@pytest.mark.parametrize("ratios", [[0.5], [0.5, 0.7], [0.5, 0.0, 1.0]])
def test_too_few_target_shares_is_not_yet(ratios: list[float]) -> None:
    table = at_end(ratios)
    found = decide_ratio(table, ask(table))
    assert found.status == "not_yet"
    assert found.critical_ratio is None
    assert found.interval is None
    assert found.shares == {}
    assert len(found.next_runs) >= 2
    for mix in found.next_runs:
        assert sum(mix.values()) == pytest.approx(1)
        assert all(abs(mix["target"] - r) > 0.04 for r in ratios)
    out = found.to_dict()
    assert out["critical_ratio"] is None
    assert out["reason"].startswith("the ratio law has three parameters")
    json.dumps(out, allow_nan=False)


@pytest.mark.parametrize("tokens", [500, 1500])
def test_a_ratio_law_answers_at_its_own_budget_only(tokens: int) -> None:
    table = at_end([0.2, 0.4, 0.6, 0.8])
    found = decide_ratio(table, ask(table, tokens=tokens))
    assert found.status == "not_yet"
    assert "too few checkpoints" in (found.reason or "")


def test_budgets_past_the_trained_ones() -> None:
    table = study(landscape("power"))
    last = BUDGETS[-1]
    refused = decide_ratio(table, ask(table, tokens=4 * last + 1), curves=False)
    assert refused.status == "not_yet"
    assert refused.next_runs
    assert "times the largest trained budget" in (refused.reason or "")
    # Where it turns from refused to warned is exact; the mix may still be a bound.
    warned = decide_ratio(table, ask(table, tokens=4 * last), curves=False)
    assert any("extrapolated" in w and "4.0 times" in w for w in warned.warnings)
    silent = decide_ratio(table, ask(table, tokens=2 * last), curves=False)
    assert not any("times the largest" in w for w in silent.warnings)


def test_not_yet_when_no_trained_share_passes() -> None:
    table = at_end([0.5, 0.7, 0.9])
    rows = table.rows.with_columns(
        pl.when((pl.col("eval") == "general") & (pl.col("tokens") > 0))
        .then(pl.col("loss") + 1)
        .otherwise("loss")
        .alias("loss")
    )
    found = decide_ratio(RunTable(rows, "t.csv"), ask(table))
    assert found.status == "not_yet"
    assert all(mix["target"] < 0.5 for mix in found.next_runs)


def test_without_base_rows_there_is_no_answer() -> None:
    table = at_end([0.2, 0.4, 0.6])
    bare = RunTable(table.trained, "t.csv")
    with pytest.raises(InputError, match=r"t\.csv: no base rows") as caught:
        decide_ratio(bare, ask(bare))
    assert "tokens 0" in caught.value.hint


def test_proportions_that_vary_are_refused() -> None:
    table = four_domains(varying=True)
    with pytest.raises(InputError, match=r"t\.csv: shares within the target domains vary"):
        decide_ratio(table, ask(table, target_domains=("python", "rust")))


def test_questions_are_checked() -> None:
    table = at_end([0.2, 0.4, 0.6])
    bad: list[dict[str, Any]] = [
        {"level": 1.0}, {"level": 0.0}, {"tolerance": -0.1}, {"tolerance": math.nan}, {"tokens": 0},
        {"target_domains": ("german",)}, {"target_domains": ("general", "target")},
    ]  # fmt: skip
    for changes in bad:
        with pytest.raises(InputError):
            ask(table, **changes)
    for general, target in (
        ({}, {"target": 1}),
        ({"general": 0}, {"target": 1}),
        ({"general": -1}, {"target": 1}),
        ({"target": 1}, {"target": 1}),
        ({"german": 1}, {"target": 1}),
    ):
        with pytest.raises(InputError):
            make_question(table, general, target, ("target",))
    assert make_question(table, {"general": 4}, {"target": 2}).general == {"general": 1.0}
    assert ask(table).tokens == 1000
    sized = RunTable(table.rows.with_columns(params=pl.lit(5)), "t.csv")
    with pytest.raises(InputError, match="no runs of 7 parameters"):
        decide_ratio(sized, replace(ask(table), params=7))
