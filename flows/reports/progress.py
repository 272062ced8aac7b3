"""Progress on stderr: bars with an estimate in a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console

PLAIN_INTERVAL = 10.0
"""Seconds between the plain lines of one row."""


class Row(Protocol):
    """One line of progress. Safe to call from several threads."""

    def set(self, done: float, total: float | None = None, note: str | None = None) -> None: ...

    def finish(self, note: str = "") -> None: ...


class Board(Protocol):
    """A place that shows rows."""

    def row(self, label: str, total: float | None = None) -> Row: ...

    def say(self, line: str) -> None: ...

    def close(self) -> None: ...


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@dataclass
class _Track:
    """The state of one row, and the estimate of the time left."""

    label: str
    total: float | None
    done: float = 0.0
    note: str = ""
    started: float = field(default_factory=time.monotonic)
    offset: float | None = None
    shown: float = 0.0

    def left(self) -> float | None:
        """Seconds left at the mean speed since the first report (work done before it was resumed)."""
        if not self.total or self.offset is None or self.done <= self.offset:
            return None
        seconds = time.monotonic() - self.started
        return seconds * (self.total - self.done) / (self.done - self.offset)

    def set(self, done: float, total: float | None, note: str | None) -> None:
        self.done, self.total = done, total or self.total
        self.note = self.note if note is None else note
        if self.offset is None:
            self.offset, self.started = done, time.monotonic()


class _PlainRow:
    def __init__(self, board: PlainBoard, label: str, total: float | None) -> None:
        self.board, self.track = board, _Track(label, total)

    def set(self, done: float, total: float | None = None, note: str | None = None) -> None:
        with self.board.lock:
            self.track.set(done, total, note)
            if time.monotonic() - self.track.shown < PLAIN_INTERVAL:
                return
            self.track.shown = time.monotonic()
            part = f" {self.track.done / self.track.total:4.0%}" if self.track.total else ""
            left = self.track.left()
            estimate = f", about {duration(left)} left" if left is not None else ""
            note = f"  {self.track.note}" if self.track.note else ""
            self.board.write(f"{self.track.label}{part}{estimate}{note}")

    def finish(self, note: str = "") -> None:
        seconds = time.monotonic() - self.track.started
        with self.board.lock:
            self.board.write(f"{self.track.label}: {note or 'done'} ({duration(seconds)})")


class PlainBoard:
    """Lines with a clock, for logs and pipes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def row(self, label: str, total: float | None = None) -> Row:
        return _PlainRow(self, label, total)

    def say(self, line: str) -> None:
        with self.lock:
            self.write(line)

    def close(self) -> None:
        pass

    def write(self, line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)


class _RichRow:
    def __init__(self, board: RichBoard, label: str, total: float | None) -> None:
        self.board, self.track = board, _Track(label, total)
        self.id = board.progress.add_task(label, total=total, note="", left="")

    def set(self, done: float, total: float | None = None, note: str | None = None) -> None:
        with self.board.lock:
            self.track.set(done, total, note)
            left = self.track.left()
            self.board.progress.update(
                self.id,
                completed=self.track.done,
                total=self.track.total,
                note=self.track.note,
                left=f"{duration(left)} left" if left is not None else "",
            )

    def finish(self, note: str = "") -> None:
        with self.board.lock:
            total = self.track.total or 1
            self.board.progress.update(self.id, completed=total, total=total, note=note or "done", left="")
            self.board.progress.stop_task(self.id)


class RichBoard:
    """Bars in a terminal."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        self.lock = threading.Lock()
        self.progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("[cyan]{task.fields[left]}"),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            refresh_per_second=5,
        )

    def row(self, label: str, total: float | None = None) -> Row:
        return _RichRow(self, label, total)

    def say(self, line: str) -> None:
        self.progress.console.print(line, highlight=False, markup=False)

    def close(self) -> None:
        """Stop the bars and restore the terminal."""
        self.progress.stop()


@contextlib.contextmanager
def board() -> Iterator[Board]:
    """Bars where stderr is a terminal, else plain lines."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainBoard()
        return
    rich_board = RichBoard(console)
    with rich_board.progress:
        yield rich_board


@contextlib.contextmanager
def bar(label: str) -> Iterator[Callable[[float, float], None] | None]:
    """A row on stderr for commands that take seconds, as a function of (done, total); None outside a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with board() as shown:
        row = shown.row(label)
        yield lambda done, total: row.set(done, total)
        row.finish()
