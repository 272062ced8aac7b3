"""The runs table: what is repaired with a warning, and what is refused by name."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from mixing.errors import InputError, MixlawError
from mixing.runs.table import RunTable, left_out, make_table


def rows(**changes: Any) -> list[dict[str, Any]]:
    """Two runs at two checkpoints on two sets, and the base model."""
    blank = {"share.web": None, "share.code": None}
    out: list[dict[str, Any]] = [
        {"run": "base", **blank, "tokens": 0, "eval": name, "loss": 3.0} for name in ("web", "code")
    ]
    for run, share in (("a", 0.25), ("b", 0.5)):
        shares = {"share.web": 1 - share, "share.code": share}
        out += [
            {"run": run, **shares, "tokens": tokens, "eval": name, "loss": 2.0 + share + tokens / 1000}
            for tokens in (100, 200)
            for name in ("web", "code")
        ]
    return [{**row, **changes} for row in out]


def frame(found: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(found, infer_schema_length=None)


def changed(of: str, **changes: Any) -> pl.DataFrame:
    return frame([{**row, **changes} if row["run"] == of else row for row in rows()])


def check(table: RunTable) -> None:
    assert table.domains == ("web", "code")
    assert set(table.evals) == {"web", "code"}
    assert table.trained.height == 8
    assert table.base.height == 2
    assert table.base["share.web"].null_count() == 2
    assert {r: m.share("code") for r, m in table.mixtures().items()} == {"a": 0.25, "b": 0.5}
    found = table.trained.filter(run="b", tokens=200, eval="web")["loss"]
    assert found.to_list() == pytest.approx([2.7])


@pytest.mark.parametrize("off", [-0.019, 0.019])
def test_shares_a_little_off_are_renormalised(off: float) -> None:
    table = make_table(changed("a", **{"share.web": 0.75 + off}), "t.csv")
    assert sum(table.mixtures()["a"].shares) == pytest.approx(1, abs=1e-12)
    assert table.mixtures()["a"].share("code") == pytest.approx(0.25 / (1 + off))
    assert len(table.warnings) == 1
    assert "renormalised" in table.warnings[0]
    assert table.mixtures()["b"].shares == (0.5, 0.5)


@pytest.mark.parametrize("off", [-0.03, 0.03, -0.75])
def test_shares_far_off_are_refused_by_run(off: float) -> None:
    with pytest.raises(InputError, match=r"t\.csv: shares of run 'a' sum to") as caught:
        make_table(changed("a", **{"share.web": 0.75 + off}), "t.csv")
    assert caught.value.hint


@pytest.mark.parametrize("share", [-0.25, math.nan, math.inf])
def test_impossible_shares_are_refused_by_run(share: float) -> None:
    with pytest.raises(InputError, match="run 'b' has a share below 0 or not finite"):
        make_table(changed("b", **{"share.web": share}), "t.csv")


def test_a_run_has_one_mixture() -> None:
    found = rows()
    found[-1] = {**found[-1], "share.web": 0.4, "share.code": 0.6}
    with pytest.raises(InputError, match="run 'b' has rows with different shares"):
        make_table(frame(found), "t.csv")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, None])
def test_rows_without_a_finite_loss_are_dropped_by_run(loss: float | None) -> None:
    found = rows()
    found[-1] = {**found[-1], "loss": loss}
    table = make_table(frame(found), "t.csv")
    assert table.trained.height == 7
    assert len(table.warnings) == 1
    assert "1 rows without a finite loss dropped (run b)" in table.warnings[0]


def test_no_finite_loss_at_all() -> None:
    with pytest.raises(InputError, match="no finite loss"):
        make_table(frame(rows(loss=math.nan)), "t.csv")


def test_repeated_rows_count_once() -> None:
    table = make_table(frame(rows() + rows()[-2:]), "t.csv")
    check(table)
    assert any("2 repeated rows" in w for w in table.warnings)


@pytest.mark.parametrize("column", ["run", "eval", "loss"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(InputError, match=f"t.csv: no column '{column}'"):
        make_table(frame(rows()).drop(column), "t.csv")


def test_no_share_column() -> None:
    with pytest.raises(InputError, match="no share"):
        make_table(frame(rows()).drop("share.web", "share.code"), "t.csv")


@pytest.mark.parametrize("column", ["run", "eval", "tokens"])
def test_empty_cells_are_refused_by_column(column: str) -> None:
    found = rows()
    found[-1] = {**found[-1], column: None}
    with pytest.raises(InputError, match=f"column '{column}' has empty cells"):
        make_table(frame(found), "t.csv")


def test_words_where_numbers_belong() -> None:
    with pytest.raises(InputError, match="not a number"):
        make_table(frame(rows(loss="high")), "t.csv")
    with pytest.raises(InputError, match="not a number"):
        make_table(changed("a", tokens=math.nan), "t.csv")
    with pytest.raises(InputError, match="negative"):
        make_table(changed("a", tokens=-5), "t.csv")


def test_weighted_means_and_rows_that_lack_a_set() -> None:
    found = [{**row, "loss": 4.0 if row["eval"] == "code" else 2.0} for row in rows()][:-1]
    table = make_table(frame(found), "t.csv")
    mean = table.weighted({"web": 3, "code": 1})
    assert mean["loss"].to_list() == pytest.approx([2.5] * 4)
    assert not mean.filter(run="b", tokens=200).height
    with pytest.raises(InputError, match="no validation set 'german'"):
        table.weighted({"german": 1.0})
    with pytest.raises(MixlawError):
        table.weighted({"web": 0.0})


def test_runs_can_be_left_out() -> None:
    table = make_table(frame(rows()), "t.csv").without({"a"})
    assert set(table.mixtures()) == {"b"}
    assert table.base.height == 2


@pytest.mark.parametrize(("kind", "tokens"), [("trained", 5), ("base", 0)])
def test_rows_that_are_all_without_a_loss_are_named(kind: str, tokens: int) -> None:
    rows = [
        {"run": run, "share.a": 0.5, "share.b": 0.5, "tokens": at, "eval": "x"}
        | {"loss": float("nan") if at == tokens else 2.0}
        for run, at in (("m", 0), ("r", 5))
    ]
    with pytest.raises(InputError, match=f"no {kind} row has a finite loss"):
        make_table(pl.DataFrame(rows), "t.csv")


def test_standard_errors_of_evaluations() -> None:
    found = [{**row, "stderr": 0.04 if row["eval"] == "code" else 0.03} for row in rows()]
    table = make_table(frame(found), "t.csv")
    both = table.weighted({"web": 1, "code": 1})
    assert both["stderr"].to_list() == pytest.approx([0.025] * both.height)
    found[-1]["stderr"] = None
    table = make_table(frame(found), "t.csv")
    assert table.weighted({"web": 1, "code": 1})["stderr"].null_count() == 1
    assert make_table(frame(rows()), "t.csv").weighted({"web": 1})["stderr"].is_null().all()
    for bad in (-0.1, math.inf, math.nan):
        found[-1]["stderr"] = bad
        with pytest.raises(InputError, match="stderr of run 'b' is"):
            make_table(frame(found), "t.csv")


def test_losses_beyond_floating_point_and_columns_that_were_not_found() -> None:
    with pytest.raises(InputError, match="'a' has a loss of 1e\\+300, too large to fit"):
        make_table(changed("a", loss=1e300), "t.csv")
    with pytest.raises(InputError, match="columns as read: run, eval, loss"):
        make_table(frame([{"run": "a", "eval": "web", "loss": 2.0}]), "t.csv")


def test_runs_that_lack_a_set_are_named() -> None:
    table = make_table(frame([row for row in rows() if (row["run"], row["eval"]) != ("b", "code")]), "t.csv")
    assert table.lacking({"web": 1.0, "code": 1.0}) == ["b"]
    (warning,) = left_out(table, {"web": 1.0, "code": 1.0})
    assert "without losses on web, code: b; evaluate" in warning
    assert left_out(table, {"web": 1.0}) == []


def test_standard_errors_of_increments_combine_apart_and_are_checked() -> None:
    found = [{**row, "increment_stderr": 0.04 if row["eval"] == "code" else 0.03} for row in rows()]
    assert make_table(frame(rows()), "t.csv").weighted({"web": 1})["increment_stderr"].is_null().all()
    both = make_table(frame(found), "t.csv").weighted({"web": 1, "code": 1})
    assert both["increment_stderr"].to_list() == pytest.approx([0.025] * both.height)
    assert both["stderr"].is_null().all()
    found[-1]["increment_stderr"] = -0.1
    with pytest.raises(InputError, match="increment_stderr of run 'b' is"):
        make_table(frame(found), "t.csv")


def test_a_table_is_a_data_frame() -> None:
    table = make_table(frame(rows()), "t.csv")
    assert table.to_frame().equals(table.rows)


def test_sizes_that_a_table_does_not_name() -> None:
    table = make_table(frame(rows()), "t.csv")
    table.check_has_sizes(None)
    with pytest.raises(InputError, match=r"params 7: t\.csv names no model sizes"):
        table.check_has_sizes(7)
    make_table(frame(rows(params=7)), "t.csv").check_has_sizes(9)
