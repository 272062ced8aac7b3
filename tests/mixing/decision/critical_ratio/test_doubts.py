"""Critical ratios that are given with a warning."""

from __future__ import annotations

from mixing.decision.critical_ratio.decider import decide_ratio
from mixing.decision.question import make_question
from mixing.test_problems import LANDSCAPES, Landscape
from tests.mixing.decision.critical_ratio.ratio_studies import BUDGETS, SHARES, ask, at_end, landscape, study


def test_ends_are_left_out_with_a_warning() -> None:
    table = at_end([0.2, 0.4, 0.6, 1.0])
    found = decide_ratio(table, ask(table))
    assert found.n_runs == 3
    assert any("0 or 1" in w for w in found.warnings)


def test_a_budget_before_the_first_checkpoint_is_doubted() -> None:
    landscape = LANDSCAPES[0]
    table = landscape.study([0.2, 0.4, 0.6, 0.8], [100_000, 200_000, 400_000, 800_000], seed=1)
    asked = make_question(table, {"general": 1.0}, {"target": 1.0}, tolerance=0.0, tokens=10_000)
    answer = decide_ratio(table, asked)
    assert any("are these tokens, not steps?" in warning for warning in answer.warnings)


def test_an_answer_beyond_the_trained_shares_is_a_bound() -> None:
    table = at_end([0.2, 0.3, 0.4, 0.5])
    # 0.1 R^2 - 0.03 = 0.01 at R = 0.632, which no run has seen.
    found = decide_ratio(table, ask(table, tolerance=0.01))
    assert (found.status, found.critical_ratio) == ("bound", 0.5)
    assert found.interval is not None
    assert found.interval[0] == 0.5
    assert found.interval[1] > 0.632
    assert found.next_runs[0]["target"] == 0.75


def test_too_small_a_signal_is_doubted() -> None:
    """All increments of the general loss lie within the scatter of runs."""
    flat = Landscape("flat", lambda r, t: 0.002 * (r - 0.5) * t, landscape("power").target, in_family=True)
    table = flat.study(SHARES, BUDGETS, run_sd=0.002, checkpoint_sd=0.002, seed=1)
    found = decide_ratio(table, ask(table), curves=False)
    assert any("times the scatter of one run" in w for w in found.warnings)
    clear = study(landscape("power"))
    assert not any("times the scatter" in w for w in decide_ratio(clear, ask(clear), curves=False).warnings)


def test_a_wide_interval_asks_for_runs() -> None:
    table = landscape("power").study([0.2, 0.5, 0.8], BUDGETS, run_sd=0.03, checkpoint_sd=0.03, seed=5)
    found = decide_ratio(table, ask(table), curves=False)
    assert found.interval is not None
    assert found.interval[1] - found.interval[0] > 0.1
    assert any("wider than" in w for w in found.warnings)
    assert found.next_runs
