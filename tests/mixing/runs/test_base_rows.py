"""Base rows: one model, so that rows which disagree are refused, and sizes are never mixed."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from mixing.errors import InputError
from mixing.runs.base_rows import base_loss
from mixing.runs.increments import increments
from mixing.runs.table import RunTable, make_table
from tests.mixing.runs.small_tables import loss, small_rows


def table(rows: list[dict[str, Any]]) -> RunTable:
    return make_table(pl.DataFrame(rows, infer_schema_length=None), "t.csv")


def of_every_run(off: dict[str, float]) -> RunTable:
    """Every run logged its own evaluation of the base model."""
    rows = small_rows()
    runs = dict.fromkeys(row["run"] for row in rows if row["tokens"])
    base = [{**row, "run": run, "loss": row["loss"] + off.get(run, 0.0)} for run in runs for row in rows[:2]]
    return table(base + rows[2:])


def test_rows_that_agree_are_one() -> None:
    assert base_loss(of_every_run({}), {"web": 1.0}) == (loss("web", 0, 0), [])
    near, notes = base_loss(of_every_run({"r0.5": 0.001}), {"web": 1.0})
    assert near == pytest.approx(loss("web", 0, 0) + 0.00025)
    assert "4 base rows of web differ by up to 0.001" in notes[0]


@pytest.mark.parametrize("off", [0.6, 0.05, -0.03])
def test_rows_that_disagree_are_refused_with_both_values(off: float) -> None:
    with pytest.raises(
        InputError, match=r"base rows \(tokens 0\) of 'web' disagree: run 'r0\.5' has"
    ) as caught:
        increments(of_every_run({"r0.5": off}), {"web": 1.0}, {"german": 1.0}, ("german",))
    assert f"{loss('web', 0, 0) + off:.4f}" in caught.value.message
    assert f"{loss('web', 0, 0):.4f}" in caught.value.message


def test_two_base_rows_of_one_run_that_disagree_are_refused() -> None:
    rows = small_rows()
    with pytest.raises(InputError, match="disagree: run 'base'"):
        base_loss(table([{**rows[0], "loss": rows[0]["loss"] + 0.3}, *rows]), {"web": 1.0})


def test_base_rows_without_a_size_never_serve_several() -> None:
    sized = [{**row, "params": None if row["tokens"] == 0 else 70} for row in small_rows()]
    one = increments(table(sized), {"web": 1.0}, {"german": 1.0}, ("german",))
    assert one.base["general"] == loss("web", 0, 0)
    larger = [{**row, "run": row["run"] + " large", "params": 160} for row in sized if row["tokens"]]
    with pytest.raises(
        InputError, match=r"base row 'base' on 'web' names no size \(params\), and runs have 2: 70, 160"
    ):
        increments(table(sized + larger), {"web": 1.0}, {"german": 1.0}, ("german",))


def test_runs_without_a_size_are_said() -> None:
    rows = [{**row, "params": None if row["run"] == "r0.5" else 70} for row in small_rows()]
    found = increments(table(rows), {"web": 1.0}, {"german": 1.0}, ("german",))
    assert any("no params in runs r0.5: taken to have 70" in warning for warning in found.warnings)
