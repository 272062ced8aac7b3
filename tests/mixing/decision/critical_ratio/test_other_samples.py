"""A run that was measured on other held-out text checks the others' luck, and is evidence on it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mixing.decision.critical_ratio.decider import decide_ratio
from mixing.decision.critical_ratio.other_samples import _resampled, _weights
from mixing.decision.question import make_question
from mixing.decision.result import Decision
from mixing.runs.table import RunTable
from mixing.test_problems import LANDSCAPES

POWER = next(found for found in LANDSCAPES if found.name == "power")
BUDGETS = [100_000 * i for i in range(1, 11)]
TRUTH = POWER.critical_ratio(0.02, BUDGETS[-1])
LUCK = 0.01


def table(luck: float, extra: float | None, seed: int = 0) -> RunTable:
    """Five runs whose general losses share a sample's luck, and one of another sample without any."""
    shares = [0.2, 0.4, 0.55, 0.7, 0.85] + ([] if extra is None else [extra])
    made = POWER.study(shares, BUDGETS, run_sd=0.001, checkpoint_sd=0.001, seed=seed)
    other = pl.col("run") == "run005"
    swarm = (pl.col("eval") == "general") & (pl.col("tokens") > 0) & ~other
    rows = made.rows.with_columns(
        loss=pl.when(swarm).then(pl.col("loss") + luck).otherwise("loss"),
        increment_stderr=pl.when(pl.col("tokens") > 0).then(LUCK),
        heldout=pl.when(other).then(pl.lit("confirmation")),
    )
    return RunTable(rows, "t.csv")


def answer(luck: float, extra: float | None, seed: int = 0) -> Decision:
    runs = table(luck, extra, seed)
    question = make_question(runs, {"general": 1.0}, {"target": 1.0}, tolerance=0.02)
    return decide_ratio(runs, question, curves=False)


def width(decision: Decision) -> float:
    assert decision.interval is not None
    return decision.interval[1] - decision.interval[0]


def test_it_narrows_the_interval_and_corrects_the_luck() -> None:
    before, after = answer(LUCK, None), answer(LUCK, 0.66)
    assert before.critical_ratio is not None
    assert after.critical_ratio is not None
    # The error of a mean of two samples is 0.71 of that of one; runs scatter by a tenth of it.
    assert width(after) < 0.85 * width(before)
    assert abs(after.critical_ratio - TRUTH) < 0.75 * abs(before.critical_ratio - TRUTH)
    assert after.n_runs == before.n_runs + 1


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = []
    for seed in range(20):
        luck = float(LUCK * np.random.default_rng(seed).standard_normal())
        found = answer(luck, 0.66, seed)
        assert found.interval is not None
        held.append(found.interval[0] <= TRUTH <= found.interval[1])
    # 18 of 20 expected; fewer than 14 would happen once in 400 times.
    assert sum(held) >= 14


def test_weights_keep_enough_draws() -> None:
    log_b = -0.5 * (np.linspace(-4, 4, 1000) * 40) ** 2
    weight_b = _weights(log_b)
    assert weight_b.sum() == pytest.approx(1.0)
    assert 1 / (weight_b**2).sum() >= 50
    chosen_b = _resampled(np.full(100, 0.01), np.random.default_rng(0))
    assert sorted(chosen_b) == list(range(100))
