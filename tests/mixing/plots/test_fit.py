"""Figures of a fit: one pair per loss that could be scored, also where names are awkward and laws are few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.image import imread

from mixing.errors import MixlawError
from mixing.fitting.fit import fit
from mixing.fitting.report import FitReport
from mixing.plots.fit import draw_fits
from mixing.runs.table import make_table


@pytest.fixture(scope="module")
def report() -> FitReport:
    rng = np.random.default_rng(0)
    rows = []
    for number, share in enumerate((0.1, 0.3, 0.5, 0.7, 0.9)):
        for tokens in (1e8, 2e8, 4e8):
            for name in ("held out/web", "code"):
                loss = 3 + 0.1 * share - 0.05 * np.log(tokens / 1e8) + 1e-3 * rng.standard_normal()
                rows.append((f"r{number}", 1 - share, share, tokens, name, loss))
    frame = pl.DataFrame(
        rows, schema=["run", "share.web", "share.code", "tokens", "eval", "loss"], orient="row"
    )
    return fit(make_table(frame, "t.csv"), ["held out/web", "code"])


def test_a_pair_of_figures_for_every_loss(report: FitReport, tmp_path: Path) -> None:
    paths = draw_fits(report, tmp_path / "figures")
    assert [path.name for path in paths] == [
        "held_out_web_residuals.png",
        "held_out_web_laws.png",
        "code_residuals.png",
        "code_laws.png",
    ]
    assert all(imread(path).std() > 0.01 for path in paths)


def test_nothing_is_drawn_where_nothing_could_be_scored(report: FitReport, tmp_path: Path) -> None:
    assert draw_fits(FitReport(report.laws, report.chosen), tmp_path) == []


def test_a_folder_that_cannot_be_made(report: FitReport, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MixlawError, match="cannot be made"):
        draw_fits(report, tmp_path / "file" / "figures")
