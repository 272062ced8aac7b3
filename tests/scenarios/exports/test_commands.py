"""`mixlaw export --data` and `mixlaw check` as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.cli.main import main
from mixing.spec.yaml_file import save_spec
from tests.scenarios.exports.corpus import WINDOWS, Store, spec_over
from tests.scenarios.tiny_study import ROOT


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Mixlaw = Callable[..., Done]


@pytest.fixture
def mixlaw(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mixlaw:
    """The command in this process: loaders take seconds to import."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return Done(int(str(ended.value.code)), *capfd.readouterr())

    return run


@pytest.fixture
def spec(store: Store, tmp_path: Path) -> Path:
    save_spec(spec_over(store), tmp_path / "mixspec.yaml")
    return tmp_path / "mixspec.yaml"


def test_export_check_and_a_wrong_file(mixlaw: Mixlaw, spec: Path, tmp_path: Path) -> None:
    pytest.importorskip("megatron.core")
    done = mixlaw("export", str(spec), "--to", "megatron", "--out", "blend.json")
    assert done.returncode == 0, done.stderr
    done = mixlaw("check", str(spec), "--to", "megatron", "--file", "blend.json")
    assert done.returncode == 0, done.stderr
    assert "read by megatron-core 0.16.1" in done.stdout
    assert f"{WINDOWS} windows apportioned" in done.stdout
    blend = json.loads((tmp_path / "blend.json").read_text())
    blend["train"][0] = "0.1"
    (tmp_path / "blend.json").write_text(json.dumps(blend))
    done = mixlaw("check", str(spec), "--to", "megatron", "--file", "blend.json", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert not found["met"]
    assert not found["stages"][0]["domains"]["web"]["met"]
    assert "of the tokens drawn, not 0.7" in done.stderr
    assert "Traceback" not in done.stderr


def test_data_is_written_and_the_file_points_at_it(mixlaw: Mixlaw, spec: Path, tmp_path: Path) -> None:
    pytest.importorskip("grain")
    arguments = ("export", str(spec), "--to", "maxtext", "--data", "data", "--out", "mix.json")
    done = mixlaw(*arguments)
    assert done.returncode == 0, done.stderr
    assert "4 parts of array_record data written" in done.stderr
    paths = {name: entry["path"] for name, entry in json.loads((tmp_path / "mix.json").read_text()).items()}
    assert paths["web"] == f"{tmp_path}/data/web/*.array_record"
    assert len(list((tmp_path / "data" / "web").glob("*.array_record"))) == 2
    done = mixlaw(*arguments)
    assert "0 parts of array_record data written, 4 were there" in done.stderr
    check = ("check", str(spec), "--to", "maxtext", "--file", "mix.json", "--data", "data", "--json")
    done = mixlaw(*check)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["loader"] == "grain 0.2.18"
    elsewhere = mixlaw("check", str(spec), "--to", "maxtext", "--data", "nowhere")
    assert elsewhere.returncode == 2
    assert "there is no array_record data of web" in elsewhere.stderr


@pytest.mark.parametrize(("target", "module"), [("huggingface", "datasets"), ("maxtext", "grain")])
def test_data_of_another_length_is_not_written_over(
    mixlaw: Mixlaw, store: Store, spec: Path, tmp_path: Path, target: str, module: str
) -> None:
    pytest.importorskip(module)
    export = ("--to", target, "--data", "data", "--out", "mix.json")
    assert mixlaw("export", str(spec), *export).returncode == 0
    save_spec(spec_over(store).model_copy(update={"sequence_length": 256}), tmp_path / "half.yaml")
    written = (tmp_path / "mix.json").read_bytes()
    done = mixlaw("export", "half.yaml", *export)
    assert done.returncode == 2
    assert "data/web holds windows of 512 tokens, not windows of 256 tokens" in done.stderr
    assert "Give another folder, or delete this one" in done.stderr
    assert (tmp_path / "mix.json").read_bytes() == written
    done = mixlaw("check", "half.yaml", "--to", target, "--file", "mix.json")
    assert done.returncode == 1
    assert "windows of 512 tokens are drawn, not of the spec's sequence_length 256" in done.stderr
    # The folders are those that the file names, whether --data is given or not.
    assert mixlaw("check", str(spec), "--to", target, "--file", "mix.json").returncode == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": ', "mix.json: is not a file of maxtext (not JSON"),
        ('{"train": ["1", "/web"]}', "mix.json: is not a file of maxtext"),
        (
            '{"web": {"path": "/nowhere/web/*.array_record", "weight": 1}}',
            "/nowhere/web/*.array_record does not",
        ),
    ],
)
def test_a_file_that_cannot_be_checked(
    mixlaw: Mixlaw, spec: Path, tmp_path: Path, text: str, said: str
) -> None:
    pytest.importorskip("grain")
    (tmp_path / "mix.json").write_text(text)
    done = mixlaw("check", str(spec), "--to", "maxtext", "--file", "mix.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_killed_and_run_again(mixlaw: Mixlaw, spec: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    command = [sys.executable, "-m", "flows.cli.main", "export", str(spec), "--to", "huggingface"]
    command += ["--data", "data", "--out", "mix.json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(tmp_path.glob("data/web/.mixlaw/*.json")):
            time.sleep(0.001)
        process.kill()
    if process.returncode == -signal.SIGKILL:
        assert not (tmp_path / "mix.json").exists()
    done = mixlaw(*command[3:])
    assert done.returncode == 0, done.stderr
    done = mixlaw("check", str(spec), "--to", "huggingface", "--file", "mix.json", "--data", "data")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("check", "SPEC", "--to", "lingua"), 2, "lingua: its loader cannot be run without the trainer"),
        (("check", "SPEC", "--to", "nobody"), 2, "'nobody' is not an export target"),
        (("check", "gone.yaml", "--to", "megatron"), 2, "gone.yaml"),
        (("export", "SPEC", "--to", "megatron", "--data", "d"), 2, "reads the token files as they are"),
        (("export", "SPEC", "--to", "torchtitan", "--data", "d"), 2, "configured in its own code"),
    ],
)
def test_what_cannot_be_done(
    mixlaw: Mixlaw, spec: Path, tmp_path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    given = [str(spec) if argument == "SPEC" else argument for argument in arguments]
    done = mixlaw(*given)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "d").exists()
