"""`mixlaw predict` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cli import main as cli
from mixing.decision.predict import predict
from mixing.test_problems import LANDSCAPES


def test_a_mixture_is_predicted_with_intervals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = LANDSCAPES[0].study([0.2, 0.4, 0.6, 0.8], [250_000, 500_000, 1_000_000])
    runs = tmp_path / "runs.parquet"
    table.rows.write_parquet(runs)
    arguments = ["predict", str(runs), "--shares", "general=0.3", "--shares", "target=0.7", "--tokens", "1M"]
    printed = []
    for extra in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, *extra])
        assert ended.value.code == 0
        printed.append(capsys.readouterr().out)
    answer = json.loads(printed[1])
    assert (answer["shares"], answer["tokens"]) == ({"general": 0.3, "target": 0.7}, 1_000_000)
    expected = predict(str(runs), {"general": 0.3, "target": 0.7}, tokens=1_000_000)
    assert answer["predicted"] == {name: one.to_dict() for name, one in expected.items()}
    for name, one in expected.items():
        (line,) = [line for line in printed[0].splitlines() if line.split()[:1] == [name]]
        assert f"{one.loss:.4f}" in line
        assert f"[{one.interval[0]:.4f}, {one.interval[1]:.4f}]" in line
