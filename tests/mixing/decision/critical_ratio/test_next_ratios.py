"""The next runs with two sources: near the critical ratio, and worth more than runs elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from mixing.decision.critical_ratio.decider import decide_ratio
from mixing.decision.critical_ratio.next_ratios import next_ratios
from mixing.decision.question import make_question
from mixing.errors import InputError
from mixing.runs.table import RunTable
from mixing.test_problems import LANDSCAPES

POWER = next(known for known in LANDSCAPES if known.name == "power")
BUDGETS = [200_000 * i for i in range(1, 6)]
SHARES = [0.15, 0.4, 0.6, 0.9]


def table_of(shares: list[float], seed: int = 0) -> RunTable:
    return POWER.study(shares, BUDGETS, run_sd=0.003, checkpoint_sd=0.002, seed=seed)


def test_the_next_runs_are_apart_and_near_the_answer() -> None:
    table = table_of(SHARES)
    question = make_question(table, {"general": 1.0}, {"target": 1.0})
    found = next_ratios(table, question, 3)
    assert len(found) == len(set(found)) == 3
    assert all(0.02 <= r <= 0.98 for r in found)
    decision = decide_ratio(table, question)
    assert decision.critical_ratio is not None
    assert min(abs(r - decision.critical_ratio) for r in found) < 0.15
    assert found == next_ratios(table, question, 3)
    assert found[:1] == next_ratios(table, question, 1)


def test_they_shrink_the_interval_more_than_runs_at_the_low_end() -> None:
    """Over studies: adding the chosen runs against adding as many at the smallest trained share."""
    widths = {"chosen": [], "low": []}  # type: dict[str, list[float]]
    for seed in range(10):
        table = table_of(SHARES, seed)
        question = make_question(table, {"general": 1.0}, {"target": 1.0})
        chosen = next_ratios(table, question, 2)
        for name, added in (("chosen", chosen), ("low", [0.05, 0.1])):
            more = decide_ratio(table_of(SHARES + added, seed), question, curves=False)
            assert more.interval is not None
            widths[name].append(more.interval[1] - more.interval[0])
    assert np.mean(widths["chosen"]) < 0.9 * np.mean(widths["low"])


def test_before_any_fit_they_fill_the_gaps() -> None:
    table = table_of([0.5])
    question = make_question(table, {"general": 1.0}, {"target": 1.0})
    found = next_ratios(table, question, 6)
    assert len(found) == len(set(found)) == 6
    assert all(abs(r - 0.5) > 0.02 for r in found)


def test_a_plan_of_no_runs_is_refused() -> None:
    table = table_of(SHARES)
    with pytest.raises(InputError):
        next_ratios(table, make_question(table, {"general": 1.0}, {"target": 1.0}), 0)
