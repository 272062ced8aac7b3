"""The usual budget: one that almost all runs reached, however far a single one went."""

from __future__ import annotations

import numpy as np
import pytest

from mixing.runs.budgets import runs_beyond, tiny_budget, usual_budget


def usual(*budgets: list[float]) -> float:
    runs = [np.full(len(of_run), at) for at, of_run in enumerate(budgets)]
    return usual_budget(
        np.concatenate(runs), np.concatenate([np.array(of_run, dtype=float) for of_run in budgets])
    )


@pytest.mark.parametrize(
    ("budgets", "expected"),
    [
        ([[1, 2, 4]] * 6, 4),
        ([[1, 2, 4]] * 5 + [[1, 2, 4, 8, 16, 128]], 4),
        ([[1, 2, 4]] * 5 + [[1, 2]], 4),
        ([[1, 2, 4]] * 3 + [[1, 2]], 4),
        ([[1, 2, 4]] * 3 + [[1, 2, 4, 8]], 4),
        ([[1, 2], [1, 2, 64]], 2),
        # Checkpoints a few tokens apart are one budget.
        ([[100, 200], [100, 201], [101, 200], [100, 200, 6400]], 201),
        # Every run has checkpoints of its own.
        ([[10, 100], [11, 120], [13, 140], [15, 160], [17, 3200]], 120),
        ([[1000]] * 10 + [[2000]] * 9, 2000),
    ],
)
def test_the_budget_that_almost_all_runs_reached(budgets: list[list[float]], expected: float) -> None:
    assert usual(*budgets) == expected


def test_runs_that_go_further_are_named() -> None:
    assert runs_beyond(["a", "b"], np.array([1e8, 3.2e9]), 1e8) == [
        "1 run goes further than the 100M tokens that almost all reached: b, to 3.2B"
    ]
    assert runs_beyond(["a", "b"], np.array([1e8, 1.001e8]), 1e8) == []


def test_budgets_that_no_model_is_trained_for_are_asked_about() -> None:
    (warning,) = tiny_budget(1600)
    assert "runs end at 1,600 tokens: are these thousands, millions" in warning
    assert tiny_budget(1) == tiny_budget(1e8) == []
