"""The table of laws on the screen: the error of the choice, or of what the decision uses, stands before it."""

from __future__ import annotations

import io
from functools import cache

from rich.console import Console

from flows.reports.decision import choice_lines, decision_error, print_laws
from mixing.decision.critical_ratio.left_out import LeftOut
from mixing.fitting.fit import fit
from mixing.fitting.report import FitReport
from mixing.test_problems import LANDSCAPES


@cache
def report() -> FitReport:
    table = LANDSCAPES[0].study([0.2, 0.35, 0.5, 0.65, 0.8], [200_000, 400_000, 600_000], seed=0)
    return fit(table, ["general", "target"])


def screen(used: str = "") -> list[str]:
    console = Console(record=True, width=160, file=io.StringIO())
    print_laws(report(), console, used=used)
    return console.export_text().splitlines()


def test_the_error_of_the_choice_stands_first() -> None:
    lines = screen()
    for line, name in zip(lines, ("general", "target"), strict=False):
        score = report().error(name)
        assert score is not None
        assert line.startswith(f"{name}: {report().chosen[name]} is off by {score.mae:.4f} nats")
        assert line.endswith("its choice included")
    assert lines[2].startswith("Laws: ")


def test_a_study_names_the_error_of_what_its_decision_uses() -> None:
    used = decision_error(
        [
            LeftOut("a", "general", 0.01, 0.02),
            LeftOut("b", "general", 0.01, 0.04),
            LeftOut("a", "target", 1, 1),
        ]
    )
    assert used == (
        "What the decision uses is off by 0.0200 nats (general) and 0.0000 nats (target) on mixtures left out"
    )
    assert screen(used)[0] == used
    assert screen(used)[1].startswith("Laws: ")
    assert decision_error([]) == ""


def test_many_losses_and_losses_without_a_score() -> None:
    many = FitReport([], {f"loss{i}": "constant" for i in range(40)})
    lines = choice_lines(many)
    assert lines[0] == "loss0: constant, too few mixtures to say how far off"
    assert lines[-1] == "... and 20 more losses"
