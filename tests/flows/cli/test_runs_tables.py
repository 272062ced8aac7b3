"""Runs tables on the command line: studies by file and name, options of reading, and messages that name these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.cli import options
from flows.cli.runs_tables import read_tables, source_of
from mixing.errors import InputError
from tests.mixing.runs.small_tables import as_text, small_rows
from tests.scenarios.tiny_study import write_study


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study in the home, with its finished runs."""
    monkeypatch.setenv("MIXLAW_HOME", str(tmp_path / "home"))
    rows = pl.DataFrame(small_rows(), infer_schema_length=None)
    for run in rows["run"].unique():
        folder = tmp_path / "home" / "cpt" / "runs" / run
        folder.mkdir(parents=True)
        rows.filter(run=run).write_parquet(folder / "losses.parquet")
        (folder / "done.json").write_text("{}")
    return tmp_path / "home" / "cpt"


def test_a_study_is_read_by_its_name_and_its_folder(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_tables([str(study / "runs")]).rows
    monkeypatch.chdir(study.parent.parent)
    for named in ("cpt", str(study)):
        assert read_tables([named]).rows.equals(expected)
    (study.parent.parent / "cpt").mkdir()
    assert source_of("cpt") == "cpt"
    with pytest.raises(InputError, match="not finished runs"):
        read_tables(["cpt"])


def test_a_study_file_names_the_runs_of_its_own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home is beside the file, wherever the command is typed."""
    monkeypatch.delenv("MIXLAW_HOME", raising=False)
    file = write_study(tmp_path / "work")
    runs = tmp_path / "work" / ".mixlaw" / "tiny" / "runs"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the study has no runs at"):
        source_of(str(file))
    runs.mkdir(parents=True)
    assert source_of("work/study.yaml") == str(runs)


def test_several_sources_are_one_table(study: Path, tmp_path: Path) -> None:
    more = [{**row, "run": f"{row['run']} again"} for row in small_rows() if row["tokens"]]
    (tmp_path / "more.csv").write_text(as_text(more))
    table = read_tables([str(study), str(tmp_path / "more.csv")])
    assert table.trained["run"].n_unique() == 8


def test_tables_are_read_as_options_say(tmp_path: Path) -> None:
    rows = [
        {**row, "loss": str(round(float(np.exp(row["loss"])), 6)).replace(".", ",")} for row in small_rows()
    ]
    rows = [{**row, "share.web": "", "share.german": ""} | _commas(row) for row in rows]
    path = tmp_path / "t.csv"
    path.write_text(as_text([{**row, "lr": 3e-4} for row in rows], ";").replace("0.0003", "0,0003"))
    with pytest.raises(InputError) as caught:
        read_tables([str(path)])
    assert "--decimal ','" in caught.value.hint
    with pytest.raises(InputError) as caught:
        read_tables([str(path)], decimal=",")
    assert "--metric perplexity" in caught.value.hint
    table = read_tables([str(path)], decimal=",", metric=["perplexity"], where=["lr=0,0003"])
    assert table.rows["loss"].max() == pytest.approx(3.4, abs=1e-4)
    by_set = read_tables([str(path)], decimal=",", metric=["web=perplexity", "german=loss"])
    assert by_set.metrics == {"web": "perplexity", "german": "loss"}
    with pytest.raises(InputError, match="--where lr: no NAME=VALUE"):
        read_tables([str(path)], where=["lr"])


def _commas(row: dict[str, object]) -> dict[str, str]:
    shares = {name: row[name] for name in ("share.web", "share.german")}
    return {name: "" if share is None else str(share).replace(".", ",") for name, share in shares.items()}


def test_differences_are_named_with_their_options(tmp_path: Path) -> None:
    rows = [{**row, "lr": 1e-3 if row["run"] == "r0.5" else 3e-4} for row in small_rows()]
    (tmp_path / "t.csv").write_text(as_text(rows))
    with pytest.raises(InputError, match="runs differ in lr") as caught:
        read_tables([str(tmp_path / "t.csv")])
    assert "Choose with --where lr=" in caught.value.hint
    assert "--pool lr" in caught.value.hint
    assert read_tables([str(tmp_path / "t.csv")], pool=["lr"]).trained["run"].n_unique() == 4


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_numbers_are_read_as_options_are(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "numbers.json"
    path.write_text('{"web": "20B", "größe": "1,600,000", "code": 0.5, "math": "90%"}', encoding=encoding)
    expected = {"web": 20e9, "größe": 1.6e6, "code": 0.5, "math": 0.9}
    assert options.amounts([f"@{path}"], "supply") == expected
    assert (
        options.amounts([f"{name}={number:.3f}" for name, number in expected.items()], "supply") == expected
    )
    for text, message in (
        ('{"web": "much"}', "'web' is much"),
        ('{"web": 1, "web": 2}', "'web' is given twice"),
        ('{"größe": 1}', "not UTF-8"),
    ):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(InputError, match=message):
            options.amounts([f"@{path}"], "supply")


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,600,000,000", 1_600_000_000), ("1.6B", 1_600_000_000), ("1 600 000", 1_600_000), ("2e6", 2_000_000)],
)
def test_budgets_are_whole_amounts(text: str, number: int) -> None:
    assert options.token_count(text) == number
    with pytest.raises(InputError, match=r"--tokens '1\.6' is not whole"):
        options.token_count("1.6")
    assert options.parameter_count("pythia-70m") == 70_000_000
