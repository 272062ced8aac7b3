"""The figures of a decision among many sources: drawn where there is something to draw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.text import Text

from mixing.decision.question import Question
from mixing.decision.record import Baseline, FrontPoint, Prediction
from mixing.decision.result import Decision
from mixing.errors import MixlawError
from mixing.plots.mixture import draw_sources, mixture, pareto_front

SHARES = {"web": 0.7, "code": 0.25, "books": 0.05}


def prediction(increment: float) -> Prediction:
    return Prediction(3 + increment, (3 + increment - 0.02, 3 + increment + 0.03), increment)


def decision(front: int = 5) -> Decision:
    def both(x: float) -> dict[str, Prediction]:
        return {"general": prediction(x), "target": prediction(-(x**0.5))}

    return Decision(
        Question({"wiki": 1.0}, {"code": 1.0}, ("code",), 0.05, 20_000_000_000),
        "decided",
        SHARES,
        0.25,
        (0.2, 0.3),
        "tolerance",
        "log-linear",
        20,
        both(0.05),
        [
            Baseline("natural shares", {"web": 0.9, "code": 0.1}, both(0.01)),
            Baseline("uniform", SHARES, both(0.011)),
        ],
        share_intervals={d: (s * 0.8, s * 1.1) for d, s in SHARES.items()},
        limits=["general loss at its tolerance"],
        front=[
            FrontPoint(SHARES, prediction(0.02 * i), prediction(-((0.02 * i) ** 0.5))) for i in range(front)
        ],
    )


def texts(figure: object) -> str:
    return " ".join(t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text")))  # type: ignore[attr-defined]


def test_both_are_drawn(tmp_path: Path) -> None:
    found = draw_sources(decision(), tmp_path / "figures")
    assert [p.name for p in found] == ["mixture.png", "pareto_front.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in found)
    assert [p.name for p in draw_sources(decision(front=1), tmp_path)] == ["mixture.png"]


def test_they_say_what_was_found() -> None:
    drawn = texts(mixture(decision()))
    assert "Best mixture: web 0.70, code 0.25, books 0.05" in drawn
    assert "general loss at its tolerance" in drawn
    assert "code (target)" in drawn
    drawn = texts(pareto_front(decision()))
    assert "Recommended: target loss -0.224 nats, general loss +0.050" in drawn
    assert "natural shares" in drawn
    assert "tolerance 0.05 nats" in drawn


def test_names_that_lie_together_are_apart() -> None:
    figure = pareto_front(decision())
    figure.canvas.draw()
    boxes = {
        t.get_text(): Text.get_window_extent(t)  # without the line to its cross
        for t in figure.axes[0].texts
        if t.get_text() in ("natural shares", "uniform")
    }
    assert not boxes["natural shares"].overlaps(boxes["uniform"])


def test_not_yet_draws_nothing(tmp_path: Path) -> None:
    nothing = replace(decision(), status="not_yet", share_intervals={}, front=[])
    assert draw_sources(nothing, tmp_path / "figures") == []


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MixlawError, match="cannot be made"):
        draw_sources(decision(), tmp_path / "file")
