"""The command line: exit statuses, one line of error, stdout for results, and the commands by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from flows.cli import main as cli
from flows.cli import options
from flows.study.loading import load_study
from mixing.errors import InputError
from tests.scenarios.tiny_study import ROOT


def mixlaw(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli.main", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def status_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_every_command_explains_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert status_of("--help") == 0
    listed = " ".join(capsys.readouterr().out.split())
    for name, line in (pair for part in cli.COMMANDS.values() for pair in part.items()):
        assert f"{name} {line}" in listed
        assert " ".join(str(cli.command(name).help).split("\n\n")[0].split()) == line
        assert status_of(name, "--help") == 0
        assert "Usage: mixlaw " + name in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["run"], "Missing argument 'STUDY'. (see: mixlaw run --help)"),
        (["decide", "runs.csv"], "Missing option '--target'. (see: mixlaw decide --help)"),
        (["predict", "runs.csv"], "Missing option '--shares'. (see: mixlaw predict --help)"),
        (["predict", "none.csv", "--shares", "web=1"], "none.csv"),
        (["predict", "none.csv", "--shares", "web"], "--shares web: not a number"),
        (["spec", "show"], "Missing argument 'SPEC'. (see: mixlaw spec show --help)"),
        (["run", "a.yaml", "--speed", "3"], "No such option: --speed"),
        (["run", "none.yaml"], "none.yaml: no such study file"),
        (["run", "none.yaml", "--workers", "0"], "--workers"),
        (["fit", "none.csv", "--eval", "docs"], "none.csv"),
        (["export"], "no SPEC given"),
        (["export", "mixspec.yaml"], "no --to TARGET"),
        (["export", "mixspec.yaml", "--to", "megatron"], "mixspec.yaml: cannot be read"),
        (["export", "models:/nothing", "--to", "megatron"], "not the address of a mix"),
        (["init", "none"], "none: no such folder"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status_of(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--version") == 0
    assert capsys.readouterr().out == f"mixlaw {version('mixlaw')}\n"


def test_help_of_groups_has_no_completion(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("spec", "--help") == 0
    assert "completion" not in capsys.readouterr().out


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("run", "none.yaml", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_unexpected_error_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr("flows.cli.init.write_study", broken)
    assert status_of("init", str(tmp_path)) == 1
    err = capsys.readouterr().err
    assert err == "mixlaw: unexpected RuntimeError: first second. Run again with --debug to see where\n"


def test_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m flows.cli.main export --list | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_init_writes_a_study_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, size in (("My Wiki", 30_000), ("no", 90_000), ("empty", 0)):
        (tmp_path / name).mkdir()
        if size:
            (tmp_path / name / "a.txt").write_text("x" * size)
    out = tmp_path / "study.yaml"
    assert status_of("init", str(tmp_path), "--out", str(out)) == 0
    assert "My-Wiki is general by its name" in capsys.readouterr().out
    study = load_study(out)
    assert (study.names("general"), study.names("target")) == (("My-Wiki",), ("no",))
    assert study.path(study.domains["My-Wiki"].paths[0]) == tmp_path / "My Wiki"
    # Enough for a trainer's command line: its sequences, its batch, and steps of them.
    assert study.spec is not None
    assert study.spec.global_batch_tokens % study.spec.sequence_length == 0
    assert (study.spec.total_tokens or 0) >= study.spec.global_batch_tokens
    assert study.runner.kind == "local"
    assert status_of("init", str(tmp_path), "--out", str(out)) == 2
    assert "exists already" in capsys.readouterr().err
    assert status_of("init", str(tmp_path / "nofolder"), "--out", str(out)) == 2
    assert "nofolder: no such folder" in capsys.readouterr().err


def test_weights(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    file.write_text(json.dumps({"c4": 0.25, "wiki=en": 0.75}))
    assert options.weights(["a", "b=0.5", f"@{file}"], "general") == {
        "a": 1,
        "b": 0.5,
        "c4": 0.25,
        "wiki=en": 0.75,
    }
    for wrong in (["a", "a=2"], ["a=x"], ["a=-1"], ["=1"], [f"@{tmp_path}/none"], ["a=nan"]):
        with pytest.raises(InputError, match="--general"):
            options.weights(wrong, "general")
    file.write_text('{"a": true}')
    with pytest.raises(InputError, match="'a' is True"):
        options.weights([f"@{file}"], "general")


def test_token_counts() -> None:
    assert [options.token_count(text) for text in ("500000", "2e6", "20B", "1_000", None)] == [
        500_000,
        2_000_000,
        20_000_000_000,
        1_000,
        None,
    ]
    for wrong in ("0", "-1", "x", "1e40", ""):
        with pytest.raises(InputError, match="--tokens"):
            options.token_count(wrong)
    assert [options.parameter_count(text) for text in ("70M", "1e3", "7", None)] == [
        70_000_000,
        1_000,
        7,
        None,
    ]
    with pytest.raises(InputError, match="--params 'abc' is not a number of parameters"):
        options.parameter_count("abc")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (InputError("level 2 is not between 0 and 1"), "--level 2 is not between 0 and 1"),
        (InputError("kl, worst_case: for more"), "--kl, --worst-case: for more"),
        (
            InputError("max_shares code=2: not a share", "Lower min_shares"),
            "--max code=2: not a share. Lower --min",
        ),
        (
            InputError("no target set", "Name one as target"),
            "no target set. Name one as --target",
        ),
        (
            InputError("no mixture", "Raise max_epochs or tokens"),
            "no mixture. Raise --max-epochs or tokens",
        ),
    ],
)
def test_arguments_are_named_as_options(error: InputError, shown: str) -> None:
    with pytest.raises(InputError) as caught, options.options_named():
        raise error
    assert str(caught.value) == shown


def test_ui_before_anything_is_logged(tmp_path: Path) -> None:
    done = mixlaw("ui", cwd=tmp_path, MIXLAW_HOME=str(tmp_path / "home"))
    assert done.returncode == 2
    assert "nothing is logged here yet" in done.stderr
    assert not (tmp_path / "home").exists()


def test_a_login_in_prefects_address_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://user:hush@127.0.0.1:4200/api")
    with pytest.raises(SystemExit) as ended:
        cli.main(["status", "study.yaml"])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "PREFECT_API_AUTH_STRING" in err
    assert "hush" not in err
