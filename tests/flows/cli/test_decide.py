"""`mixlaw decide` with many sources: flags, printed answer, JSON, figures, and errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.cli import main as cli
from flows.cli import options
from flows.cli.fit import losses_of
from mixing.decision.mixture import loss_models as source_models
from mixing.errors import InputError

DOMAINS = ("web", "code", "books")


@pytest.fixture(autouse=True)
def few_laws(few_replicates: None, monkeypatch: pytest.MonkeyPatch) -> None:
    laws = {
        name: law for name, law in source_models.LAWS.items() if name in ("constant", "linear", "log-linear")
    }
    monkeypatch.setattr(source_models, "LAWS", laws)


@pytest.fixture
def runs(tmp_path: Path) -> str:
    """A wide table of a swarm from scratch: code helps `target` and harms `general`."""
    rng = np.random.default_rng(0)
    mixes = np.concatenate([np.eye(3), rng.dirichlet(np.ones(3), 12)])
    frame = pl.DataFrame({"run": [f"r{i}" for i in range(15)]}).with_columns(
        *(pl.Series(f"share.{d}", mixes[:, i]) for i, d in enumerate(DOMAINS)),
        pl.Series("loss.general", 3 + 0.4 * mixes[:, 1] + 0.2 * mixes[:, 2] + 1e-4 * rng.standard_normal(15)),
        pl.Series("loss.target", 2 - 0.5 * mixes[:, 1] - 0.1 * mixes[:, 2] + 1e-4 * rng.standard_normal(15)),
        tokens=pl.lit(1000),
    )
    path = tmp_path / "swarm.csv"
    frame.write_csv(path)
    return str(path)


def over_base(runs: str, general: float) -> str:
    """The table with the losses of a base model."""
    frame = pl.read_csv(runs)
    base = pl.DataFrame({"run": ["base"], "loss.general": [general], "loss.target": [2.0], "tokens": [0]})
    pl.concat([frame, base], how="diagonal_relaxed").write_csv(runs)
    return runs


def decide(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["decide", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_answer_is_printed_with_its_front_and_figures(
    runs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures"
    arguments = [
        "--target",
        "target",
        "--general",
        "general",
        "--tolerance",
        "0.05",
        "--prior",
        "web=0.9",
        "--prior",
        "books=0",
        "--prior",
    ]
    assert decide(over_base(runs, 3.04), *arguments, "code=0.1", "--figures", str(figures)) == 0
    out, err = capsys.readouterr()
    for expected in (
        "Best mixture of training tokens",
        "natural shares",
        "general loss at its tolerance",
        "The best target loss for every general loss",
        "temperature 0.3",
        "best run (",
        "Most informative next runs",
    ):
        assert expected in out
    assert sorted(p.name for p in figures.iterdir()) == ["mixture.png", "pareto_front.png"]
    assert err.count("wrote ") == 2


def test_json_is_one_object(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(runs, "--target", "target", "--max", "code=0.3", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["shares"]["code"] == pytest.approx(0.3)
    assert found["binding"] == "bound"
    assert found["critical_ratio"] is None
    assert found["front"] == []


def test_supply_caps_and_spec(runs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, supply = tmp_path / "mix.yaml", tmp_path / "supply.json"
    supply.write_text('{"web": 5000, "code": 100, "books": 200}')
    arguments = [
        "--target",
        "target",
        "--supply",
        f"@{supply}",
        "--max-epochs",
        "2",
        "--spec",
        str(spec),
        "--json",
    ]
    assert decide(runs, *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["binding"] == "repetition"
    assert found["shares"]["code"] == pytest.approx(0.2)
    assert "code:" in spec.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--general", "general"], "--general without --tolerance"),
        (["--max", "code"], "--max code: not a number"),
        (["--max", "code=x"], "--max code=x: not a number"),
        (["--max", "code=0.1", "--max", "code=0.2"], "'code' is given twice"),
        (["--min", "code=0.6", "--min", "web=0.6"], "sum to 1.2"),
        (["--max", "code=0.2", "--max", "web=0.2", "--max", "books=0.2"], "the caps leave no mixture"),
        (["--freeze", "code"], "one domain has no proportions"),
        (["--general", "target", "--tolerance", "0"], "named as general and as target"),
        (["--supply", "code=1X"], "--supply code=1X: not a number"),
    ],
)
def test_bad_flags_are_one_line(
    runs: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(runs, "--target", "target", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_amounts() -> None:
    assert options.amounts(["web=2B", "code=0.5", "books=1e3"], "supply") == {
        "web": 2e9,
        "code": 0.5,
        "books": 1e3,
    }
    with pytest.raises(InputError, match="--supply"):
        options.amounts(["=3"], "supply")


def test_nothing_within_the_tolerance_is_not_yet(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--target",
        "target",
        "--general",
        "general",
        "--tolerance",
        "0",
        "--prior",
        "web=1",
        "--prior",
        "code=0",
        "--prior",
        "books=0",
        "--min",
        "code=0.3",
    ]
    assert decide(over_base(runs, 3.0), *arguments) == 0
    out = capsys.readouterr().out
    assert "Not yet: these runs cannot support a mixture" in out
    assert "the least increment is +0.12" in out


def test_a_tolerance_without_base_rows_is_not_yet(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--target", "target", "--general", "general", "--tolerance", "0.05", "--json"]
    assert decide(runs, *asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["critical_ratio"], found["shares"]) == ("not_yet", None, {})
    assert "no base rows (tokens 0) for general" in found["reason"]


def test_figures_that_cannot_be_written_cost_no_work(
    runs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        assert decide(runs, "--target", "target", "--figures", str(folder)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "cannot be written to" in err


def test_sets_with_weights_are_one_loss_and_others_their_own() -> None:
    assert losses_of(["a=1", "b=3", "c"]) == {"c": {"c": 1.0}, "a+b": {"a": 1.0, "b": 3.0}}
    assert losses_of(["a", "b"]) == {"a": {"a": 1.0}, "b": {"b": 1.0}}
    with pytest.raises(InputError, match="given twice"):
        losses_of(["a", "a=2"])
