"""A run's kind is a field: names are for people, and another name changes nothing else."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.conftest import Finished
from tests.scenarios.tiny_study import environment

RENAMED = """
import json, sys
from pathlib import Path

from flows.pipeline import confirmation, plan, status

plan.proxy_name = lambda share, seed: f"try {share} of {seed}"
for module in (confirmation, status):
    module.confirmation_name = lambda share: f"the last one, {share}"

from flows.orchestration.local_run import run_study
from flows.pipeline.cost import cost_of
from flows.pipeline.next_runs import plan_next
from flows.pipeline.plan import make_plan
from flows.pipeline.workspace import Workspace

study, home = Path(sys.argv[1]), Path(sys.argv[2])
result = run_study(study, home)
workspace = Workspace.load(study, home)
now = status.status_of(workspace)
print(json.dumps({
    "names": [run.name for run in now.runs],
    "kinds": [run.kind for run in now.runs],
    "answer": now.answer,
    "trained": result.trained,
    "cost": [cost_of(workspace, result.plan, 2).seconds, cost_of(workspace, result.plan, 2).done],
    "next": list(plan_next(workspace, 2).trained),
}))
"""


def test_another_name_changes_neither_mlflow_nor_status_nor_cost_nor_planning(
    finished: Finished, mlflow_uri: str, tmp_path: Path
) -> None:
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    study, home = tmp_path / "copy" / "study.yaml", tmp_path / "copy" / "home"
    done = subprocess.run(
        [sys.executable, "-c", RENAMED, str(study), str(home)],
        env=environment(home, MLFLOW_TRACKING_URI=mlflow_uri),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["names"][1] == "try 0.25 of 0"
    assert said["names"][5].startswith("the last one, 0.")
    assert said["kinds"] == ["base", *["proxy"] * 4, "confirmation"]
    assert (said["answer"], said["trained"]) == ("decided", 0)
    # 30 s for what is not training: no run is left.
    assert said["cost"] == [30.0, 6]
    assert {0.25, 0.5, 0.75, 0.9} < set(said["next"])
    assert len(said["next"]) == 5
    with sqlite3.connect(tmp_path / "mlflow.db") as mlflow:
        kinds = mlflow.execute("select value, count(*) from tags where key = 'mixlaw.kind' group by value")
        assert dict(kinds.fetchall()) == {"study": 1, "base": 1, "proxy": 4, "confirmation": 1}
        names = {name for (name,) in mlflow.execute("select name from runs")}
    assert {"base", "target 0.25", "target 0.5", "target 0.75", "target 0.9"} <= names
    assert any(name.startswith("target 0.") and name.endswith("(confirmation)") for name in names)
