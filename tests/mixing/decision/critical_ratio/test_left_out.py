"""The error of what a decision on one ratio uses, on shares that it has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from mixing.decision.critical_ratio.left_out import left_out, mean_errors
from mixing.decision.question import make_question
from mixing.test_problems import LANDSCAPES

SHARES = [0.2, 0.35, 0.5, 0.65, 0.8, 0.9]
BUDGETS = [200_000 * i for i in range(1, 6)]


def predictions(shares: list[float], run_sd: float = 3e-4):  # type: ignore[no-untyped-def]
    table = LANDSCAPES[0].study(shares, BUDGETS, run_sd=run_sd, checkpoint_sd=3e-4, seed=0)
    question = make_question(table, {"general": 1.0}, {"target": 1.0}, None)
    return left_out(question.increments(table), question)


def test_inner_shares_are_predicted_from_the_others() -> None:
    found = predictions(SHARES)
    assert [one.eval for one in found] == ["general"] * 4 + ["target"] * 4
    errors = mean_errors(found)
    # Interpolation between shares 0.15 apart, and luck of 4e-4 nats.
    assert max(errors.values()) < 4e-3
    assert min(errors.values()) > 1e-4


def test_luck_of_runs_is_in_the_error() -> None:
    """A run that no fit saw is missed by its own luck at least: 0.02 nats on average 0.016."""
    errors = mean_errors(predictions(SHARES, run_sd=0.02))
    assert np.mean(list(errors.values())) == pytest.approx(0.016 * 1.3, rel=0.6)


def test_three_shares_are_too_few() -> None:
    assert predictions([0.2, 0.5, 0.8]) == []
    assert mean_errors([]) == {}
