"""Rows that stand more than once: repetitions, restarts, and two seeds under one name."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from mixing.errors import InputError
from mixing.runs.table import RunTable, make_table
from tests.mixing.runs.small_tables import small_rows


def table(rows: list[dict[str, Any]], **options: bool) -> RunTable:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return make_table(frame, "t.csv", in_log_order=options.get("in_log_order", False))


def again(rows: list[dict[str, Any]], run: str, least: int, off: float) -> list[dict[str, Any]]:
    """The rows of a run from `least` tokens on, with other losses."""
    return [
        {**row, "loss": row["loss"] + off} for row in rows if row["run"] == run and row["tokens"] >= least
    ]


def test_a_restart_keeps_the_later_rows_and_says_so() -> None:
    rows = small_rows()
    diverged = again(rows, "r0.5", 400_000_000, 0.9)
    at = next(i for i, row in enumerate(rows) if row["run"] == "r0.5" and row["tokens"] == 400_000_000)
    found = table([*rows[:at], *diverged, *rows[at:]])
    assert found.rows.equals(table(rows).rows)
    (warning,) = found.warnings
    assert "run 'r0.5' goes back from 800,000,000 to 400,000,000 tokens (a restart)" in warning
    assert "its 4 earlier ones" in warning
    assert "up to 0.9" in warning


def test_rows_beyond_the_end_of_a_restart_are_of_the_run_that_was_given_up() -> None:
    rows = [row for row in small_rows() if row["run"] != "r0.8" or row["tokens"] <= 400_000_000]
    given_up = [row for row in small_rows() if row["run"] == "r0.8" and row["tokens"] == 800_000_000]
    later = again(rows, "r0.8", 400_000_000, 0.1)
    found = table([*rows, *given_up, *later]).rows.filter(run="r0.8")
    assert found["tokens"].max() == 400_000_000
    assert found.filter(tokens=400_000_000, eval="web")["loss"][0] == pytest.approx(later[0]["loss"])


@pytest.mark.parametrize("interleaved", [True, False])
def test_two_seeds_under_one_name_are_refused(interleaved: bool) -> None:
    rows = small_rows()
    other = again(rows, "r0.5", 1, 0.004)
    mixed = (
        sorted([*rows, *other], key=lambda r: (r["run"], r["tokens"], r["eval"]))
        if interleaved
        else rows + other
    )
    with pytest.raises(
        InputError, match=r"run 'r0\.5' has 2 different losses on .* \(0\.004 apart; and so at 7"
    ) as c:
        table(mixed)
    assert "column seed" in c.value.hint
    seeded = [{**row, "seed": 0} for row in rows] + [{**row, "seed": 1} for row in other]
    assert table(seeded).rows.height == len(rows) + len(other)


def test_two_values_in_place_are_refused_unless_their_order_is_known() -> None:
    rows = small_rows() + again(small_rows(), "r0.8", 800_000_000, 0.1)
    with pytest.raises(InputError, match=r"run 'r0\.8' has 2 different losses"):
        table(rows)
    found = table(rows, in_log_order=True)
    assert found.rows.filter(run="r0.8", tokens=800_000_000, eval="web")["loss"][0] == pytest.approx(
        rows[-2]["loss"]
    )
    assert any("run 'r0.8'" in warning and "0.1" in warning for warning in found.warnings)


def test_rows_in_no_order_tell_of_no_restart() -> None:
    rows = small_rows()
    shuffled = [*rows[2:][::-1], *rows[:2], *again(rows, "r0.5", 400_000_000, 0.9)]
    with pytest.raises(InputError, match=r"run 'r0\.5' has 2 different losses"):
        table(shuffled)


def test_a_run_that_crashed_early_and_was_started_again() -> None:
    rows = small_rows()
    crashed = [row for row in again(rows, "r0.8", 1, 0.2) if row["tokens"] <= 200_000_000]
    at = next(i for i, row in enumerate(rows) if row["run"] == "r0.8")
    found = table([*rows[:at], *crashed, *rows[at:]])
    assert found.rows.equals(table(rows).rows)
    assert any("a restart" in warning for warning in found.warnings)
