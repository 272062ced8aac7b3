"""The figures: drawn for every kind of decision, titled by their finding, nothing outside the picture."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mixing.amounts import abbreviate_amount
from mixing.decision.question import Question
from mixing.decision.record import CurvePoint
from mixing.decision.result import Decision
from mixing.errors import MixlawError
from mixing.plots.ratio import (
    OBSERVED,
    PREDICTED,
    critical_ratio_over_tokens,
    draw_all,
    general_over_tokens,
    increment_over_share,
    predicted_over_observed,
)

SHARES = [0.125, 0.25, 0.5, 0.75, 0.9]
BUDGETS = [20_480, 61_440, 204_800, 614_400]
ALL = [
    "increment_over_share.png",
    "general_over_tokens.png",
    "critical_ratio_over_tokens.png",
    "predicted_over_observed.png",
]


def observed(shares: list[float] = SHARES, confirmation: float | None = 0.63) -> pl.DataFrame:
    runs = [("swarm", share) for share in shares]
    runs += [] if confirmation is None else [("confirmation", confirmation)]
    rows = [
        (f"{kind}-{share}", kind, share, tokens, share * 0.6 - 0.38 * tokens / 614_400, -share - 0.5)
        for kind, share in runs
        for tokens in BUDGETS
    ]
    return pl.DataFrame(rows, schema=list(OBSERVED), orient="row")


def predicted(confirmation: bool = True) -> pl.DataFrame:
    rows = [
        (f"swarm-{share}", "swarm", name, share, share + 0.01, share - 0.02, share + 0.03)
        for share in SHARES
        for name in ("general", "target")
    ]
    if confirmation:
        rows += [("c", "confirmation", name, 0.6, 0.604, None, None) for name in ("general", "target")]
    return pl.DataFrame(rows, schema=list(PREDICTED), orient="row")


def curve(low: float, high: float, slope: float) -> list[CurvePoint]:
    return [
        CurvePoint(float(x), slope * float(x), slope * float(x) - 0.02, slope * float(x) + 0.02)
        for x in np.linspace(low, high, 20)
    ]


DECIDED = Decision(
    question=Question({"docs": 1.0}, {"code": 1.0}, ("code",), tolerance=0.0, tokens=614_400),
    status="decided",
    shares={"docs": 0.37, "code": 0.63},
    critical_ratio=0.63,
    interval=(0.6, 0.66),
    binding="tolerance",
    law="cmr",
    n_runs=5,
    predicted={},
    baselines=[],
    ratio_curves={"general": curve(0.05, 0.95, 0.6), "target": curve(0.05, 0.95, -1.0)},
    cmr_curve=curve(60_000, 1_200_000, 1e-6),
    critical_times={0.125: None, 0.5: 110_000.0, 0.75: 9e9},
)
NOT_YET = replace(
    DECIDED,
    status="not_yet",
    critical_ratio=None,
    interval=None,
    shares={},
    ratio_curves={},
    cmr_curve=[],
    critical_times={},
    warnings=["2 target shares were trained and the ratio law has three parameters"],
)


def headline(figure: Figure) -> str:
    return figure.texts[0].get_text().replace("\n", " ")


def assert_inside(figure: Figure) -> None:
    """Every visible text lies within the picture, and the legend hides no axes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    boxes = [text.get_window_extent() for text in figure.texts]
    for axes in figure.axes:
        boxes += [text.get_window_extent() for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts)]
    for box in boxes:
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
        assert not any(box.overlaps(axes.xaxis.label.get_window_extent()) for axes in figure.axes)


def test_all_four_are_written_at_a_legible_size(tmp_path: Path) -> None:
    paths = draw_all(DECIDED, observed(), predicted(), tmp_path / "figures")
    assert [path.name for path in paths] == ALL
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(ALL)
    for path in paths:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", data[16:24])
        assert width >= 1000
        assert height >= 500


def test_same_inputs_same_bytes(tmp_path: Path) -> None:
    first, second = (draw_all(DECIDED, observed(), predicted(), tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_not_yet_is_drawn_without_marks(tmp_path: Path) -> None:
    seen = observed(SHARES[:2], None)
    assert [path.name for path in draw_all(NOT_YET, seen, predicted().clear(), tmp_path)] == ALL[:2]
    figure = increment_over_share(NOT_YET, seen)
    assert headline(figure) == "No critical ratio yet at 0.61M tokens"
    assert "three parameters" in figure.texts[1].get_text()
    assert_inside(figure)


def test_nothing_trained_yet(tmp_path: Path) -> None:
    assert draw_all(NOT_YET, observed().clear(), predicted().clear(), tmp_path) == []


def test_a_law_without_a_prediction_leaves_a_gap(tmp_path: Path) -> None:
    points = predicted().with_columns(predicted=pl.lit(float("nan")))
    assert [path.name for path in draw_all(DECIDED, observed(), points, tmp_path)] == ALL[:3]


def test_headlines_state_the_finding() -> None:
    assert headline(increment_over_share(DECIDED, observed())) == (
        "Critical ratio 0.63 [0.60, 0.66] at 0.61M tokens"
    )
    assert headline(general_over_tokens(DECIDED, observed())) == (
        "Of the trained shares, those up to 0.63 keep the general loss at or below the base at 0.61M tokens"
    )
    assert headline(critical_ratio_over_tokens(DECIDED, observed())) == (
        "The critical ratio rises from 0.06 at 60k to 0.61 at 0.61M tokens"
    )
    assert headline(predicted_over_observed(DECIDED, predicted())) == (
        "The confirmation run is 0.004 (general) and 0.004 (target) nats off its prediction"
    )
    assert headline(predicted_over_observed(DECIDED, predicted(confirmation=False))) == (
        "Left-out mixtures are predicted to 0.010 (general) and 0.010 (target) nats on average"
    )


@pytest.mark.parametrize("tolerance", [-1.0, 0.0, 0.05, 5.0])
def test_tolerance_is_put_in_words(tolerance: float) -> None:
    decision = replace(DECIDED, question=replace(DECIDED.question, tolerance=tolerance))
    words = headline(general_over_tokens(decision, observed()))
    assert words.startswith(
        {-1.0: "No trained", 5.0: "Every trained"}.get(tolerance, "Of the trained shares")
    )


@pytest.mark.parametrize(
    "shares",
    [[0.5], SHARES, [0.5, 0.501, 0.502, 0.503], [round(0.03 * step, 2) for step in range(1, 30)]],
    ids=["one", "five", "close", "many"],
)
def test_nothing_leaves_the_picture(shares: list[float]) -> None:
    question = replace(DECIDED.question, general={f"validation set {n}": 1 / 30 for n in range(30)})
    warned = replace(NOT_YET, warnings=["a long warning " * 40])
    seen = observed(shares)
    for figure in (
        increment_over_share(replace(DECIDED, question=question), seen),
        increment_over_share(warned, seen),
        general_over_tokens(DECIDED, seen),
        critical_ratio_over_tokens(DECIDED, seen),
        critical_ratio_over_tokens(replace(DECIDED, binding="turning_point"), seen),
        predicted_over_observed(DECIDED, predicted()),
    ):
        assert_inside(figure)


def test_labels_of_lines_that_end_together_are_apart() -> None:
    figure = general_over_tokens(DECIDED, observed([0.5, 0.501, 0.502, 0.503]))
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 5
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_one_eval_has_one_panel() -> None:
    figure = predicted_over_observed(DECIDED, predicted().filter(pl.col("eval") == "general"))
    assert len(figure.axes) == 1


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(MixlawError, match="figures: cannot be made"):
        draw_all(DECIDED, observed(), predicted(), tmp_path / "figures")


def test_no_pyplot() -> None:
    code = "import sys, mixing.plots.ratio; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("tokens", "words"),
    [(512, "512"), (2048, "2k"), (50_000, "50k"), (614_400, "0.61M"), (1.2e9, "1.2B"), (15e12, "15T")],
)
def test_amounts(tokens: float, words: str) -> None:
    assert abbreviate_amount(tokens) == words
