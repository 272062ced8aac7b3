"""Broken runs, copies and stray losses are named and left out; steep but sound runs stay."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mixing.runs.suspicious import copied_runs, diverged_runs, stray_losses, without_suspicious
from mixing.runs.table import RunTable, make_table
from mixing.test_problems import LANDSCAPES, MIXTURE_LANDSCAPES

TOKENS = (100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000)
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)


def study(seed: int = 0) -> pl.DataFrame:
    """Two sources, six shares: forgetting is steep at the last, and every loss has a decaying term of the tokens."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = [
        {"run": "base", "tokens": 0, "eval": name, "loss": loss}
        for name, loss in (("general", 3.0), ("target", 3.4))
    ]
    for share in SHARES:
        for tokens in TOKENS:
            t = tokens / 1e6
            losses = {
                "general": 3.0 + 0.4 * share**6 * t**0.5 + 0.02 * t**-0.3,
                "target": 3.4 - 0.6 * share**0.4 * t**0.3,
            }
            rows += [
                {
                    "run": f"r{share}",
                    "share.web": 1 - share,
                    "share.code": share,
                    "tokens": tokens,
                    "eval": name,
                }
                | {"loss": loss + 0.002 * rng.standard_normal()}
                for name, loss in losses.items()
            ]
    return pl.DataFrame(rows, infer_schema_length=None)


def changed(frame: pl.DataFrame, where: pl.Expr, loss: pl.Expr) -> RunTable:
    return make_table(frame.with_columns(loss=pl.when(where).then(loss).otherwise(pl.col("loss"))), "t.csv")


@pytest.mark.parametrize("seed", range(20))
def test_sound_runs_stay(seed: int) -> None:
    table = make_table(study(seed), "t.csv")
    assert without_suspicious(table) is table


def test_no_landscape_is_suspicious() -> None:
    for seed in range(3):
        tables = [one.study(20, seed=seed) for one in MIXTURE_LANDSCAPES]
        tables += [one.study([0.1, 0.3, 0.5, 0.7, 0.9], list(TOKENS), seed=seed) for one in LANDSCAPES]
        for table in tables:
            assert without_suspicious(table) is table, table.source


def test_a_run_that_ends_in_nan_is_left_out_whole() -> None:
    ends = (pl.col("run") == "r0.5") & (pl.col("tokens") >= 800_000)
    table = changed(study(), ends, pl.lit(float("nan")))
    assert table.ended_without_loss == ("r0.5",)
    kept = without_suspicious(table)
    assert "r0.5" not in set(kept.rows["run"])
    assert any("run r0.5 left out: no finite loss" in w for w in kept.warnings)


def test_a_set_that_nobody_could_evaluate_is_no_divergence() -> None:
    table = changed(
        study(), (pl.col("eval") == "general") & (pl.col("tokens") == 1_000_000), pl.lit(float("nan"))
    )
    assert table.ended_without_loss == ()


def test_a_run_whose_losses_all_rose_far_is_left_out() -> None:
    broken = (pl.col("run") == "r0.3") & (pl.col("tokens") >= 600_000)
    table = changed(study(), broken, pl.lit(6.5))
    assert list(diverged_runs(table)) == ["r0.3"]
    kept = without_suspicious(table)
    assert "r0.3" not in set(kept.rows["run"])
    assert any("run r0.3 left out" in w and "diverged" in w for w in kept.warnings)
    without_base = RunTable(table.trained, "t.csv")
    assert list(diverged_runs(without_base)) == ["r0.3"]


def test_forgetting_all_of_one_set_is_no_divergence() -> None:
    forgot = (pl.col("run") == "r0.97") & (pl.col("eval") == "general") & (pl.col("tokens") > 0)
    table = changed(study(), forgot, pl.col("loss") + 3.0)
    assert diverged_runs(table) == {}


def test_a_run_under_two_names_counts_once() -> None:
    frame = study()
    copy = frame.filter(pl.col("run") == "r0.7").with_columns(run=pl.lit("s"))
    table = make_table(pl.concat([frame, copy]), "t.csv")
    assert copied_runs(table) == {"s": "r0.7"}
    kept = without_suspicious(table)
    assert kept.rows.equals(make_table(frame, "t.csv").rows)
    assert any("run s has the mixture and the losses of r0.7" in w for w in kept.warnings)
    rounded = RunTable(table.rows.with_columns(pl.col("loss").round(2)), "t.csv")
    assert copied_runs(rounded) == {}


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("off", [0.12, -0.12])
def test_a_loss_off_its_course_is_named_and_nothing_else(tokens: int, off: float) -> None:
    stray = (pl.col("run") == "r0.5") & (pl.col("tokens") == tokens) & (pl.col("eval") == "general")
    table = changed(study(), stray, pl.col("loss") + off)
    named = stray_losses(table)
    assert [(one.run, one.tokens, one.eval) for one in named] == [("r0.5", tokens, "general")]
    assert named[0].off == pytest.approx(off, rel=0.2)
    kept = without_suspicious(table)
    assert kept.rows.height == table.rows.height - 1
    assert any(f"run r0.5 at {tokens:,} tokens" in w for w in kept.warnings)


def test_scale_and_shift_change_no_verdict() -> None:
    stray = (pl.col("run") == "r0.5") & (pl.col("tokens") == 400_000)
    frame = study()
    for scale, shift in ((1e-3, 0.0), (1e4, 0.0), (1.0, -2.9)):
        moved = frame.with_columns(pl.col("loss") * scale + shift)
        table = changed(moved, stray, pl.col("loss") + 0.1 * scale)
        assert {one.run for one in stray_losses(table)} == {"r0.5"}
