"""Reports of bytes done, not more often than a person can see."""

from __future__ import annotations

import time
from collections.abc import Callable

Report = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

SECONDS_BETWEEN_REPORTS = 0.1


class ByteProgress:
    """Adds up over several corpora and passes it on; does nothing without a `report`."""

    def __init__(self, report: Report | None, total: int) -> None:
        self._report, self._total = report, total
        self._before = 0
        self._reported_at = 0.0

    def at(self, done: int) -> None:
        """So many bytes of the corpus at hand are done."""
        if self._report and time.monotonic() - self._reported_at >= SECONDS_BETWEEN_REPORTS:
            self._reported_at = time.monotonic()
            self._report(min(self._before + done, self._total), self._total)

    def next(self, size: int) -> None:
        """The corpus at hand, of `size` bytes, is done."""
        self._before += size

    def finish(self) -> None:
        if self._report:
            self._report(self._total, self._total)
