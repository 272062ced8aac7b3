from __future__ import annotations

import polars as pl
import pytest

from mixing.errors import InputError
from mixing.runs.table import make_table

BUDGETS = (400_000_000, 800_000_000, 1_600_000_000)


def rows() -> pl.DataFrame:
    """Five runs with two sets at three budgets, and the base."""
    found = [("base", None, 0, name, 3.0) for name in ("web", "german")]
    for number in range(5):
        share = 0.1 + 0.2 * number
        found += [
            (f"r{number}", share, tokens, name, 2.5 + 0.01 * number)
            for tokens in BUDGETS
            for name in ("web", "german")
        ]
    table = pl.DataFrame(found, schema=["run", "share.german", "tokens", "eval", "loss"], orient="row")
    return table.with_columns((1 - pl.col("share.german")).alias("share.web"))


def changed(column: str, value: pl.Expr, where: pl.Expr) -> pl.DataFrame:
    return rows().with_columns(pl.when(where).then(value).otherwise(pl.col(column)).alias(column))


R1 = pl.col("run") == "r1"
CELL = R1 & (pl.col("tokens") == BUDGETS[0]) & (pl.col("eval") == "web")


def test_a_sound_table_is_read() -> None:
    assert make_table(rows(), "t").warnings == []


@pytest.mark.parametrize("mark", [0.0, -1.0, -100.0, 999.0, 9999.0])
def test_a_mark_for_a_missing_loss_is_refused(mark: float) -> None:
    with pytest.raises(InputError, match=r"run 'r1' has a loss of \S+ on 'web' at 400,000,000 tokens"):
        make_table(changed("loss", pl.lit(mark), CELL), "t")


def test_a_measure_around_zero_has_no_marks() -> None:
    assert make_table(rows().with_columns(pl.col("loss") - 2.52), "t").rows.height == 32


@pytest.mark.parametrize("unit", [1_000, 1_000_000])
def test_a_run_in_another_unit_is_refused(unit: int) -> None:
    with pytest.raises(InputError, match=r"run 'r1' ends at 1,600.* as in another unit"):
        make_table(changed("tokens", pl.col("tokens") // unit, R1), "t")


def test_a_run_that_ended_early_is_no_other_unit() -> None:
    early = changed("tokens", pl.col("tokens") // 700, R1)
    assert make_table(early, "t").rows["run"].n_unique() == 6


def test_more_tokens_than_anybody_trains_on_are_refused() -> None:
    with pytest.raises(InputError, match=r"1\.6e\+18 tokens"):
        make_table(rows().with_columns(pl.col("tokens") * 1_000_000_000), "t")


def test_a_set_that_one_run_spells_otherwise_is_refused() -> None:
    with pytest.raises(InputError, match="run 'r1' has a validation set 'Web', others have 'web'"):
        make_table(changed("eval", pl.lit("Web"), R1 & (pl.col("eval") == "web")), "t")
    both = pl.concat([rows(), rows().with_columns(pl.col("eval").str.to_titlecase())])
    assert len(make_table(both, "t").evals) == 4


@pytest.mark.parametrize("name", ["Mtokens", "tokens_M", "tokens (millions)"])
def test_a_column_in_millions(name: str) -> None:
    table = rows().with_columns((pl.col("tokens") / 1e6).alias(name)).drop("tokens")
    assert make_table(table, "t").rows["tokens"].max() == BUDGETS[-1]
