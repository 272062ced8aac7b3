"""What a flow run has beside its parameters: where progress is shown, and who waits for its result.

Parameters are plain JSON, the same for a flow run that a worker starts and one that `mixlaw run` starts. The
rest is chosen by who starts it: `mixlaw run` sets a context for the flow it calls, a worker has none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.reports.progress import Board, PlainBoard

if TYPE_CHECKING:
    from flows.pipeline.result import StudyResult


@dataclass
class FlowContext:
    """`guard` is entered, with the flow run's id, around all that the flow does. `result` is what the study ended with.

    `note` says what made the study run, if not its user.
    """

    root: Path
    board: Board
    note: str = ""
    guard: Callable[[str], AbstractContextManager[None]] = lambda flow_run: nullcontext()
    result: StudyResult | None = None


_starter: ContextVar[FlowContext | None] = ContextVar("mixlaw_flow_starter", default=None)


def starter() -> FlowContext | None:
    """The context of whoever called the flow in this process; None in a worker."""
    return _starter.get()


@contextmanager
def started_with(context: FlowContext) -> Iterator[None]:
    """Flows that are called in this block have `context`."""
    token = _starter.set(context)
    try:
        yield
    finally:
        _starter.reset(token)


class RunLogBoard(PlainBoard):
    """Progress as lines in the flow run's log."""

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        super().__init__()
        self.logger = logger

    def write(self, line: str) -> None:
        self.logger.info(line)
