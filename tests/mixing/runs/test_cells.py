"""Cells: numbers as people write them, words for nothing, and refusals that name column and run."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from mixing.errors import InputError
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable
from tests.mixing.runs.small_tables import as_text, small_rows


def read(tmp_path: Path, rows: list[dict[str, object]], **reading: str) -> RunTable:
    path = tmp_path / "t.csv"
    path.write_text(as_text(rows), encoding="utf-8")
    return read_runs(path, decimal=reading.get("decimal", "."))


def changed(column: str, write: object) -> list[dict[str, object]]:
    assert callable(write)
    return [
        {**row, column: row[column] if row[column] is None else write(row[column])} for row in small_rows()
    ]


@pytest.mark.parametrize(
    "write",
    [
        lambda n: f"{n / 1e9:g}B",
        lambda n: f"{n // 10**6}m",
        lambda n: f'"{n:,}"',
        lambda n: f"{n:_}",
        lambda n: f"{n:,}".replace(",", " "),
        lambda n: f"{n:.1f}",
        lambda n: f"{n:e}",
        lambda n: f" {n} ",
    ],
)
def test_counts_are_read_as_they_are_written(tmp_path: Path, write: object) -> None:
    assert read(tmp_path, changed("tokens", write)).rows.equals(read(tmp_path, small_rows()).rows)


def test_shares_may_be_percent(tmp_path: Path) -> None:
    found = changed("share.web", lambda s: f"{100 * s:g}%")
    assert read(tmp_path, found).rows.equals(read(tmp_path, small_rows()).rows)


def test_units_may_stand_in_the_header(tmp_path: Path) -> None:
    found = [{"tokens (B)" if k == "tokens" else k: v for k, v in row.items()} for row in small_rows()]
    found = [{**row, "tokens (B)": row["tokens (B)"] / 1e9} for row in found]
    table = read(tmp_path, found)
    assert table.rows.equals(read(tmp_path, small_rows()).rows)
    assert any("read as tokens, in B" in warning for warning in table.warnings)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda n: n / 1e9, r"column 'tokens': run 'r0\.1' has 0\.1, which is not whole"),
        (
            lambda n: f"{n // 10**6}.000" if n else 0,
            r"column 'tokens' holds what is not a number: '100\.000' in run",
        ),
        (lambda n: f"{n}x", r"column 'tokens' holds what is not a number: '0x' in run 'base'"),
        (lambda n: -n, "column 'tokens' has negative values"),
        (lambda n: "inf" if n == 800_000_000 else n, r"column 'tokens': run 'r0\.1' has inf, not a number"),
        (lambda n: "n/a" if n == 800_000_000 else n, r"column 'tokens' has empty cells \(8; run 'r0\.1'\)"),
    ],
)
def test_counts_that_are_none_are_refused_by_column_and_run(
    tmp_path: Path, write: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, changed("tokens", write))


@pytest.mark.parametrize(
    "word", ["", "None", "N/A", "NA", "null", "-", "#N/A", "missing", "<NA>", "  ", "nan", "NULL", "—"]
)
def test_words_for_nothing_are_empty_cells(tmp_path: Path, word: str) -> None:
    found = small_rows()
    for row in found[-2:]:
        row["loss"] = word
    table = read(tmp_path, found)
    assert table.rows.height == len(found) - 2
    assert any("2 rows without a finite loss dropped (run r0.8)" in warning for warning in table.warnings)


def test_other_words_are_refused_by_cell(tmp_path: Path) -> None:
    found = small_rows()
    found[5]["loss"] = "high"
    with pytest.raises(InputError, match=r"column 'loss' holds what is not a number: 'high' in run 'r0\.1'"):
        read(tmp_path, found)


@pytest.mark.parametrize("column", ["share.web", "loss"])
def test_decimal_commas_are_asked_for(tmp_path: Path, column: str) -> None:
    found = changed(column, lambda x: str(x).replace(".", ","))
    path = tmp_path / "t.csv"
    path.write_text(as_text(found, ";"))
    with pytest.raises(InputError, match=f"column '{column}' holds what is not a number") as caught:
        read_runs(path)
    assert "decimal=','" in caught.value.hint
    every = changed("share.web", lambda x: str(x).replace(".", ","))
    every = [
        {
            **row,
            "share.german": str(row["share.german"] or "").replace(".", ","),
            "tokens": f"{row['tokens']:,}",
        }
        | {"loss": str(row["loss"]).replace(".", ",")}
        for row in every
    ]
    path.write_text(as_text([{**row, "tokens": str(row["tokens"]).replace(",", ".")} for row in every], ";"))
    assert read_runs(path, decimal=",").rows.equals(read(tmp_path, small_rows()).rows)
    with pytest.raises(InputError, match="not a sign before decimals"):
        read_runs(path, decimal=";")


@pytest.mark.parametrize(
    ("text", "params"), [("70m", 70_000_000), ("1b", 10**9), ("pythia-70m-deduped", 70_000_000)]
)
def test_sizes_may_be_names(tmp_path: Path, text: str, params: int) -> None:
    table = read(tmp_path, [{**row, "params": text} for row in small_rows()])
    assert set(table.rows["params"]) == {params}
    aliased = read(tmp_path, [{**row, "model_size": text} for row in small_rows()])
    assert aliased.rows.equals(table.rows)


def test_an_empty_share_is_no_zero(tmp_path: Path) -> None:
    found = [{**row, "share.web": None if row["run"] == "r0.8" else row["share.web"]} for row in small_rows()]
    with pytest.raises(
        InputError, match=r"share\.web of run 'r0\.8' is empty, and the other shares sum to 0\.8"
    ):
        read(tmp_path, found)


def test_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    found = [{"Unnamed: 0": at, **row, "batch": 8} for at, row in enumerate(small_rows())]
    table = read(tmp_path, found)
    assert any("columns not used: 'Unnamed: 0', 'batch'" in warning for warning in table.warnings)
    assert table.rows.equals(read(tmp_path, small_rows()).rows)


def test_columns_that_can_be_no_domain_are_named(tmp_path: Path) -> None:
    found = [
        {**row, "share.step": None if row["tokens"] == 0 else row["tokens"] / 1e6} for row in small_rows()
    ]
    with pytest.raises(InputError, match=r"share\.step can be no share: up to 800"):
        read(tmp_path, found)
    found = [{**row, "share.sum": None if row["tokens"] == 0 else 1.0} for row in small_rows()]
    with pytest.raises(InputError, match=r"without share\.sum they sum to 1"):
        read(tmp_path, found)


def test_steps_are_no_tokens(tmp_path: Path) -> None:
    found = [{"step" if k == "tokens" else k: v for k, v in row.items()} for row in small_rows()]
    with pytest.raises(InputError, match=r"no column 'tokens', and run 'r0\.1' has several values of 'step'"):
        read(tmp_path, found)


def test_a_column_that_runs_differ_in_is_named_with_its_values(tmp_path: Path) -> None:
    table = read(tmp_path, [{**row, "batch": 64 if row["run"] == "r0.5" else 8} for row in small_rows()])
    assert any("'batch' (2 values: runs differ in it)" in warning for warning in table.warnings)


def test_models_are_sizes_or_bases(tmp_path: Path) -> None:
    sized = read(tmp_path, [{**row, "model": "pythia-70m"} for row in small_rows()])
    assert set(sized.rows["params"]) == {70_000_000}
    with pytest.raises(InputError, match=r"runs differ in base \(llama: 3 runs, qwen: 1 run\)"):
        read(
            tmp_path, [{**row, "model": "qwen" if row["run"] == "r0.5" else "llama"} for row in small_rows()]
        )


@pytest.mark.parametrize(
    ("column", "write", "hint"),
    [
        ("loss", lambda x: f"{x}%", "metric=accuracy"),
        ("tokens", lambda n: f"{n:,}".replace(",", "."), "decimal=','"),
        ("tokens", lambda n: n / 1e9, "0.1B"),
    ],
)
def test_refusals_say_what_to_do(tmp_path: Path, column: str, write: object, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, changed(column, write))
    assert hint in caught.value.hint


def test_data_frames_may_hold_text(tmp_path: Path) -> None:
    table = pl.DataFrame(changed("tokens", lambda n: f"{n / 1e9:g}B"), infer_schema_length=None)
    assert read_runs(table).rows.equals(read(tmp_path, small_rows()).rows)
