"""A limit on how many runs train at once on this machine, whoever starts them.

A slot is a locked file in `folder/<machine>-<device>/`. All that share the folder share the limit: studies of one
MIXLAW_HOME, local runs and Prefect workers, containers on one kernel. The kernel frees a slot whatever ends
the process that has it, so none is lost by a kill, and no server is asked.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mixing.errors import MixlawError
from proxies.runs.claims import machine_id

POLL = 0.3


@dataclass(frozen=True)
class Slots:
    """At most `limit` runs at once on each device of each machine that sees `folder`."""

    folder: Path
    limit: int


@contextlib.contextmanager
def slot(slots: Slots | None, device: str = "cpu") -> Iterator[None]:
    """Wait for a free slot of this machine's `device`, and have it meanwhile. None: there is no limit.

    Raises MixlawError where the folder cannot be written.
    """
    if slots is None:
        yield
        return
    machine = hashlib.sha256(machine_id().encode()).hexdigest()[:8]
    folder = slots.folder / f"{machine}-{device.replace(':', '-')}"
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files = [stack.enter_context(open(folder / str(n), "ab")) for n in range(max(1, slots.limit))]
        except OSError as error:
            raise MixlawError(
                f"{folder}: cannot be written: {error.strerror or error}",
                "Set MIXLAW_HOME to a folder that is writable and has room",
            ) from error
        while True:
            for file in files:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                for other in files:
                    if other is not file:
                        other.close()
                yield
                return
            time.sleep(POLL)
