"""The critical ratio at a size that was not trained: known answers, honest errors, clear refusals."""

from __future__ import annotations

import polars as pl
import pytest

from mixing.decision.critical_ratio.decider import decide_ratio
from mixing.decision.question import make_question
from mixing.errors import InputError
from mixing.runs.table import RunTable
from mixing.test_problems import sized_study

SIZES = [1_000_000, 3_000_000, 10_000_000]
SHARES = [0.15, 0.35, 0.5, 0.65, 0.8, 0.9]
BUDGETS = [200_000 * i for i in range(1, 6)]


def table_of(sizes: list[int], seed: int = 0) -> tuple[RunTable, float]:
    return sized_study(sizes, SHARES, BUDGETS, target_size=40_000_000, noise=5e-4, seed=seed)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_known_answer_at_four_times_the_largest_size(seed: int) -> None:
    table, truth = table_of(SIZES, seed)
    question = make_question(table, {"general": 1.0}, {"target": 1.0}, params=40_000_000)
    found = decide_ratio(table, question)
    assert found.critical_ratio == pytest.approx(truth, abs=0.03)
    assert found.interval is not None
    assert found.interval[0] <= truth <= found.interval[1]
    assert any("across sizes" in w for w in found.warnings)
    assert any("4 times the largest size" in w for w in found.warnings)
    # The answer moves with size: that of the largest trained one is another.
    own = decide_ratio(table, make_question(table, {"general": 1.0}, {"target": 1.0}, params=SIZES[-1]))
    assert own.critical_ratio is not None
    assert abs(own.critical_ratio - truth) > 0.03
    assert own.interval is not None
    assert own.interval[1] - own.interval[0] < found.interval[1] - found.interval[0]


def test_two_sizes_say_nothing_of_a_third() -> None:
    table, _ = table_of(SIZES[:2])
    question = make_question(table, {"general": 1.0}, {"target": 1.0}, params=40_000_000)
    with pytest.raises(InputError, match=r"no runs of 40000000 parameters.*2 size") as caught:
        decide_ratio(table, question)
    assert "3 sizes" in caught.value.hint


@pytest.mark.parametrize("params", [500_000, 2_000_000_000])
def test_sizes_out_of_reach_are_refused(params: int) -> None:
    table, _ = table_of(SIZES)
    question = make_question(table, {"general": 1.0}, {"target": 1.0}, params=params)
    with pytest.raises(InputError, match="too far"):
        decide_ratio(table, question)


def test_a_size_with_too_few_mixtures_is_not_yet() -> None:
    table, _ = table_of(SIZES)
    gone = (pl.col("params") == SIZES[0]) & (pl.col("share.target") > 0.4).fill_null(False)
    rows = table.rows.filter(~gone)
    question = make_question(table, {"general": 1.0}, {"target": 1.0}, params=40_000_000)
    assert decide_ratio(RunTable(rows, "t.csv"), question).status == "not_yet"
