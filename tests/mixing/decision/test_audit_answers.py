"""Tables of an independent audit whose truth is known: each was once answered wrongly, with confidence."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixing.decision.decide import decide
from mixing.decision.result import Decision
from mixing.runs.read import read_runs

AUDIT = Path(__file__).parents[2] / "golden" / "audit"


def answer(name: str, tolerance: float = 0.0) -> Decision:
    return decide(read_runs(AUDIT / f"{name}.csv"), general="general", target="target", tolerance=tolerance)


def test_every_trained_share_passes_and_the_truth_lies_beyond_them() -> None:
    """Truth 0.884, past a cliff; the largest trained share is 0.833."""
    found = answer("cliff5")
    assert (found.status, found.binding) == ("bound", "bound")
    assert found.critical_ratio == pytest.approx(0.833, abs=1e-3)
    assert found.interval is not None
    assert found.interval[0] < 0.834
    assert found.interval[1] > 0.884
    assert found.shares["target"] <= 0.834
    assert found.next_runs[0]["target"] > 0.834


def test_forgetting_that_creeps_up_and_never_turns() -> None:
    """Truth 0.533 at 0.04; at 0.2 every share passes (0.11 at share 1)."""
    found = answer("creep", 0.04)
    assert found.status == "decided"
    assert found.critical_ratio == pytest.approx(0.533, abs=0.01)
    assert found.interval is not None
    assert found.interval[0] <= 0.533 <= found.interval[1]
    loose = answer("creep", 0.2)
    assert loose.status == "bound"
    assert loose.interval is not None
    assert loose.interval[1] > 0.99


@pytest.mark.parametrize(("name", "truth"), [("kink3", 0.629), ("sigmoid8", 0.538)])
def test_the_interval_holds_what_no_law_has(name: str, truth: float) -> None:
    """A kink between three trained shares, and a sharp onset."""
    found = answer(name)
    assert found.interval is not None
    assert found.interval[0] <= truth <= found.interval[1]
    assert found.safe_ratio is not None
    assert found.safe_ratio <= truth


def test_a_turning_point_that_nobody_knows_vetoes_nothing() -> None:
    """Truth 0.721."""
    found = answer("veto")
    assert found.status == "decided"
    assert found.critical_ratio == pytest.approx(0.711, abs=0.02)
    assert found.interval is not None
    assert found.interval[0] <= 0.721 <= found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.07
    turning = {test.name: test for test in found.tests}["turning_point"]
    assert not turning.binds
