"""Learning rates, schedules, bases and groups never mix unseen."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from mixing.errors import InputError
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable
from tests.mixing.runs.small_tables import small_rows


def two(column: str, one: object, other: object, same_names: bool = False) -> list[dict[str, Any]]:
    """Every run twice, with two values of a setting; base rows name none."""
    base, rows = small_rows()[:2], small_rows()[2:]
    first = [{**row, column: one} for row in rows]
    second = [
        {**row, column: other, "loss": row["loss"] + 0.05, "run": row["run"] + ("" if same_names else "b")}
        for row in rows
    ]
    return [*({**row, column: None} for row in base), *first, *second]


def read(rows: list[dict[str, Any]], **options: Any) -> RunTable:
    return read_runs(pl.DataFrame(rows, infer_schema_length=None), **options)


PLAIN = read(small_rows()).rows


@pytest.mark.parametrize(
    ("column", "one", "other"),
    [
        ("lr", 1e-4, 3e-4),
        ("schedule", "cosine", "wsd"),
        ("group", "a", "b"),
        ("learning_rate", "1e-4", "3e-4"),
    ],
)
def test_what_differs_is_refused_until_it_is_chosen(column: str, one: object, other: object) -> None:
    rows = two(column, one, other)
    name = "lr" if column == "learning_rate" else column
    with pytest.raises(InputError, match=rf"runs differ in {name} \(.*4 runs.*4 runs\)") as caught:
        read(rows)
    assert f"where {name}=" in caught.value.hint
    assert read(rows, where={name: one}).rows.equals(PLAIN)
    pooled = read(rows, pool=name)
    assert pooled.trained["run"].n_unique() == 8
    assert any("counted as scatter, as you say" in warning for warning in pooled.warnings)


def test_one_value_is_no_difference_however_it_is_written() -> None:
    rows = [{**row, "lr": "3e-4" if row["run"] == "r0.5" else "0.0003"} for row in small_rows()]
    assert read(rows).rows.equals(PLAIN)


def test_runs_that_name_none_are_a_value_too() -> None:
    rows = [{**row, "lr": None if row["run"] == "r0.5" else 3e-4} for row in small_rows()]
    with pytest.raises(InputError, match=r"runs differ in lr \(0\.0003: 3 runs, none named: 1 run\)"):
        read(rows)


def test_one_name_at_two_settings_is_two_runs() -> None:
    rows = two("lr", 1e-4, 3e-4, same_names=True)
    assert read(rows, where={"lr": 1e-4}).rows.equals(PLAIN)
    assert "r0.5 lr=0.0003" in set(read(rows, pool="lr").rows["run"])


def test_bases_are_told_apart() -> None:
    rows = two("base", "llama", "qwen")
    with pytest.raises(InputError, match="runs differ in base"):
        read(rows)
    with pytest.raises(InputError, match="base row 'base' on 'web' does not say which base it is"):
        read(rows, where={"base": "llama"})
    named = [{**row, "base": row["base"] or "llama"} for row in rows]
    named += [{**row, "run": "other base", "base": "qwen", "loss": row["loss"] + 0.3} for row in named[:2]]
    assert read(named, where={"base": "llama"}).rows.equals(PLAIN)
    assert read(named, where={"base": "qwen"}).base["run"].unique().to_list() == ["other base"]


def test_any_column_may_choose() -> None:
    rows = [{**row, "batch": 8} for row in small_rows()]
    rows += [{**row, "run": row["run"] + " large", "batch": 64} for row in small_rows() if row["tokens"]]
    assert read(rows, where={"batch": "8"}).rows.equals(PLAIN)
    with pytest.raises(InputError, match=r"where batch=9: data frame has no such run") as caught:
        read(rows, where={"batch": 9})
    assert "64, 8" in caught.value.hint
    with pytest.raises(InputError, match="where size: data frame has no such column"):
        read(rows, where={"size": 9})
    with pytest.raises(InputError, match="pool batch: not a setting of runs"):
        read(rows, pool=["batch"])
