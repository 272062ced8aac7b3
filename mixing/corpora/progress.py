"""Progress in bytes, reported at most ten times a second."""

from __future__ import annotations

import time
from collections.abc import Callable

Report = Callable[[int, int], None]
"""Called with the bytes done and the total."""

SECONDS_BETWEEN_REPORTS = 0.1


class ByteProgress:
    """Adds up the progress over several corpora, of `total` bytes, for `report`; None: nobody listens."""

    def __init__(self, report: Report | None, total: int) -> None:
        self._report, self._total = report, total
        self._before = 0
        self._reported_at = 0.0

    def at(self, done: int) -> None:
        """`done` bytes of the current corpus are done."""
        if self._report and time.monotonic() - self._reported_at >= SECONDS_BETWEEN_REPORTS:
            self._reported_at = time.monotonic()
            self._report(min(self._before + done, self._total), self._total)

    def next(self, size: int) -> None:
        """The current corpus, of `size` bytes, is done."""
        self._before += size

    def finish(self) -> None:
        """Report that everything is done."""
        if self._report:
            self._report(self._total, self._total)
