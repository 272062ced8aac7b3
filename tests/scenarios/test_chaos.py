"""The short form of `make chaos`: one study under kill -9, and two studies of one home at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from flows.orchestration.crashed_runs import study_tag
from tests.conftest import Finished
from tests.scenarios.chaos.kills import kill_round
from tests.scenarios.chaos.tally import Pot, Reference, Tally
from tests.scenarios.tiny_study import STUDY, environment, write_study


def open_flow_runs(folder: Path) -> list[str]:
    query = {
        "flow_runs": {
            "tags": {"all_": [study_tag(folder)]},
            "state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}},
        }
    }
    request = urllib.request.Request(
        f"{os.environ['PREFECT_API_URL']}/flow_runs/filter",
        json.dumps(query).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return [run["id"] for run in json.load(reply)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_under_kill_9(finished: Finished, tmp_path: Path) -> None:
    tally = Tally()
    folder = tmp_path / "chaos"
    pot = Pot(3)
    kill_round(
        tally,
        folder,
        Reference.of(finished.folder),
        {},
        np.random.default_rng(1),
        kills=pot,
        deadline=time.monotonic() + 25,
        pause=(1.0, 8.0),
    )
    assert pot.left < 3
    assert not tally.failed(), tally.table()
    assert not open_flow_runs(folder / "home" / "tiny")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_studies_start_at_once_in_a_fresh_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Finished
) -> None:
    """Each with its embedded server, over databases that neither has made yet."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    home = tmp_path / "home"
    started = []
    for name in ("one", "two"):
        study = write_study(tmp_path / name, STUDY.replace("study: tiny", f"study: {name}"))
        log = open(tmp_path / f"{name}.log", "wb")  # noqa: SIM115
        command = [sys.executable, "-m", "flows.cli.main", "run", str(study)]
        started.append((log, subprocess.Popen(command, env=environment(home), stdout=log, stderr=log)))
    for log, process in started:
        assert process.wait(280) == 0, Path(log.name).read_text()
        log.close()
    expected = Reference.of(finished.folder)
    for name in ("one", "two"):
        found = Reference.of(home / name)
        assert found.runs == expected.runs
        assert found.decision == expected.decision
