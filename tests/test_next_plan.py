"""`mixlaw plan --next`: shares near the critical ratio first, never one that is trained."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from flows.next_plan import APART, zoom
from mixing.decision import Decision, Question
from tests.conftest import Finished
from tests.tiny_study import mixlaw, write_study

QUESTION = Question({"docs": 1.0}, {"code": 1.0}, ("code",), 0.02, 1000)


def decision(ratio: float | None, interval: tuple[float, float] | None, *asked: float) -> Decision:
    status = "not_yet" if ratio is None else "decided"
    runs = [{"docs": 1 - share, "code": share} for share in asked]
    return Decision(QUESTION, status, {}, ratio, interval, "none", "cmr", 4, {}, [], next_runs=runs)


def test_the_ratio_then_the_ends_of_its_interval_then_gaps() -> None:
    found = zoom(decision(0.6, (0.5, 0.7)), [0.25, 0.5, 0.75], 4)
    assert found[:2] == [0.6, 0.7]
    assert len(set(found)) == 4
    assert zoom(decision(None, None, 0.1), [0.25, 0.5], 1) == [0.1]


@given(
    st.floats(0.05, 0.95),
    st.floats(0, 0.3),
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
    st.integers(1, 8),
)
def test_new_shares_are_new(ratio: float, half: float, trained: list[float], count: int) -> None:
    found = zoom(decision(ratio, (ratio - half, ratio + half)), trained, count)
    assert len(found) == count
    for at, share in enumerate(found):
        assert 0.02 <= share <= 0.98
        assert all(abs(share - other) >= APART - 1e-9 for other in (*trained, *found[:at]))


def test_of_a_finished_study(finished: Finished) -> None:
    done = mixlaw(finished.home, "plan", str(finished.study), "--next", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["status"] == "decided"
    assert len(found["target_shares"]) == 2
    assert not set(found["target_shares"]) & {0.25, 0.5, 0.75, 0.9}
    assert found["next_runs"][0]["code"] == found["target_shares"][0]
    screen = mixlaw(finished.home, "plan", str(finished.study), "--next", "2").stdout
    assert "train these next" in screen
    assert "target_shares: [0.25, " in screen


def test_before_anything_is_trained(tmp_path: Path) -> None:
    done = mixlaw(tmp_path / "home", "plan", str(write_study(tmp_path)), "--next", "2")
    assert done.returncode == 2
    assert "no proxy is trained yet" in done.stderr
