"""Champion and challenger: the rule, the history that can be rolled back, and models that load anywhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.reports.comparison import print_comparison
from flows.tracking import registry
from flows.tracking.client import Tracker
from flows.tracking.comparison import compare
from flows.tracking.promotion import cost_of_staying, judge
from flows.tracking.records import StudyRecord
from mixing.decision.record import CurvePoint, Prediction
from mixing.decision.result import Decision
from mixing.errors import InputError
from mixing.spec.model import MixSpec
from mixing.spec.yaml_file import save_spec
from tests.conftest import Finished
from tests.mixing.spec.examples import example_decision, example_spec
from tests.scenarios.tiny_study import environment, in_process


def spec(math: float = 0.1, interval: tuple[float, float] | None = (0.08, 0.12), **changes: Any) -> MixSpec:
    """The example with this share of its target domain, and this interval of it."""
    shares = {"web": 0.9 - math, "code": 0.1, "math": math}
    plain = example_spec().model_dump()
    domains = {
        name: {**part, "share": shares[name], "epochs": shares[name] * 102_400 / part["tokens"]}
        for name, part in plain["domains"].items()
    }
    decision = {**plain["decision"], "critical_ratio": math, "interval": interval}
    one = [{"from_token": 0, "shares": shares}]
    return example_spec(**{"domains": domains, "decision": decision, "stages": one, **changes})


def decision(general: float, target: float) -> Decision:
    """Curves that are straight lines of these slopes over the share, and 0 at a share of 0.1."""
    curves = {
        role: [CurvePoint(x, slope * (x - 0.1), 0.0, 0.0) for x in (0.0, 1.0)]
        for role, slope in (("general", general), ("target", target))
    }
    predicted = {role: Prediction(2.0, (1.9, 2.1), 0.0) for role in ("general", "target")}
    return example_decision(ratio_curves=curves, predicted=predicted)


def test_intervals_that_do_not_overlap_decide() -> None:
    verdict = judge(spec(0.1), spec(0.2, (0.15, 0.25)), None)
    assert verdict.promote
    assert verdict.reason == "the intervals [0.080, 0.120] and [0.150, 0.250] do not overlap"
    assert judge(spec(0.2, (0.15, 0.25)), spec(0.1), None).promote
    assert not judge(spec(0.1), spec(0.11, (0.09, 0.13)), None).promote


def test_the_cost_of_staying_decides_where_intervals_overlap() -> None:
    """By the new law: target loss that the old share leaves lying, or general loss beyond the tolerance."""
    wide = (0.0, 0.9)
    smaller, larger, new = spec(0.05, wide), spec(0.3, wide), spec(0.1, wide)
    steep = decision(general=1.0, target=-1.0)
    assert cost_of_staying(smaller, steep) == pytest.approx(0.05)
    # 0.2 nats of general loss at a share of 0.3, of which 0.01 are tolerated.
    assert cost_of_staying(larger, steep) == pytest.approx(0.19)
    assert judge(smaller, new, steep).promote
    verdict = judge(smaller, new, steep, gain=0.06)
    assert not verdict.promote
    assert "costs 0.0500 nats, less than 0.06" in verdict.reason


def test_a_champion_that_cannot_be_trained_gives_way() -> None:
    old, new = spec(), spec()
    gone = MixSpec.model_validate(
        {**new.model_dump(), "domains": without(new, "code"), "stages": stages(new)}
    )
    assert judge(old, gone, None).reason == "the champion needs code, which is not in the study any more"
    plain = new.model_dump()
    plain["domains"]["math"] |= {
        "tokens": 2000,
        "epochs": 0.1 * 102_400 / 2000,
        "max_epochs": 6.0,
        "documents": 10,
    }
    plain["domains"]["math"]["shards"] = [{"prefix": "m", "tokens": 2000}]
    shrunk = MixSpec.model_validate(plain)
    assert judge(spec(0.2, (0.0, 0.9)), shrunk, None).reason.startswith(
        "the champion would read math 10.24 times"
    )


def without(found: MixSpec, name: str) -> dict[str, Any]:
    domains = found.model_dump()["domains"]
    domains["web"] |= {"share": 0.9, "epochs": 0.9 * 102_400 / domains["web"]["tokens"]}
    return {key: part for key, part in domains.items() if key != name}


def stages(found: MixSpec) -> list[dict[str, Any]]:
    return [{"from_token": 0, "shares": {"web": 0.9, "math": 0.1}}]


def test_mixes_without_intervals_wait_for_a_person() -> None:
    verdict = judge(spec(0.1, None), spec(0.2, None), None)
    assert (verdict.promote, verdict.reason) == (False, "no rule compares these mixes")


def record(folder: Path, ratio: float) -> StudyRecord:
    path = folder / "decision.json"
    path.write_text("{}")
    return StudyRecord(
        name="example",
        identity="abc",
        title="mix",
        params={},
        metrics={},
        note="",
        summary=f"target share {ratio}",
        artifacts={"decision.json": path},
    )


@pytest.fixture
def published(mlflow_uri: str, tmp_path: Path) -> str:
    """Three versions: the second a challenger, the third for certain different. Their MLflow's address."""
    tracker = Tracker(mlflow_uri, tmp_path, "example")
    ranks = []
    for math, interval in ((0.1, (0.08, 0.12)), (0.11, (0.09, 0.13)), (0.2, (0.15, 0.25))):
        new, path = spec(math, interval), tmp_path / "mixspec.yaml"
        save_spec(new, path)

        def rule(champion: Path, new: MixSpec = new) -> Any:
            from mixing.spec.yaml_file import load_spec

            return judge(load_spec(champion), new, None)

        done = tracker.publish(record(tmp_path, math), [], path, f"digest-{math}", rule)
        ranks.append((done.version, done.alias))
        again = tracker.publish(record(tmp_path, math), [], path, f"digest-{math}", rule)
        assert (again.version, again.new_version, again.alias) == (done.version, False, done.alias)
    assert ranks == [("1", "champion"), ("2", "challenger"), ("3", "champion")]
    return mlflow_uri


def test_history_is_kept_and_rolled_back(published: str) -> None:
    now = registry.registry_status("example", published)
    assert (now.champion, now.challenger) == ("3", "2")
    assert [(turn.version, turn.by, turn.before) for turn in now.history] == [
        ("1", "first", ""),
        ("3", "rule", "1"),
    ]
    assert registry.roll_back("example", published).version == "1"
    with pytest.raises(InputError, match="none was before it"):
        registry.roll_back("example", published)
    # By hand: the challenger, then a version by its number.
    assert registry.promote("example", published, reason="the team agreed").version == "2"
    now = registry.registry_status("example", published)
    assert (now.champion, now.challenger) == ("2", "")
    assert (now.history[-1].by, now.history[-1].reason, now.history[-1].before) == (
        "hand",
        "the team agreed",
        "1",
    )
    assert len(now.history) == 4
    with pytest.raises(InputError, match="there is no challenger"):
        registry.promote("example", published)
    with pytest.raises(InputError, match="no version 9"):
        registry.promote("example", published, "9")
    with pytest.raises(InputError, match="champion already"):
        registry.promote("example", published, "2")
    with pytest.raises(InputError, match="no such mix"):
        registry.registry_status("other", published)


def test_promote_by_command(published: str, tmp_path: Path) -> None:
    def promote(*arguments: str) -> dict[str, Any]:
        done = in_process(tmp_path, "promote", "example", *arguments, "--json", MLFLOW_TRACKING_URI=published)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert promote("--back")["champion"] == "1"
    assert promote("2")["history"][-1]["before"] == "1"
    done = in_process(tmp_path, "promote", "example", "2", MLFLOW_TRACKING_URI=published)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    shown = in_process(tmp_path, "promote", "example", "--history", MLFLOW_TRACKING_URI=published).stdout
    assert "rolled back from 3" in shown


def test_the_champion_loads_without_mixlaw(finished: Finished, tmp_path: Path) -> None:
    """As an MLflow model, where Mixlaw is not installed; by stages, and without a pickle."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('flows', 'mixing', 'proxies')))\n"
        "import mlflow, pandas as pd\n"
        "model = mlflow.pyfunc.load_model('models:/tiny@champion')\n"
        "print(model.predict(pd.DataFrame({'tokens': [0, 10_000]})).to_json(orient='records'))\n"
        "print(mlflow.artifacts.download_artifacts('models:/tiny@champion'))\n"
    )
    uri = f"sqlite:///{finished.home}/mlflow.db"
    variables = {**environment(tmp_path, MLFLOW_TRACKING_URI=uri), "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows, folder = done.stdout.splitlines()
    decided = json.loads((finished.folder / "decision.json").read_text())["shares"]
    for row in json.loads(rows):
        assert row == pytest.approx(decided)
    names = {path.name for path in Path(folder).rglob("*") if path.is_file()}
    assert {"MLmodel", "pyfunc_model.py", "mix.json", "mixspec.yaml", "corpora.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]


def test_the_model_follows_stages(tmp_path: Path) -> None:
    import mlflow.pyfunc
    import pandas as pd

    from flows.tracking.pyfunc_writer import write_model

    staged = spec(
        stages=[
            {"from_token": 0, "shares": {"web": 0.9, "code": 0.1, "math": 0.0}},
            {"from_token": 51_200, "shares": {"web": 0.7, "code": 0.1, "math": 0.2}},
        ]
    )
    save_spec(staged, tmp_path / "mixspec.yaml")
    write_model(tmp_path / "mixspec.yaml", tmp_path / "model")
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    found = model.predict(pd.DataFrame({"tokens": [0, 51_199, 51_200]}))
    assert found["math"].tolist() == [0.0, 0.0, 0.2]
    assert found["web"].tolist() == [0.9, 0.9, 0.7]


def test_compare(tmp_path: Path) -> None:
    """Files side by side: what differs, what the rule says, and exactly one JSON object."""
    save_spec(spec(0.1), tmp_path / "a.yaml")
    other = replace_data(spec(0.2, (0.15, 0.25)))
    save_spec(other, tmp_path / "b.yaml")
    done = in_process(tmp_path, "compare", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["moved"] == pytest.approx(0.1)
    assert found["b_takes_over"]
    assert found["different_data"] == ["web: other text (401,000 and 401,000 tokens)"]
    assert found["different_question"] == []
    assert (found["a"]["target_share"], found["b"]["interval"]) == (pytest.approx(0.1), [0.15, 0.25])
    shown = in_process(tmp_path, "compare", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")).stdout
    for text in ("share of math", "+0.100", "[0.150, 0.250]", "general loss", "epochs of math", "take over"):
        assert text in shown
    missing = in_process(tmp_path, "compare", str(tmp_path / "a.yaml"), str(tmp_path / "none.yaml"))
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)


def test_increments_over_different_bases_are_not_subtracted(tmp_path: Path) -> None:
    """Where the runs are here to tell: another seed is another base model."""
    sides = []
    for name, base in (("a", "base1"), ("b", "base2")):
        folder = tmp_path / name / "runs" / base
        folder.mkdir(parents=True)
        (folder / "done.json").write_text(json.dumps({"run": base, "kind": "base"}))
        found = spec(0.1)
        provenance = found.provenance.model_copy(update={"runs": (base,)})
        sides.append(found.model_copy(update={"provenance": provenance, "data_root": str(tmp_path / name)}))
    addresses = ("a.yaml", "b.yaml")
    assert compare(sides[0], sides[0], addresses).same_base is True
    assert compare(spec(0.1), sides[0], addresses).same_base is None
    other = compare(sides[0], sides[1], addresses)
    assert other.same_base is False
    console = Console(record=True, width=160)
    print_comparison(other, console)
    text = console.export_text()
    assert "not the same base model" in text
    (row,) = [line for line in text.splitlines() if "over the base" in line][:1]
    assert len(re.findall(r"[+-]\d", row)) == 2


def replace_data(found: MixSpec) -> MixSpec:
    provenance = found.provenance.model_copy(update={"data": {"web": "1" * 64}})
    return found.model_copy(update={"provenance": provenance})


def test_only_the_curve_s_own_range_is_asked() -> None:
    narrow = decision(1.0, -1.0)
    curves = {role: points[:1] for role, points in narrow.ratio_curves.items()}
    assert cost_of_staying(spec(0.3), replace(narrow, ratio_curves=curves)) is None
