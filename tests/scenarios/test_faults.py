"""What goes wrong, on purpose: one clear line with the next step, the right status, nothing half-written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.cli import main as cli
from tests.conftest import Finished
from tests.scenarios.tiny_study import (
    STUDY,
    finished_runs,
    in_process,
    mixlaw,
    open_files_below,
    running,
    signal_when,
    wait_for,
    workers,
    write_study,
)


def one_line(stderr: str) -> str:
    """The error: the last line, and the only one that is not progress."""
    assert "Traceback" not in stderr
    lines = [line for line in stderr.splitlines() if line.startswith("mixlaw: ")]
    assert len(lines) == 1, stderr
    assert stderr.splitlines()[-1] == lines[0]
    return lines[0]


def leftovers(folder: Path) -> list[Path]:
    """Half-written files."""
    return [path for path in folder.rglob("*") if path.name.endswith((".partial", ".tmp"))]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return int(ended.value.code or 0), capsys.readouterr().err


# Killed at five moments.


def orphans(home: Path) -> list[int]:
    """Processes that still work below `home`, although what started them is gone.

    A worker looks for its parent twice a second, if it gets to run that often: a busy machine has a few seconds.
    """
    for _ in range(50):
        if not open_files_below(home):
            break
        time.sleep(0.1)
    return open_files_below(home)


def run_states(folder: Path) -> tuple[int, int]:
    done = len(list(folder.glob("runs/*/done.json")))
    return done, len(list(folder.glob("runs/*/spec.json"))) - done


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "tokens": lambda folder: (folder / "tokenizer.json").exists(),
    "base": lambda folder: run_states(folder) == (0, 1) and bool(list(folder.glob("runs/*/checkpoint.pt"))),
    "inside a proxy": lambda folder: run_states(folder)[0] >= 2 and run_states(folder)[1] >= 1,
    "confirmation": lambda folder: (folder / "decision.json").exists(),
    "publishing": lambda folder: (folder / "mixspec.yaml").exists(),
}
FAST = {"inside a proxy": 0, "publishing": 5}
"""The moments that fast tests have, and how many runs after the base are done before."""


def begun(finished: Finished, database: Path, folder: Path, runs_done: int) -> tuple[Path, Path]:
    """The study with its base and so many of the later runs, and nothing that follows from them; and its home."""
    shutil.copytree(finished.study.parent, folder)
    home = folder / "home"
    confirmation = json.loads((home / "tiny" / "confirmation.json").read_text())["run"]
    kinds = {path.parent: json.loads(path.read_text())["kind"] for path in home.glob("tiny/runs/*/spec.json")}
    base, *later = sorted(kinds, key=lambda run: (kinds[run] != "base", run.name == confirmation, run.name))
    for run in later[runs_done:]:
        shutil.rmtree(run)
    for name in ("answer.json", "confirmation.json", "decision.json", "fits.json", "mixspec.yaml"):
        (home / "tiny" / name).unlink()
    for place in ("tiny/figures", "mlartifacts"):
        shutil.rmtree(home / place)
    shutil.copy(database, home / "mlflow.db")
    (home / "tiny" / "runs" / "answered.json").unlink()
    assert finished_runs(home / "tiny").keys() == {base.name, *(run.name for run in later[:runs_done])}
    return folder / "study.yaml", home


@pytest.mark.parametrize(
    "moment",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in MOMENTS],
)
def test_killed_and_run_again(moment: str, finished: Finished, empty_database: Path, tmp_path: Path) -> None:
    if moment in FAST:
        study, home = begun(finished, empty_database, tmp_path / "copy", FAST[moment])
    else:
        study, home = write_study(tmp_path), tmp_path / "home"
    assert signal_when(home, study, MOMENTS[moment]) == -signal.SIGKILL
    assert not orphans(home)
    kept = finished_runs(home / "tiny")
    # With another number of workers: it changes neither the runs nor the answer.
    done = mixlaw(home, "run", str(study), "--workers", "1")
    assert done.returncode == 0, done.stderr
    after = finished_runs(home / "tiny")
    assert kept.items() <= after.items(), "a finished run was trained again"
    assert set(after) == set(finished_runs(finished.folder))
    assert decision(home / "tiny") == decision(finished.folder)
    assert not leftovers(home)
    with sqlite3.connect(home / "mlflow.db") as database:
        kinds = database.execute("select value, count(*) from tags where key = 'mixlaw.kind' group by value")
        assert dict(kinds.fetchall()) == {"study": 1, "base": 1, "proxy": 4, "confirmation": 1}
        assert database.execute("select count(*) from model_versions").fetchone() == (1,)


def decision(folder: Path) -> dict[str, object]:
    return json.loads((folder / "decision.json").read_text())


def test_a_killed_flow_is_reaped_and_a_killed_worker_started_again(
    finished: Finished, empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own embedded Prefect, as a user has it."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    study, home = begun(finished, empty_database, tmp_path / "copy", 2)
    assert signal_when(home, study, lambda folder: run_states(folder)[1] >= 1) == -signal.SIGKILL
    assert not orphans(home)
    with running(home, study) as process:
        worker = wait_for(process, lambda: workers(home))[0]
        os.kill(worker, signal.SIGKILL)
        assert process.wait() == 0, (home.parent / "home.log").read_text()
    with sqlite3.connect(home / "prefect" / "prefect.db") as database:
        states = database.execute("select state_type from flow_run order by created").fetchall()
        assert states == [("CRASHED",), ("COMPLETED",)]
        names = {name for (name,) in database.execute("select name from task_run")}
        assert {"catalogue", "tokens", "base", "proxy target=0.25 seed=0", "publish to MLflow"} <= names
        still_open = database.execute(
            "select count(*) from task_run where state_type in ('RUNNING', 'PENDING')"
        )
        assert still_open.fetchone() == (0,)
        retried = database.execute("select max(run_count) from task_run where name like 'proxy%'")
        assert retried.fetchone() == (2,)
        assert {key for (key,) in database.execute("select key from artifact")} == {
            "tiny-runs",
            "tiny-decision",
        }


def test_ctrl_c(prefect_server: None, tmp_path: Path) -> None:
    study = write_study(tmp_path)
    home = tmp_path / "home"
    status = signal_when(home, study, lambda folder: run_states(folder) == (0, 1), signal.SIGINT)
    assert status == 130
    line = one_line((tmp_path / "home.log").read_text())
    assert line.startswith("mixlaw: interrupted; finished runs are kept: run again to resume")
    assert "MIXLAW_HOME=" in line
    assert not orphans(home)
    assert not leftovers(home / "tiny" / "tokens")


# Bad input to a study: found before anything is started.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "corpora" / "code"), "domains.code.paths"),
        (lambda folder: (folder / "corpora" / "code" / "text.jsonl").write_text(""), "'code'"),
        (
            lambda folder: (folder / "study.yaml").write_text(STUDY.replace("target_shares", "target_share")),
            "proxies.target_share: unknown key (and 1 more). Did you mean target_shares?",
        ),
        (
            lambda folder: (folder / "study.yaml").write_text(STUDY.replace("tokens: 16k", "tokens: 16M")),
            "max_epochs",
        ),
    ],
    ids=["missing folder", "empty domain", "misspelt key", "too little text"],
)
def test_bad_study(
    change: Callable[[Path], object], message: str, tmp_path: Path, prefect_server: None
) -> None:
    study = write_study(tmp_path)
    change(tmp_path)
    done = mixlaw(tmp_path / "home", "run", str(study))
    assert done.returncode == 2
    assert message in one_line(done.stderr)
    assert done.stdout == ""
    assert not leftovers(tmp_path)
    assert not list((tmp_path / "home").glob("tiny/runs/*"))


# Bad runs tables.


def table(
    *, share: float = 0.75, loss: str = "3.1", base: bool = True, ratios: tuple[float, ...] = (0.25, 0.5)
) -> str:
    rows = ["run,share.docs,share.code,params,tokens,seed,eval,loss"]
    if base:
        rows += ["base,,,1000,0,0,docs,3.0", "base,,,1000,0,0,code,3.0"]
    for ratio in ratios:
        mixture = f"r{ratio},{1 - ratio},{ratio},1000"
        for tokens in range(100, 1100, 100):
            change = ratio * tokens / 1e4
            rows += [f"{mixture},{tokens},0,docs,{3 + change}", f"{mixture},{tokens},0,code,{3 - change}"]
    rows += [f"odd,{1 - 0.75},{share},1000,100,0,{name},{loss}" for name in ("docs", "code")]
    return "\n".join(rows) + "\n"


DECIDE = ("--general", "docs", "--target", "code", "--tolerance", "0", "--tokens", "1000")


@pytest.mark.parametrize("command", ["fit", "decide"])
def test_a_share_row_that_does_not_sum_to_1(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(table(share=0.85))
    options = ("--eval", "docs") if command == "fit" else DECIDE
    status, err = printed(capsys, command, str(path), *options)
    assert status == 2
    assert "shares of run 'odd' sum to 1.1, not 1" in one_line(err)


def test_losses_that_are_not_numbers_are_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(table(loss="nan", ratios=(0.2, 0.4, 0.6, 0.8)))
    with pytest.raises(SystemExit) as ended:
        cli.main(["decide", str(path), *DECIDE, "--json"])
    assert ended.value.code == 0
    answer = json.loads(capsys.readouterr().out)
    assert any("odd" in warning for warning in answer["warnings"])
    only = [line for line in path.read_text().splitlines() if line.startswith(("run,", "odd"))]
    path.write_text("\n".join(only) + "\n")
    status, err = printed(capsys, "decide", str(path), *DECIDE)
    assert status == 2
    assert "no finite loss" in one_line(err)


def test_no_base_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(table(base=False))
    with pytest.raises(SystemExit) as ended:
        cli.main(["decide", str(path), *DECIDE, "--json"])
    assert ended.value.code == 0
    answer = json.loads(capsys.readouterr().out)
    # interfaces.md: null where there are no base rows.
    assert answer["critical_ratio"] is None
    assert answer["next_runs"]


def test_one_mixture_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(table(ratios=(0.5,)).replace("odd,0.25,0.75", "odd,0.5,0.5"))
    with pytest.raises(SystemExit):
        cli.main(["decide", str(path), *DECIDE, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["critical_ratio"] is None
    assert answer["next_runs"]


# A study that is damaged, or a machine that is.


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Finished:
    """The finished study, to be broken."""
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    return Finished(tmp_path / "copy" / "study.yaml", tmp_path / "copy" / "home", "", "")


def test_a_truncated_token_file(copied: Finished) -> None:
    shard = next((copied.folder / "tokens" / "docs").glob("train-*.bin"))
    with open(shard, "r+b") as file:
        file.truncate(100)
    before = finished_runs(copied.folder)
    done = mixlaw(copied.home, "run", str(copied.study))
    assert done.returncode == 2
    assert shard.name in one_line(done.stderr)
    assert finished_runs(copied.folder) == before


def test_a_diverged_proxy_does_not_sink_the_study(copied: Finished) -> None:
    run = next(
        path.parent
        for path in copied.folder.glob("runs/*/spec.json")
        if json.loads(path.read_text())["mixture"].get("code") == 0.9
    )
    from proxies.runs import store as runs

    spec = runs.read_spec(run)
    (run / "done.json").unlink()
    runs.record_failure(
        run, spec, runs.Failure("divergence", "training loss is nan", "Lower its learning rate")
    )
    for name in ("decision.json", "confirmation.json", "mixspec.yaml"):
        (copied.folder / name).unlink()
    done = mixlaw(copied.home, "run", str(copied.study))
    assert done.returncode == 0, done.stderr
    assert "failed: proxy target=0.9 seed=0: training loss is nan" in done.stdout
    # Three proxies and the confirmation.
    assert decision(copied.folder)["n_runs"] == 4
    status = json.loads(in_process(copied.home, "status", str(copied.study), "--json").stdout)
    assert status["failed"] == 1


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own; skips where this process may not mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("size", ["420k", "1500k"], ids=["tokens", "results"])
def test_a_full_disk(size: str, tmp_path: Path, prefect_server: None) -> None:
    study = write_study(tmp_path)
    with small_disk(tmp_path / "disk", size) as disk:
        done = mixlaw(disk / "home", "run", str(study))
        assert done.returncode == 1, done.stderr
        assert str(disk) in one_line(done.stderr)
        assert not leftovers(disk)


def test_a_read_only_disk(copied: Finished, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "100m") as disk:
        shutil.copytree(copied.home, disk / "home")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = mixlaw(disk / "home", "run", str(copied.study))
        assert done.returncode == 1
        assert str(disk) in one_line(done.stderr)


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    done = mixlaw(tmp_path / "file" / "home", "run", str(study))
    assert done.returncode == 1
    assert "MIXLAW_HOME" in one_line(done.stderr)


def test_mlflow_unreachable_and_back(copied: Finished, mlflow_uri: str, tmp_path: Path) -> None:
    """Everything is kept, the mix spec too, and running again sends it."""
    (copied.folder / "mixspec.yaml").unlink()
    uri = "http://127.0.0.1:9"
    done = mixlaw(copied.home, "run", str(copied.study), MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 1
    line = one_line(done.stderr)
    assert f"MLflow at {uri}" in line
    assert "mixlaw run" in line
    assert (copied.folder / "mixspec.yaml").exists()
    assert len(finished_runs(copied.folder)) == 6
    again = mixlaw(copied.home, "run", str(copied.study), "--json", MLFLOW_TRACKING_URI=mlflow_uri)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["runs"]["trained_now"] == 0
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select count(*) from model_versions").fetchone() == (1,)
    assert os.path.getsize(copied.folder / "mixspec.yaml") > 0
