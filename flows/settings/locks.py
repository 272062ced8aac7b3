"""Who holds a study: one process at a time, on one machine or another."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from flows.settings.home import StudyFolder
from mixing.errors import MixlawError
from proxies.runs import claims
from proxies.runs.claims import Holder


class AlreadyRunning(MixlawError):
    """A second start of a study that is running; `holder` is the process that runs it, where that is known."""

    def __init__(self, folder: StudyFolder, holder: Holder | None) -> None:
        if holder is None or not holder.pid:
            who, step = "process unknown", "Wait for it"
        else:
            who, step = str(holder), f"Wait for it, or end it with: kill {holder.pid}"
            step += "" if holder.here else f" on {holder.host}"
        super().__init__(f"{folder.lock}: this study is already running ({who})", step)
        self.holder = holder


def owner(folder: StudyFolder) -> Holder | None:
    """The process that is running the study now, or None."""
    return claims.holder(folder.lock)


def check_free(folder: StudyFolder) -> None:
    """Raises AlreadyRunning where a process is running the study now."""
    holder = owner(folder)
    if holder is not None:
        raise AlreadyRunning(folder, holder)


@contextlib.contextmanager
def exclusive(folder: StudyFolder) -> Iterator[None]:
    """Hold the study for this process; released however the process ends.

    Raises AlreadyRunning, naming the process that holds it. One on another machine that gives no sign of life is
    waited for, for a minute, and then taken to be dead.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(claims.claim(folder.lock, wait_s=0))
        except claims.Claimed as error:
            raise AlreadyRunning(folder, error.holder) from None
        # Half-written files of a killed process; run folders are cleared by whoever trains the runs next.
        for place in (folder.path, folder.figures, *folder.tokens.glob("*/")):
            for leftover in place.glob(".*.partial"):
                leftover.unlink(missing_ok=True)
        yield


@contextlib.contextmanager
def first_use(database: Path) -> Iterator[None]:
    """Let one process at a time into this block, of all that share an SQLite database.

    The first one creates the tables, and two that do so at once would ruin the database.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with open(database.with_name(f".{database.name}.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
