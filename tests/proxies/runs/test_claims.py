"""Claims: two processes, two machines, clocks that jump; nothing is trained twice and nobody waits for the dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixing.errors import InputError, MixlawError
from proxies.progress import Progress
from proxies.runs import claims, launch
from proxies.runs import store as runs
from proxies.runs.claims import Claimed, ClaimLost, Watch, claim
from proxies.runs.slots import Slots, slot
from tests.proxies.memory_store import memory_store, proxy_spec
from tests.scenarios.tiny_study import ROOT

AT = Progress("r", 3, 10, 300, 50.0, 2.5, 14.0)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "lock"


def other_machine(folder: Path, *lines: str) -> subprocess.Popen[str]:
    """A process that takes itself to be on another machine, whose file locks do not reach this one."""
    code = "\n".join(
        (
            "import sys, time; from pathlib import Path; from proxies.runs import claims",
            "claims.machine_id = lambda: 'elsewhere'; claims._try_lock = lambda *a, **k: 'unknown'",
            "claims.socket.gethostname = lambda: 'node7'; claims.BEAT = 0.1",
            f"lock = Path({str(folder / 'lock')!r})",
            *lines,
        )
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


HOLD = "with claims.claim(lock) as held: print('held', flush=True); time.sleep(60)"


def held_elsewhere(folder: Path) -> subprocess.Popen[str]:
    process = other_machine(folder, HOLD)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def elsewhere(lock: Path) -> Iterator[subprocess.Popen[str]]:
    process = held_elsewhere(lock.parent)
    yield process
    process.kill()
    process.communicate()


def test_a_claim_of_another_machine_is_respected_and_names_it(
    lock: Path, elsewhere: subprocess.Popen[str]
) -> None:
    with pytest.raises(Claimed, match=rf"process {elsewhere.pid} on node7"), claim(lock, 0.3):
        pytest.fail("claimed twice")
    assert runs.state(lock.parent) == "running"
    found = claims.holder(lock)
    assert found is not None
    assert (found.host, found.here) == ("node7", False)


def test_a_dead_machines_claim_expires(
    lock: Path, elsewhere: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.kill()
    elsewhere.wait()
    monkeypatch.setattr(claims, "EXPIRY", 1.0)
    started = time.monotonic()
    with claim(lock, 0.0):
        assert 0.8 < time.monotonic() - started < 10
        assert sorted(path.name for path in lock.parent.iterdir()) == ["claim.2", "lock"]


def test_one_of_many_takes_over_from_a_dead_machine(
    lock: Path, elsewhere: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines whose locks do not reach each other all see the claim expire at the same moment."""
    elsewhere.kill()
    elsewhere.wait()
    code = (
        # Ten times what a holder takes, who gives no sign meanwhile: a busy machine may stop it for a second.
        "claims.EXPIRY = 3.0; log = lock.with_name('log')",
        "with claims.claim(lock, 30):",
        "    open(log, 'a').write('in\\n'); time.sleep(0.3); open(log, 'a').write('out\\n')",
    )
    racing = [other_machine(lock.parent, *code) for _ in range(4)]
    assert [process.wait(60) for process in racing] == [0, 0, 0, 0]
    assert lock.with_name("log").read_text() == "in\nout\n" * 4
    for process in racing:
        process.communicate()


@pytest.mark.parametrize("newest", [2, 3], ids=["just made", "its predecessor cleared away"])
def test_who_takes_over_after_the_look_keeps_the_claim(
    newest: int, lock: Path, elsewhere: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding `claim.1` void and following it, another machine has followed it, or even that one's."""
    look, sign = Watch.look, (lock.parent / "claim.1").read_bytes()
    elsewhere.kill()
    elsewhere.wait()
    others = lock.parent / f"claim.{newest}"

    def look_slowly(watch: Watch, locked: claims.Lock) -> tuple[bool, claims.Holder | None]:
        void, holder = look(watch, locked)
        if void:
            (lock.parent / "claim.1").unlink(missing_ok=True)
            others.write_bytes(sign)
        return void, holder

    monkeypatch.setattr(claims, "EXPIRY", 0.4)
    monkeypatch.setattr(Watch, "look", look_slowly)
    watch = Watch(lock)
    with open(lock, "ab") as file:
        while not others.exists():
            assert claims._acquire(lock, file.fileno(), watch) is None
    assert {path.name: path.read_bytes() for path in lock.parent.glob("claim.*")} == {others.name: sign}
    assert claims.lock_state(lock) == "free"


def test_who_was_paused_too_long_notices_before_it_writes(lock: Path) -> None:
    with claim(lock) as held:
        held.check()
        (lock.parent / "claim.2").write_bytes((lock.parent / "claim.1").read_bytes())
        with pytest.raises(ClaimLost):
            held.check()
        with pytest.raises(ClaimLost):
            held.note(AT)
    assert json.loads((lock.parent / "claim.2").read_text())["released"] is False


@pytest.mark.parametrize("jump", [-3 * 86400, 3 * 86400])
def test_no_clock_and_no_file_time_decides(
    jump: float, lock: Path, elsewhere: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a living claim dated into the past nor a dead one dated into the future is taken for the other."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    for path in lock.parent.iterdir():
        os.utime(path, (now() - jump, now() - jump))
    with pytest.raises(Claimed), claim(lock, 0.3):
        pytest.fail("claimed twice")
    elsewhere.kill()
    elsewhere.wait()
    monkeypatch.setattr(claims, "EXPIRY", 0.5)
    with claim(lock, 0.0):
        pass


def test_expiry_counts_from_the_last_sign_that_was_seen(lock: Path, elsewhere: subprocess.Popen[str]) -> None:
    clock = [0.0]
    elsewhere.kill()
    elsewhere.wait()
    watch = Watch(lock, clock=lambda: clock[0])
    assert not watch.look("unknown")[0]
    clock[0] = claims.EXPIRY - 1
    assert not watch.look("unknown")[0]
    path = lock.parent / "claim.1"
    path.write_bytes(path.read_bytes().replace(b'"beat": ', b'"beat": 9'))
    assert not watch.look("unknown")[0]
    clock[0] += claims.EXPIRY - 1
    assert not watch.look("unknown")[0]
    clock[0] += 1
    assert watch.look("unknown")[0]


def test_a_killed_process_of_this_machine_holds_nothing(lock: Path) -> None:
    code = (
        "import time; from pathlib import Path; from proxies.runs.claims import claim\n"
        f"with claim(Path({str(lock)!r})): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    other.kill()
    other.communicate()
    started = time.monotonic()
    with claim(lock, 0.0):
        assert time.monotonic() - started < 1


def test_progress_is_seen_from_outside(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with claim(lock) as held:
        held.note(AT)
        held.beat()
        found = claims.holder(lock)
        assert found is not None
        assert found.progress == AT
        assert (lock.parent / "claim.1").stat().st_size == claims.SIZE
    assert claims.holder(lock) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xff", b'{"version": 1}', b'{"host": 1, "beat": "x"}']
)
def test_a_damaged_claim_blocks_for_its_expiry_and_no_longer(
    content: bytes, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lock.parent / "claim.7").write_bytes(content)
    monkeypatch.setattr(claims, "EXPIRY", 0.4)
    with claim(lock, 5):
        assert (lock.parent / "claim.8").exists()


def test_a_second_launch_waits_and_does_not_train(tmp_path: Path) -> None:
    """The run is done by somebody else meanwhile: nothing is started."""
    store = memory_store()
    spec = proxy_spec(store)
    folder = tmp_path / spec.run_id
    runs.write_spec(folder, spec)
    said: list[Progress] = []
    ready = threading.Event()

    def train_elsewhere() -> None:
        with runs.claim(folder) as held:
            held.note(Progress(spec.run_id, 1, 2, 100, 10.0, 3.0, 1.0))
            held.beat()
            ready.set()
            time.sleep(1)
            rows = [runs.LossRow(spec.tokens, "web", 3.0, 0.1)]
            runs.finish(folder, spec, {runs.LOSSES: runs.losses_table(spec, rows)}, {})

    thread = threading.Thread(target=train_elsewhere)
    thread.start()
    assert ready.wait(10)
    # A store that is not there: a worker would fail at once.
    found = launch.launch(spec, tmp_path, tmp_path / "nothing", on_progress=said.append)
    thread.join()
    assert found == folder
    assert said[0].tokens == 100
    assert not (folder / "claim.2").exists()


def test_slots_limit_what_runs_at_once_and_a_killed_process_frees_its_own(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "slots", 1)
    code = (
        "import time; from pathlib import Path; from proxies.runs.slots import Slots, slot\n"
        f"with slot(Slots(Path({str(slots.folder)!r}), 1)): print('in', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    entered = threading.Event()

    def enter() -> None:
        with slot(slots):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    assert not entered.wait(0.7)
    with slot(slots, "cuda:0"):
        pass
    other.kill()
    other.communicate()
    assert entered.wait(5)
    thread.join()
    with slot(None):
        pass


def test_the_limit_is_read_from_the_environment(tmp_path: Path) -> None:
    from flows.settings.environment import proxy_slots

    assert proxy_slots(tmp_path, {}) is None
    assert proxy_slots(tmp_path, {"MIXLAW_MAX_PROXIES": "3"}) == Slots(tmp_path / "slots", 3)
    for bad in ("0", "-1", "many", "1.5"):
        with pytest.raises(InputError, match="MIXLAW_MAX_PROXIES"):
            proxy_slots(tmp_path, {"MIXLAW_MAX_PROXIES": bad})


def test_a_claim_in_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(MixlawError, match="cannot be written"), claim(tmp_path / "none" / "lock"):
        pytest.fail("claimed nothing")
