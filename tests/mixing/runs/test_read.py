"""`read_runs`: files, folders, data frames, lists of them, and importers of other systems."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from mixing.errors import InputError
from mixing.runs import read
from mixing.runs.read import read_runs
from mixing.runs.readers import LAYOUTS
from mixing.runs.table import RunTable
from tests.mixing.runs.test_table import frame, rows


def wide() -> pl.DataFrame:
    return pl.DataFrame(
        {"run": ["a", "b"], "share.web": [0.25, 0.5], "share.code": [0.75, 0.5], "tokens": [5, 5]}
        | {"loss.web": [2.0, 2.1], "loss.code": [1.0, 1.1]}
    )


def of_files(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    full = frame(rows())
    full.filter(pl.col("run") != "b").write_csv(first)
    full.filter(pl.col("run") != "a").write_csv(second)
    return first, second


def test_frames_of_every_kind_are_read_as_their_file_is(tmp_path: Path) -> None:
    table = frame(rows())
    table.write_csv(tmp_path / "runs.csv")
    expected = read_runs(tmp_path / "runs.csv").rows
    for source in (table, table.lazy(), table.to_arrow(), table.to_pandas()):
        assert_frame_equal(read_runs(source).rows, expected)
    assert isinstance(table.to_pandas(), pd.DataFrame)
    assert isinstance(table.to_arrow(), pa.Table)


def test_a_frame_may_have_any_layout_of_one_table() -> None:
    table = read_runs(wide())
    assert table.source == "data frame"
    assert set(table.evals) == {"web", "code"}
    assert table.rows.height == 4


def test_a_table_is_handed_back() -> None:
    table = read_runs(frame(rows()))
    assert read_runs(table) is table
    assert read_runs([table]) is table


def test_several_tables_are_one(tmp_path: Path) -> None:
    first, second = of_files(tmp_path)
    table = read_runs([first, str(second)])
    assert set(table.mixtures()) == {"a", "b"}
    assert table.base.height == 2
    assert table.source == f"{first}, {second}"
    assert any("2 repeated rows" in warning for warning in table.warnings)


def test_a_domain_that_one_table_does_not_name_has_share_0() -> None:
    other = frame(rows()).filter(run="a").rename({"share.code": "share.german"})
    table = read_runs([frame(rows()).filter(run="b"), other])
    assert table.domains == ("web", "code", "german")
    assert table.mixtures()["a"].shares == (0.75, 0.0, 0.25)
    assert table.mixtures()["b"].shares == (0.5, 0.5, 0.0)


def test_one_name_for_two_runs_is_refused(tmp_path: Path) -> None:
    first, _ = of_files(tmp_path)
    again = frame(rows()).with_columns(pl.col("loss") + 0.1)
    with pytest.raises(InputError, match=r"first\.csv, data frame: run 'base' has different losses on 'web'"):
        read_runs([first, again])
    renamed = frame(rows()).filter(run="b").with_columns(run=pl.lit("a"), tokens=pl.col("tokens") + 1)
    with pytest.raises(InputError, match="different shares"):
        read_runs([first, renamed])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "no runs table named"),
        (3, "int: not a runs table"),
        ({"run": ["a"]}, "dict: not a runs table"),
        (pl.DataFrame({"run": []}), "data frame: the table is empty"),
        (pl.DataFrame({"a": [1]}), "data frame: no share.<domain> column"),
    ],
)
def test_what_is_no_table_is_refused(source: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_runs(source)


def test_importers_are_found_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever installs an importer is asked for its addresses, and for no others."""
    importer = EntryPoint("wandb", f"{__name__}:imported", read.IMPORTERS)
    monkeypatch.setattr(read, "entry_points", lambda group: EntryPoints([importer]).select(group=group))
    assert read_runs("wandb:team/project").source == "wandb:team/project"
    with pytest.raises(InputError, match="no such file, and no importer 'neptune'") as caught:
        read_runs("neptune:x")
    assert "wandb" in caught.value.hint
    for path in ("s3://bucket/runs.csv", "C:/runs.csv", str(tmp_path / "none.csv")):
        with pytest.raises(InputError, match="no such file or folder"):
            read_runs(path)


def test_a_file_may_be_called_like_an_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    frame(rows()).write_csv("runs:1.csv")
    assert len(read_runs("runs:1.csv").mixtures()) == 2


def imported(address: str) -> RunTable:
    return RunTable(read_runs(frame(rows())).rows, address)


def test_a_table_shows_what_it_holds(tmp_path: Path) -> None:
    table = read_runs(frame(rows()))
    assert (
        repr(table)
        == "RunTable(data frame: 2 runs, domains web, code, evals web, code, 200 tokens; base rows)"
    )
    page = RunTable(table.rows, "<b>", ["a < b"])._repr_html_()
    assert "<b>&lt;b&gt;</b>" in page
    assert "<li>a &lt; b</li>" in page
    assert "share.web" in page
    many = read_runs(
        pl.DataFrame({"run": ["a"], **{f"share.d{i}": [1 / 8] for i in range(8)}, "loss.x": [1.0]})
    )
    assert repr(many) == "RunTable(data frame: 1 run, domains d0, d1, d2, ... (8), evals x)"


def test_every_layout_has_a_name_of_its_own() -> None:
    names = [layout.name for layout in LAYOUTS]
    assert len(set(names)) == len(names)
