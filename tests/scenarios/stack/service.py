"""One server or worker as a process, and what it starts."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

MARK = "MIXLAW_STACK"
"""In the environment of every process of a stack, and of all that these start."""
START_TIMEOUT = 180.0
STOP_TIMEOUT = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether `url` answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Service:
    """One server or worker: its command, its environment, its log, and how to see that it works."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        ready: Callable[[], bool],
        user: str | None = None,
    ) -> None:
        self.name, self.command, self.environment = name, list(command), dict(environment)
        self.log, self.ready, self.user = log, ready, user
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Service:
        """Start it, without waiting until it works."""
        assert not self.alive(), f"{self.name} runs already"
        account = pwd.getpwnam(self.user) if self.user else None
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        return self

    def wait(self, timeout: float = START_TIMEOUT) -> Service:
        """Return when it works; AssertionError with the end of its log where it ends or takes too long."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert self.alive(), f"{self.name} ended with {self._status()}:\n{self.tail()}"
            if self.ready():
                return self
            time.sleep(0.1)
        raise AssertionError(f"{self.name} did not answer within {timeout:.0f} s:\n{self.tail()}")

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, number: int = signal.SIGTERM, timeout: float = STOP_TIMEOUT) -> int:
        """Ask it to end and wait; its exit status. AssertionError where it does not within `timeout` seconds."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.name} did not end within {timeout:.0f} s of signal {number}"
            ) from None

    def kill(self) -> None:
        """kill -9 to the process and all it started, as when a machine goes; `process.kill()` spares the rest."""
        if self.process is not None:
            for pid in [self.process.pid, *descendants(self.process.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()

    def tail(self, characters: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def _status(self) -> object:
        return self.process.poll() if self.process else "nothing"


def descendants(pid: int) -> list[int]:
    """The processes that `pid` started, and theirs."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in brackets may hold spaces.
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(path.name))
    found, to_visit = [], [pid]
    while to_visit:
        below = children.get(to_visit.pop(), [])
        found += below
        to_visit += below
    return found


def marked_processes(mark: str) -> Iterator[tuple[int, str]]:
    """Processes with `MIXLAW_STACK=mark` in their environment, and their command lines."""
    wanted = f"{MARK}={mark}".encode()
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (path / "environ").read_bytes().split(b"\0"):
                    yield int(path.name), (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
