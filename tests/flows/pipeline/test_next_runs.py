"""`mixlaw plan --next`: what a finished study would train next, and what one says that has nothing yet."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Finished
from tests.scenarios.tiny_study import in_process, mixlaw, write_study


def test_of_a_finished_study(finished: Finished) -> None:
    done = in_process(finished.home, "plan", str(finished.study), "--next", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["status"] == "decided"
    assert len(found["target_shares"]) == 2
    assert all(0 < share < 1 for share in found["target_shares"])
    # The proxies' and the confirmation's, which is a run of the final answer.
    assert {0.25, 0.5, 0.75, 0.9} < set(found["trained"])
    assert len(found["trained"]) == 5
    assert found["next_runs"][0]["code"] == found["target_shares"][0]
    screen = in_process(finished.home, "plan", str(finished.study), "--next", "2").stdout
    assert "train these next" in screen
    assert "target_shares: [" in screen


def test_before_anything_is_trained(tmp_path: Path) -> None:
    done = mixlaw(tmp_path / "home", "plan", str(write_study(tmp_path)), "--next", "2")
    assert done.returncode == 2
    assert "no proxy is trained yet" in done.stderr
