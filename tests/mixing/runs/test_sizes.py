"""The size that is asked about where none is named: one with runs."""

from __future__ import annotations

import polars as pl
import pytest

from mixing.decision.decide import decide
from mixing.runs.sizes import said_of, usual_size
from mixing.runs.table import RunTable
from mixing.test_problems import LANDSCAPES

BUDGETS = [250_000, 500_000, 1_000_000]


def two_sizes(of_the_larger: list[float]) -> RunTable:
    small, large = (
        LANDSCAPES[0].study(shares, BUDGETS, run_sd=1e-3, checkpoint_sd=1e-3).rows
        for shares in ([0.15, 0.3, 0.45, 0.6, 0.75, 0.9], of_the_larger)
    )
    return RunTable(
        pl.concat(
            [
                small.with_columns(params=pl.lit(1_000_000)),
                large.with_columns(params=pl.lit(8_000_000), run=pl.lit("large ") + pl.col("run")),
            ]
        ),
        "t.csv",
    )


@pytest.mark.parametrize(
    ("shares", "size", "runs"), [([0.4, 0.8], 1_000_000, 6), ([0.2, 0.4, 0.6, 0.8], 8_000_000, 4)]
)
def test_the_largest_with_at_least_half_as_many_mixtures(shares: list[float], size: int, runs: int) -> None:
    table = two_sizes(shares)
    assert usual_size(table.trained) == size
    found = decide(table, general="general", target="target", tolerance=0.02)
    assert found.n_runs == runs
    assert any(said_of(size, [1_000_000, 8_000_000]) in warning for warning in found.warnings)
