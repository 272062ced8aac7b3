"""Increments over the base model, and how well the held-out sample tells them."""

from __future__ import annotations

from typing import Any

import pytest

from mixing.runs.increments import Increments, increments
from mixing.runs.table import make_table
from tests.mixing.runs.test_table import frame, rows


def of(found: list[dict[str, Any]]) -> Increments:
    return increments(make_table(frame(found), "t.csv"), {"web": 1.0}, {"code": 1.0}, ("code",))


def test_a_table_without_standard_errors_has_no_sampling_errors() -> None:
    data = of(rows())
    assert data.general_sampling_n is None
    assert data.target_sampling_n is None
    assert data.sample_n is None


def test_paired_standard_errors_come_before_those_of_the_losses() -> None:
    found = [{**row, "stderr": 0.05, "increment_stderr": 0.01} for row in rows()]
    for row in found:
        if row["run"] == "b" and row["eval"] == "code":
            row["increment_stderr"] = None
    data = of(found)
    assert data.general_sampling_n is not None
    assert data.target_sampling_n is not None
    assert data.general_sampling_n.tolist() == [0.01] * 4
    assert data.target_sampling_n.tolist() == [0.01, 0.01, 0.05, 0.05]
    assert data.points.stderr_n is not None
    assert data.points.stderr_n.tolist() == [0.05] * 4


def test_standard_errors_of_losses_bound_those_of_increments() -> None:
    data = of([{**row, "stderr": 0.05 if row["eval"] == "web" else None} for row in rows()])
    assert data.general_sampling_n is not None
    assert data.general_sampling_n.tolist() == [0.05] * 4
    assert data.target_sampling_n is None


def test_rows_measured_on_another_held_out_sample_are_told_apart() -> None:
    data = of([{**row, "heldout": "confirmation" if row["run"] == "b" else None} for row in rows()])
    assert data.sample_n is not None
    assert data.sample_n.tolist() == [0, 0, 1, 1]
    assert data.general_n == pytest.approx(of(rows()).general_n)
