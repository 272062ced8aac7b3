"""Large tables: which rows laws are compared on, and that the law chosen is fitted to all."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest

from mixing.arrays import Floats
from mixing.fitting.fit import fit
from mixing.fitting.thinning import LARGE, SEARCHED, rows_to_search
from mixing.runs.points import Points, make_points
from mixing.runs.table import RunTable, make_table


def large_table(domains: int, runs: int, budgets: int, sizes: int = 1) -> RunTable:
    """A loss linear in the shares whose runs differ by their luck of 0.004 nats."""
    rng = np.random.default_rng(0)
    shares_rd = rng.dirichlet(np.full(domains, 0.7), size=runs)
    tokens_t = np.arange(1, budgets + 1)
    parts = []
    for size in range(sizes):
        luck_r1 = 0.004 * rng.standard_normal((runs, 1))
        loss_rt = 3 - 0.3 * shares_rd[:, :1] + 0.5 * (tokens_t / budgets) ** -0.3 + luck_r1 - 0.1 * size
        run_r = np.array([f"r{run}n{size}" for run in range(runs)])
        shares = {f"share.d{d}": np.repeat(shares_rd[:, d], budgets) for d in range(domains)}
        frame = {
            "run": np.repeat(run_r, budgets),
            **shares,
            "params": np.full(runs * budgets, 10 ** (6 + size)),
        }
        parts.append(
            pl.DataFrame(
                {**frame, "tokens": np.tile(tokens_t * 10**8, runs), "eval": "x", "loss": loss_rt.ravel()}
            )
        )
    return make_table(pl.concat(parts), "t.csv")


def points_of(table: RunTable) -> tuple[Points, Floats]:
    frame = table.trained
    return make_points(frame, [f"share.{d}" for d in table.domains], ()), frame["loss"].to_numpy()


def test_small_tables_are_searched_whole() -> None:
    points, _ = points_of(large_table(3, 30, 20))
    assert len(points) <= LARGE
    assert rows_to_search(points, "leave-mixture-out").all()


@pytest.mark.parametrize(("kind", "checkpoints"), [("leave-mixture-out", 4), ("leave-largest-T", 8)])
def test_whole_mixtures_with_their_first_and_last_checkpoints(kind: str, checkpoints: int) -> None:
    points, _ = points_of(large_table(4, 400, 20))
    rows_n = rows_to_search(points, kind)  # type: ignore[arg-type]
    assert 0.9 * SEARCHED <= rows_n.sum() <= SEARCHED
    kept = points.take(rows_n)
    for run in np.unique(kept.run_n):
        tokens = kept.tokens_n[kept.run_n == run]
        assert len(tokens) == checkpoints
        assert (tokens.min(), tokens.max()) == (1e8, 20e8)
    np.testing.assert_array_equal(rows_n, rows_to_search(points, kind))  # type: ignore[arg-type]


def test_every_size_keeps_the_same_mixtures() -> None:
    points, _ = points_of(large_table(3, 200, 10, sizes=3))
    kept = points.take(rows_to_search(points, "leave-largest-N"))
    assert kept.params_n is not None
    mixtures = [set(kept.mixture_n[kept.params_n == size]) for size in np.unique(kept.params_n)]
    assert len(mixtures) == 3
    assert mixtures[0] == mixtures[1] == mixtures[2]


def test_the_law_chosen_is_fitted_to_every_row() -> None:
    report = fit(large_table(3, 200, 20), "x", law="scheffe")
    best = report.best("x")
    assert (best.n_rows, best.n_runs) == (4000, 200)
    assert next(law for law in report.laws if law.law == "constant").n_rows < 1000
    assert any("laws were compared on" in warning for warning in report.warnings)
    linear = fit(large_table(3, 200, 20), "x", law="linear").best("x")
    # Every checkpoint has parameters of its own; all 200 runs tell them: luck of 0.004 / sqrt(200).
    assert len(linear.parameters) == 3 * 20
    assert linear.parameters["a0:2000000000"] == pytest.approx(3.2, abs=0.002)


def test_many_rows_cost_no_more_than_some() -> None:
    """Twenty times the rows in less than four times the time: `python -m benchmarks.laws speed` has the seconds."""
    seconds = []
    for runs in (35, 700):
        table, before = large_table(6, runs, 20), time.process_time()
        fit(table, "x", law="mixture-product")
        seconds.append(time.process_time() - before)
    assert seconds[1] < 4 * seconds[0] + 1


def test_the_size_asked_about_is_one_with_runs() -> None:
    small, large = large_table(3, 30, 1).rows, large_table(3, 2, 1, sizes=2).rows
    table = RunTable(pl.concat([small, large.filter(pl.col("params") == 10**7)]), "t.csv")
    report = fit(table, "x", law="linear")
    assert report.best("x").n_runs == 30
    assert any("the largest with enough mixtures, 1,000,000" in warning for warning in report.warnings)
    assert fit(table, "x", law="linear", params=10**7).best("x").n_runs == 2
