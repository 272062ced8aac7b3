"""The examples run as they stand, and find what is known of their data."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.scenarios.tiny_study import ROOT

EXAMPLES = ROOT / "examples"


def test_own_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "own_table.py"))["main"](tmp_path)
    printed = capsys.readouterr().out
    # Drawn from the landscape `power`, whose critical ratio is 0.684 at this tolerance.
    ratio = re.search(r"best estimate (0\.\d+)", printed)
    assert ratio is not None, printed
    assert float(ratio[1]) == pytest.approx(0.684, abs=0.02)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["critical-ratio.png", "mix.json"]


def test_many_sources(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "many_sources.py"))["main"]()
    pairs = re.findall(r"(\w+): (0\.\d+) \(true optimum: (0\.\d+)\)", capsys.readouterr().out)
    assert [name for name, _, _ in pairs] == ["web", "code", "maths"]
    for name, share, best in pairs:
        assert float(share) == pytest.approx(float(best), abs=0.1), name


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_examples_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
