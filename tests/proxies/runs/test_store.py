"""The run store and its workers: finished work is kept, whatever is killed, and failures say what to do."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mixing.errors import InputError, MixlawError
from proxies.data.token_store import TokenStore
from proxies.data.tokenizer import train_bpe
from proxies.progress import Progress
from proxies.runs import store as runs
from proxies.runs.launch import WorkerDied, launch
from proxies.spec import ProxySpec, log_budgets
from proxies.train import train
from tests.proxies.data.small_corpora import corpus, rebuild, texts
from tests.proxies.memory_store import memory_store, proxy_spec

ENDLESS = {"general": 1e6, "target": 1e6}


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real token store of two domains."""
    folder = tmp_path_factory.mktemp("study")
    some = {"general": texts(400, seed=1), "target": [text[::-1] for text in texts(400, seed=2)]}
    train_bpe((text for part in some.values() for text in part), 300, folder / "tokenizer.json")
    sources = [corpus(folder / name, part) for name, part in some.items()]
    rebuild(sources, folder / "tokenizer.json", folder / "tokens")
    return folder / "tokens"


@pytest.fixture(scope="module")
def store(store_dir: Path) -> TokenStore:
    return TokenStore.open(store_dir)


@pytest.fixture(scope="module")
def base(store: TokenStore, store_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished base run, launched as the flow does."""
    return launch(small(store), tmp_path_factory.mktemp("runs"), store_dir)


def small(store: TokenStore, steps: int = 40, **changes: object) -> ProxySpec:
    tokens = steps * 256
    fields = {"context": 32, "batch_tokens": 256, "tokens": tokens, "budgets": log_budgets(tokens, 256, 8)}
    return proxy_spec(store, **{**fields, **changes})


def proxy(store: TokenStore, base: Path, **changes: object) -> ProxySpec:
    return small(store, kind="proxy", base=base.name, mixture={"general": 0.5, "target": 0.5}, **changes)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start_worker(run_dir: Path, spec: ProxySpec, store_dir: Path, base: Path) -> subprocess.Popen[str]:
    runs.write_spec(run_dir, spec)
    command = [
        sys.executable,
        "-m",
        "proxies.runs.worker",
        str(run_dir),
        str(store_dir),
        str(base / runs.WEIGHTS),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_launched_runs_are_done_once(
    store: TokenStore, store_dir: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = proxy(store, base)
    seen: list[Progress] = []
    folder = launch(spec, base.parent, store_dir, base / runs.WEIGHTS, on_progress=seen.append)
    assert folder == base.parent / spec.run_id
    assert seen[-1].step == 40
    assert seen[-1].run == spec.run_id
    assert seen[-1].tokens_per_s > 0
    assert runs.check_done(folder)["tokens"] == spec.tokens
    assert runs.state(folder) == "done"
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **options: pytest.fail("worked again"))
    assert launch(spec, base.parent, store_dir, base / runs.WEIGHTS) == folder


def test_a_worker_and_the_plain_function_agree(
    store: TokenStore, store_dir: Path, base: Path, tmp_path: Path
) -> None:
    spec = proxy(store, base, seed=5)
    launched = launch(spec, tmp_path / "launched", store_dir, base / runs.WEIGHTS)
    train(spec, tmp_path / spec.run_id, store, base / runs.WEIGHTS)
    assert (launched / runs.LOSSES).read_bytes() == (tmp_path / spec.run_id / runs.LOSSES).read_bytes()


def test_a_worker_killed_with_9_is_told_and_continued(
    store: TokenStore, store_dir: Path, base: Path, tmp_path: Path
) -> None:
    spec = proxy(store, base, steps=600)
    victim = tmp_path / spec.run_id
    worker = start_worker(victim, spec, store_dir, base)
    until(lambda: (victim / runs.CHECKPOINT).exists())
    assert runs.state(victim) == "running"
    worker.kill()
    worker.communicate()
    assert runs.state(victim) == "partial"
    (victim / ".losses.parquet.x.partial").write_bytes(b"left by a process that was killed")
    launch(spec, tmp_path, store_dir, base / runs.WEIGHTS)
    assert not list(victim.glob(".*.partial"))
    train(spec, tmp_path / "straight", store, base / runs.WEIGHTS)
    assert (victim / runs.LOSSES).read_bytes() == (tmp_path / "straight" / runs.LOSSES).read_bytes()


def test_launch_tells_of_a_worker_that_was_killed(
    store: TokenStore, store_dir: Path, base: Path, tmp_path: Path
) -> None:
    spec = proxy(store, base, steps=4000, max_epochs=ENDLESS)

    def kill(at: Progress) -> None:
        os.kill(_worker_of(spec.run_id), signal.SIGKILL)

    with pytest.raises(WorkerDied, match=f"run {spec.run_id}: its worker was killed by SIGKILL") as error:
        launch(spec, tmp_path, store_dir, base / runs.WEIGHTS, on_progress=kill)
    assert error.value.process_died
    assert "continues from its last checkpoint" in error.value.hint
    assert runs.state(tmp_path / spec.run_id) == "partial"


def test_an_interrupted_launch_leaves_no_worker(
    store: TokenStore, store_dir: Path, base: Path, tmp_path: Path
) -> None:
    spec = proxy(store, base, steps=4000, max_epochs=ENDLESS)

    def interrupt(at: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch(spec, tmp_path, store_dir, base / runs.WEIGHTS, on_progress=interrupt)
    assert runs.state(tmp_path / spec.run_id) == "partial"


def test_a_worker_ends_with_its_parent(
    store: TokenStore, store_dir: Path, base: Path, tmp_path: Path
) -> None:
    spec = proxy(store, base, steps=100_000, max_epochs=ENDLESS)
    code = (
        "import sys; from pathlib import Path; from proxies.runs.launch import launch\n"
        "from proxies.runs.store import read_spec\n"
        "run, store, weights = map(Path, sys.argv[1:]); launch(read_spec(run), run.parent, store, weights)"
    )
    folder = tmp_path / spec.run_id
    runs.write_spec(folder, spec)
    arguments = [str(folder), str(store_dir), str(base / runs.WEIGHTS)]
    parent = subprocess.Popen([sys.executable, "-c", code, *arguments])
    until(lambda: runs.state(folder) == "running")
    parent.kill()
    parent.wait()
    until(lambda: runs.state(folder) == "partial", seconds=10)


def test_a_diverged_run_is_named_and_not_tried_again(
    store: TokenStore, store_dir: Path, base: Path, tmp_path: Path
) -> None:
    spec = proxy(store, base, learning_rate=1e30)
    with pytest.raises(
        MixlawError, match=rf"run {spec.run_id} \(general 0\.5, target 0\.5\) diverged"
    ) as first:
        launch(spec, tmp_path, store_dir, base / runs.WEIGHTS)
    assert "Lower its learning rate" in first.value.hint
    assert runs.state(tmp_path / spec.run_id) == "failed"
    started = time.monotonic()
    with pytest.raises(MixlawError, match="diverged at step") as again:
        launch(spec, tmp_path, store_dir, base / runs.WEIGHTS)
    assert time.monotonic() - started < 0.5
    assert f"delete {tmp_path / spec.run_id}" in again.value.hint


def test_bad_input_fails_as_such_and_is_tried_again(
    store: TokenStore, store_dir: Path, base: Path, tmp_path: Path
) -> None:
    spec = proxy(store, base)
    with pytest.raises(InputError, match="no weights of its base"):
        launch(spec, tmp_path, store_dir)
    assert runs.state(tmp_path / spec.run_id) == "failed"
    assert "no weights of its base" in str(runs.failure(tmp_path / spec.run_id))
    launch(spec, tmp_path, store_dir, base / runs.WEIGHTS)
    assert runs.state(tmp_path / spec.run_id) == "done"
    assert runs.failure(tmp_path / spec.run_id) is None


def test_altered_results_are_noticed(store: TokenStore, store_dir: Path, base: Path, tmp_path: Path) -> None:
    memory = memory_store()
    spec = proxy_spec(memory)
    folder = tmp_path / spec.run_id
    train(spec, folder, memory)
    (folder / runs.LOSSES).write_bytes(b"other")
    with pytest.raises(MixlawError, match=r"losses\.parquet: missing or altered since") as error:
        launch(spec, tmp_path, store_dir)
    assert str(folder) in error.value.hint


def test_a_run_has_one_process(tmp_path: Path) -> None:
    store = memory_store()
    spec = proxy_spec(store)
    runs.write_spec(tmp_path / "run", spec)
    code = (
        "import sys, time; from pathlib import Path; from proxies.runs.store import claim\n"
        "with claim(Path(sys.argv[1])): print('claimed', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "claimed\n"
    assert runs.state(tmp_path / "run") == "running"
    with (
        pytest.raises(runs.Claimed, match="another process is training it"),
        runs.claim(tmp_path / "run", 0.2),
    ):
        pytest.fail("claimed twice")
    other.kill()
    other.communicate()
    assert runs.state(tmp_path / "run") == "partial"
    train(spec, tmp_path / "run", store)
    assert runs.state(tmp_path / "run") == "done"


def test_a_full_disk_is_one_clear_error_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    """The process may write no file over 20 kB, as if the disk ended there; the weights are larger."""
    store = memory_store()
    spec = proxy_spec(store)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(MixlawError, match=r"checkpoint\.pt: cannot be written: File too large"):
            train(spec, tmp_path / "run", store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["claim.1", "lock", "spec.json"]
    train(spec, tmp_path / "run", store)
    assert runs.state(tmp_path / "run") == "done"


def test_a_full_disk_reaches_the_launcher_as_its_reason(
    store: TokenStore, store_dir: Path, base: Path, tmp_path: Path
) -> None:
    spec = proxy(store, base)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # workers inherit it
    try:
        with pytest.raises(MixlawError, match=r"checkpoint\.pt: cannot be written: File too large"):
            launch(spec, tmp_path, store_dir, base / runs.WEIGHTS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert runs.state(tmp_path / spec.run_id) == "failed"


def test_a_folder_that_cannot_be_made_is_one_clear_error(store: TokenStore, store_dir: Path) -> None:
    with pytest.raises(MixlawError, match=r"/proc/runs/.*: cannot be made") as error:
        launch(small(store), Path("/proc/runs"), store_dir)
    assert "MIXLAW_HOME" in error.value.hint


def test_states_of_folders(tmp_path: Path) -> None:
    spec = proxy_spec(memory_store())
    folder = tmp_path / spec.run_id
    assert runs.state(folder) == "absent"
    runs.write_spec(folder, spec)
    assert runs.state(folder) == "partial"
    assert runs.read_spec(folder) == spec
    runs.record_failure(folder, spec, runs.Failure("error", "no luck", "try again"))
    assert runs.state(folder) == "failed"
    assert runs.failure(folder) == "no luck"
    (folder / runs.DONE).write_text(json.dumps({"version": 1}))
    assert runs.state(folder) == "failed"  # the marker alone is no result
    (folder / runs.LOSSES).write_bytes(b"")
    assert runs.state(folder) == "done"
    (folder / runs.DONE).write_text("{")
    assert runs.state(folder) == "failed"


def test_a_folder_is_of_one_run(tmp_path: Path) -> None:
    store = memory_store()
    runs.write_spec(tmp_path / "run", proxy_spec(store))
    with pytest.raises(InputError, match="the folder of another run"):
        train(proxy_spec(store, seed=2), tmp_path / "run", store)
    (tmp_path / "run" / runs.SPEC).write_text('{"kind": "base"}')
    with pytest.raises(InputError, match=r"spec\.json: not the spec of a run"):
        runs.read_spec(tmp_path / "run")
    with pytest.raises(InputError, match=r"spec\.json: not found"):
        runs.read_spec(tmp_path / "nowhere")


def _worker_of(run: str) -> int:
    """The process id of the run's worker, among our children."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            status, command = (folder / "status").read_text(), (folder / "cmdline").read_text()
        except OSError:
            continue
        if f"PPid:\t{os.getpid()}\n" in status and run in command:
            return int(folder.name)
    raise AssertionError("no such worker")
