"""Claims: one process works on a folder at a time, on one machine or on several that share a file system.

A claim has two halves. `lock` is a file lock, exact on one machine: the kernel lets go of it whatever ends the
process. `claim.<n>` says who holds it and how far the work is, for machines between which file locks do not
reach. Its owner changes it every BEAT seconds. Who has watched it unchanged for EXPIRY seconds *by its own
monotonic clock* may take over, by creating `claim.<n+1>`, which only one process can. No machine's clock is
compared with another's and no file time decides anything, so clocks may be wrong, or jump.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from mixing.errors import MixlawError
from proxies.progress import Progress

VERSION = 1
BEAT = 5.0
"""Seconds between two signs of life."""
EXPIRY = 60.0
"""Seconds without a sign after which a claim of another machine is void. More than file systems cache."""
POLL = 0.2
SIZE = 1024
"""Bytes of a claim: it is rewritten in place, at one length, so that readers elsewhere keep the same file."""

Lock = Literal["free", "held", "unknown"]


@dataclass(frozen=True)
class Holder:
    """Who works on a folder. `machine` is the running kernel's id, the same in all containers on it."""

    host: str
    machine: str
    pid: int
    beat: int = 0
    released: bool = False
    progress: Progress | None = None

    @property
    def here(self) -> bool:
        return self.machine == machine_id()

    def __str__(self) -> str:
        return f"process {self.pid}" + ("" if self.here else f" on {self.host}")


class Claimed(MixlawError):
    """Another process is working on it."""

    def __init__(self, name: str, holder: Holder | None) -> None:
        super().__init__(
            f"run {name}: another process is training it" + (f" ({holder})" if holder else ""),
            "Wait for it, or end that process; what it has done is kept",
        )
        self.holder = holder


class ClaimLost(MixlawError):
    """This process gave no sign for so long that another one took its work over."""

    process_died = True


@cache
def machine_id() -> str:
    """Identity of the running kernel: what shares it shares file locks too."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


class Held:
    """A claim that this process holds. Safe to call from any thread."""

    def __init__(self, path: Path, mine: Holder) -> None:
        self._path, self._mine = path, mine
        self._lost = False
        self._guard = threading.Lock()

    def note(self, at: Progress) -> None:
        """Say how far the work is, at the next beat. Raises ClaimLost."""
        self._mine = replace(self._mine, progress=at)
        if self._lost:
            raise _lost(self._path)

    def check(self) -> None:
        """Raises ClaimLost if another process has taken over: ask before results are written."""
        if self._lost or _number(self._path) < _newest(self._path.parent):
            self._lost = True
            raise _lost(self._path)

    def beat(self) -> None:
        """A sign of life."""
        with self._guard:
            if self._mine.released:
                return
            if _number(self._path) < _newest(self._path.parent):
                self._lost = True
                return
            self._mine = replace(self._mine, beat=self._mine.beat + 1)
            # A disk that is full, or a server that is away, is no reason to stop working.
            with contextlib.suppress(OSError):
                _write(self._path, self._mine)

    def release(self) -> None:
        """Leave word that nobody works on it; the number stays taken, for whoever still looks at it."""
        with self._guard:
            self._mine = replace(self._mine, released=True)
            if not self._lost:
                with contextlib.suppress(OSError):
                    _write(self._path, self._mine)


class Watch:
    """An outsider's view of a claim over time."""

    def __init__(self, lock: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock, self._clock = lock, clock
        self._seen: tuple[int, bytes] | None = None
        self._since = clock()
        self.changed = False

    @property
    def number(self) -> int:
        """The claim that was looked at last, 0 for none."""
        return 0 if self._seen is None else self._seen[0]

    def look(self, locked: Lock) -> tuple[bool, Holder | None]:
        """Whether the claim is void as far as can be told, given who has the lock now; and who holds it."""
        number = _newest(self._lock.parent)
        content = _content(self._lock.parent, number)
        if (number, content) != self._seen:
            self.changed = self._seen is not None
            self._seen, self._since = (number, content), self._clock()
        holder = _parse(content)
        if locked == "held":
            return False, holder
        if number == 0 or (holder is not None and holder.released):
            return True, None
        if holder is not None and holder.here and locked == "free":
            return True, None  # its process had the lock on this machine, and has it no more
        return self._clock() - self._since >= EXPIRY, holder


@contextlib.contextmanager
def claim(lock: Path, wait_s: float = 60.0) -> Iterator[Held]:
    """Work on the folder of `lock` alone. Waits for another process that is about to end.

    Raises Claimed if somebody alive still holds it after `wait_s`. A holder on another machine that gives no
    sign is waited for until its claim expires, and then taken over from. MixlawError where the folder cannot
    be written.
    """
    deadline = time.monotonic() + wait_s
    watch = Watch(lock)
    try:
        file = open(lock, "ab")  # noqa: SIM115 (closed below, which releases the lock)
    except OSError as error:
        raise _unwritable(lock, error) from error
    with file:
        while (held := _acquire(lock, file.fileno(), watch)) is None:
            locked = _try_lock(file.fileno(), shared=True)
            _, holder = watch.look(locked)
            if time.monotonic() >= deadline and (locked == "held" or watch.changed):
                raise Claimed(lock.parent.name, holder)
            _unlock(file.fileno())
            time.sleep(POLL)
        done = threading.Event()
        beating = threading.Thread(target=_keep_beating, args=(held, done), daemon=True)
        beating.start()
        try:
            yield held
        finally:
            done.set()
            held.release()


def holder(lock: Path) -> Holder | None:
    """Who works on it now, for people to read: one on another machine is believed for EXPIRY by file times."""
    locked = lock_state(lock)
    number = _newest(lock.parent)
    current = _parse(_content(lock.parent, number))
    if locked == "held":
        return current or Holder("", machine_id(), 0)
    if current is None or current.released or (current.here and locked == "free"):
        return None
    try:
        age = time.time() - (lock.parent / f"claim.{number}").stat().st_mtime
    except OSError:
        return None
    return current if abs(age) < EXPIRY else None


def wait_while_held(
    lock: Path, over: Callable[[], bool], on_wait: Callable[[Holder | None], None] | None = None
) -> None:
    """Return when `over()`, or when nobody holds the claim (any more) as far as can be told.

    `on_wait` is called now and then with who does.
    """
    watch = Watch(lock)
    while not over():
        free, current = watch.look(lock_state(lock))
        if free:
            return
        if on_wait is not None:
            on_wait(current)
        time.sleep(POLL)


def lock_state(lock: Path) -> Lock:
    """Whether a process on this machine (or wherever file locks reach) has the lock."""
    try:
        with open(lock, "rb") as file:
            return _try_lock(file.fileno(), shared=True)
    except OSError:
        return "free"


def _acquire(lock: Path, descriptor: int, watch: Watch) -> Held | None:
    locked = _try_lock(descriptor)
    if locked == "held":
        return None
    free, _ = watch.look(locked)
    if not free:
        _unlock(descriptor)
        return None
    folder = lock.parent
    # One more than what was found void: what is newest by now may be another machine's, at work.
    number = watch.number + 1
    mine = Holder(socket.gethostname()[:200], machine_id(), os.getpid())
    path = folder / f"claim.{number}"
    try:
        _create(path, mine)
    except (FileExistsError, FileNotFoundError):
        # Another machine was first (and may have cleared our draft away).
        _unlock(descriptor)
        return None
    except OSError as error:
        raise _unwritable(path, error) from error
    if _newest(folder) > number:
        # It had been made and cleared away since.
        with contextlib.suppress(OSError):
            path.unlink()
        _unlock(descriptor)
        return None
    for older in range(max(1, number - 8), number):
        with contextlib.suppress(OSError):
            (folder / f"claim.{older}").unlink(missing_ok=True)
    return Held(path, mine)


def _keep_beating(held: Held, done: threading.Event) -> None:
    while not done.wait(BEAT):
        held.beat()


def _create(path: Path, mine: Holder) -> None:
    """Make the file, complete, or raise FileExistsError: a link is atomic on network file systems too."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        draft.write_bytes(_bytes(mine))
        os.link(draft, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        # A file system without links.
        with open(path, "xb") as file:
            file.write(_bytes(mine))
    finally:
        draft.unlink(missing_ok=True)


def _write(path: Path, mine: Holder) -> None:
    with open(path, "r+b") as file:
        file.write(_bytes(mine))


def _bytes(mine: Holder) -> bytes:
    record = {"version": VERSION, **asdict(mine)}
    return json.dumps(record).encode().ljust(SIZE - 1)[: SIZE - 1] + b"\n"


def _content(folder: Path, number: int) -> bytes:
    try:
        return (folder / f"claim.{number}").read_bytes() if number else b""
    except OSError:
        return b""


def _parse(content: bytes) -> Holder | None:
    """None for what is no claim, or half of one."""
    try:
        record: dict[str, Any] = json.loads(content)
        at = record["progress"]
        return Holder(
            host=str(record["host"]),
            machine=str(record["machine"]),
            pid=int(record["pid"]),
            beat=int(record["beat"]),
            released=bool(record["released"]),
            progress=Progress(**at) if at is not None else None,
        )
    except (ValueError, KeyError, TypeError):
        return None


def _newest(folder: Path) -> int:
    try:
        names = os.listdir(folder)
    except OSError:
        return 0
    return max((_number(Path(name)) for name in names if name.startswith("claim.")), default=0)


def _number(path: Path) -> int:
    digits = path.name.removeprefix("claim.")
    return int(digits) if digits.isdigit() else 0


def _try_lock(descriptor: int, *, shared: bool = False) -> Lock:
    """`unknown` on a file system without locks: there only the claim's own signs count."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return "held"
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            return "unknown"
        raise
    return "free"


def _unlock(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _lost(path: Path) -> ClaimLost:
    return ClaimLost(
        f"{path.parent}: this process gave no sign for {EXPIRY:.0f} s, and another one took over",
        "Nothing is lost: the other process finishes it",
    )


def _unwritable(path: Path, error: OSError) -> MixlawError:
    return MixlawError(
        f"{path}: cannot be written: {error.strerror or error}",
        "Set MIXLAW_HOME to a folder that is writable and has room; finished runs are kept",
    )
