"""Single validation sets with a tolerance of their own, and what is said of each, where one ratio is decided."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from flows.cli import main as cli
from mixing.decision.decide import decide
from mixing.decision.wording import increments
from mixing.errors import InputError
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable, make_table

RATIOS = [0.1, 0.25, 0.4, 0.55, 0.7, 0.85]
RISES = {"english": (3.0, 0.1, -0.03), "code": (1.5, 0.3, -0.05), "german": (2.0, -0.5, 0.0)}


def table() -> RunTable:
    """dL = rise * R^2 + offset: English keeps 0.02 up to R = 0.707, code up to 0.483."""
    rows: list[dict[str, object]] = []
    for name, (base, rise, offset) in RISES.items():
        blank = {"run": "base", "share.web": None, "share.german": None, "tokens": 0}
        rows.append(blank | {"eval": name, "loss": base})
        rows += [
            {"run": f"r{i}", "share.web": 1 - r, "share.german": r, "tokens": 1000, "eval": name}
            | {"loss": base + rise * r**2 + offset}
            for i, r in enumerate(RATIOS)
        ]
    return make_table(pl.DataFrame(rows, infer_schema_length=None), "t.csv")


def test_the_tightest_tolerance_decides_and_is_named() -> None:
    free = decide(table(), general="english", target="german", tolerance=0.02)
    assert free.critical_ratio == pytest.approx(0.707, abs=0.01)
    assert "code" not in free.predicted
    kept = decide(table(), general="english", target="german", tolerance=0.02, protect={"code": 0.02})
    assert kept.critical_ratio == pytest.approx(0.483, abs=0.01)
    assert kept.safe_ratio is not None
    assert kept.safe_ratio <= kept.critical_ratio
    assert (kept.binding, kept.limits) == ("tolerance", ["code loss at its tolerance of 0.02 nats"])
    tests = {test.name: test.critical_ratio for test in kept.tests}
    assert tests["tolerance"] == pytest.approx(free.critical_ratio, abs=1e-6)
    assert tests["protect code"] == pytest.approx(kept.critical_ratio)
    assert kept.predicted["code"].increment == pytest.approx(0.02, abs=0.005)
    assert kept.predicted["code"].loss == pytest.approx(1.52, abs=0.005)
    asked = kept.ask(tolerance=0.001)
    assert asked.critical_ratio == pytest.approx(min(0.557, 0.483), abs=0.01)


def test_a_mean_shows_each_of_its_sets() -> None:
    found = decide(table(), general=["english", "code"], target="german", tolerance=0.02)
    assert set(found.predicted) == {"general", "target", "german", "english", "code"}
    middle = (found.predicted["english"].increment + found.predicted["code"].increment) / 2
    assert found.predicted["general"].increment == pytest.approx(middle, abs=2e-3)
    assert found.predicted["code"].increment > found.predicted["english"].increment
    assert set(found.to_dict()["predicted"]) == set(found.predicted)


def test_the_single_set_of_a_role_may_be_protected() -> None:
    found = decide(table(), general="english", target="german", tolerance=0.5, protect={"english": 0.02})
    assert found.critical_ratio == pytest.approx(0.707, abs=0.01)


def test_protected_sets_that_cannot_be() -> None:
    asked = {"general": "english", "target": "german", "tolerance": 0.02}
    with pytest.raises(InputError, match="no validation set 'latin'"):
        decide(table(), **asked, protect={"latin": 0.02})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="protect code=-1"):
        decide(table(), **asked, protect={"code": -1})  # type: ignore[arg-type]


def test_not_yet_names_the_set_that_no_share_keeps() -> None:
    shifted = table().rows.with_columns(
        loss=pl.when((pl.col("eval") == "code") & (pl.col("tokens") > 0))
        .then(pl.col("loss") + 0.2)
        .otherwise("loss")
    )
    found = decide(
        RunTable(shifted, "t.csv"), general="english", target="german", tolerance=0.02, protect={"code": 0.02}
    )
    assert found.status == "not_yet"
    assert found.reason is not None
    assert "no trained target share keeps the loss of code" in found.reason


def test_the_tolerance_that_is_shown_is_the_tighter_one() -> None:
    found = decide(table(), general="english", target="german", tolerance=0.5, protect={"english": 0.02})
    english = next(row for row in increments(found) if row.name == "english")
    assert english.tolerance == 0.02
    assert found.limits == ["english loss at its tolerance of 0.02 nats"]


def test_every_screen_shows_protected_sets_by_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, figures, spec = tmp_path / "runs.csv", tmp_path / "figures", tmp_path / "mix.yaml"
    table().rows.write_csv(path)
    asked = ["decide", str(path), "--general", "english", "--target", "german", "--tolerance", "0.02"]
    for protect, limit in ((["code=0.02", "english=0.5"], "code"), (["english=0.01"], "english")):
        options = [part for name in protect for part in ("--protect", name)]
        with pytest.raises(SystemExit) as ended:
            cli.main([*asked, *options, "--figures", str(figures), "--spec", str(spec)])
        assert ended.value.code == 0
        screen = capsys.readouterr().out
        assert f"limited by: {limit} loss at its tolerance" in screen
        assert f"{limit} within its own tolerance: up to 0." in screen
    found = decide(
        read_runs(path), general="english", target="german", tolerance=0.02, protect={"code": 0.02}
    )
    assert "code" in found._repr_html_()
    assert "limited by: code loss" in repr(found)


def test_a_stray_loss_of_a_protected_set_is_named() -> None:
    """One checkpoint of code is 0.3 nats off; without it the answer stays."""
    whole = with_budgets(table())
    off = (pl.col("eval") == "code") & (pl.col("run") == "r3") & (pl.col("tokens") == 600)
    broken = whole.rows.with_columns(loss=pl.when(off).then(pl.col("loss") + 0.3).otherwise("loss"))
    asked = {"general": "english", "target": "german", "tolerance": 0.02, "protect": {"code": 0.02}}
    clean, found = decide(whole, **asked), decide(RunTable(broken, "t.csv"), **asked)  # type: ignore[arg-type]
    assert any("code" in warning and "left out" in warning for warning in found.warnings)
    assert found.critical_ratio == pytest.approx(clean.critical_ratio, abs=0.01)


def test_a_role_s_set_is_protected_at_another_size_too() -> None:
    """Three sizes whose losses are alike: so is the answer at a fourth."""
    rows = table().rows
    sizes = [rows.with_columns(params=pl.lit(size)) for size in (1_000_000, 2_000_000, 4_000_000)]
    asked = {"general": "english", "target": "german", "tolerance": 0.5, "params": 8_000_000}
    found = decide(RunTable(pl.concat(sizes), "t.csv"), **asked, protect={"english": 0.02})  # type: ignore[arg-type]
    assert found.critical_ratio == pytest.approx(0.707, abs=0.02)


def with_budgets(runs: RunTable) -> RunTable:
    """The same increments from a tenth of the budget on, growing with its root."""
    base = pl.lit(None)
    for name, (loss, _, _) in RISES.items():
        base = pl.when(pl.col("eval") == name).then(loss).otherwise(base)
    parts = [runs.base]
    for tokens in range(100, 1001, 100):
        part = runs.trained.with_columns(
            tokens=pl.lit(tokens, dtype=pl.Int64),
            loss=base + (pl.col("loss") - base) * (tokens / 1000) ** 0.5,
        )
        parts.append(part)
    return RunTable(pl.concat(parts), "t.csv")
