"""`mixlaw decide` with two sources: the question's options, several tables, and messages that name options."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from flows.cli import main as cli
from mixing.test_problems import LANDSCAPES

ROLES = ("--target", "target", "--general", "general", "--tolerance", "0.02")


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    study = LANDSCAPES[0].study([0.2, 0.4, 0.6, 0.8], [250_000, 500_000, 1_000_000], run_sd=1e-4)
    return study.rows.drop("params", "seed", "stderr")


@pytest.fixture
def runs(rows: pl.DataFrame, tmp_path: Path) -> str:
    rows.write_csv(tmp_path / "runs.csv")
    return str(tmp_path / "runs.csv")


def decide(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["decide", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert decide(*arguments, *ROLES, "--json") == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_confidence_and_turning_point_are_asked_for(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    sure = answer(capsys, runs, "--confidence", "0.99", "--turning-point", "off")
    bold = answer(capsys, runs, "--confidence", "0.6", "--turning-point", "off")
    assert (sure["confidence"], bold["confidence"]) == (0.99, 0.6)
    assert sure["safe_ratio"] < bold["safe_ratio"]  # type: ignore[operator]
    assert [test["name"] for test in sure["tests"]] == ["tolerance"]  # type: ignore[index,attr-defined]
    reported = answer(capsys, runs)
    assert [test["name"] for test in reported["tests"]] == ["tolerance", "turning_point"]  # type: ignore[index,attr-defined]
    assert decide(runs, *ROLES, "--turning-point", "maybe") == 2
    assert "'maybe' is not one of" in capsys.readouterr().err


def test_several_tables_are_read_together(
    rows: pl.DataFrame, runs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    halves = [tmp_path / "a" / "runs.csv", tmp_path / "b.parquet"]
    halves[0].parent.mkdir()
    first = pl.col("share.target").is_null() | (pl.col("share.target") < 0.5)
    rows.filter(first).write_csv(halves[0])
    rows.filter(~first).write_parquet(halves[1])
    # The first is named by its folder, which holds nothing else.
    together = answer(capsys, str(halves[0].parent), str(halves[1]))
    assert together["n_runs"] == 4
    assert together["critical_ratio"] == pytest.approx(answer(capsys, runs)["critical_ratio"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--level", "2"), "mixlaw: --level 2.0 is not between 0 and 1"),
        (("--params", "70M"), "mixlaw: --params 70000000: "),
        (("--kl", "0.1", "--worst-case"), "mixlaw: --kl, --worst-case: for more than two sources"),
        (("--max", "target=1.5"), "mixlaw: --max target=1.5: not a share"),
        (("--prior", "general=1"), "mixlaw: --prior: no share of target"),
        (("--target-domain", "x"), "no share column of target domain x"),
    ],
)
def test_messages_name_the_options(
    runs: str, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(runs, *ROLES, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_tolerance_that_was_meant_as_percent_is_refused(
    runs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    roles = ROLES[:4]
    assert decide(runs, *roles, "--tolerance", "2") == 2
    assert "7.39 times the perplexity; 2% would be about 0.02 nats" in capsys.readouterr().err
    assert decide(runs, *ROLES, "--protect", "general=0.6") == 2
    assert "--protect general: 0.6 nats" in capsys.readouterr().err
    assert decide(runs, *roles, "--tolerance", "0.6", "--allow-large-tolerance") == 0
