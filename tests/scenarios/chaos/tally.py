"""What chaos did to a study, and what came of it: faults, runs lost and doubled, time to recover, leftovers."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.scenarios.tiny_study import open_files_below

CREATED = ("decision", "shares", "critical_ratio", "interval", "binding", "law", "n_runs")


@dataclass
class Tally:
    """Of all scenarios together."""

    faults: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    other_answers: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    half_files: list[str] = field(default_factory=list)
    unreaped: list[str] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)
    recovery_by: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    not_done: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def injected(self, fault: str) -> None:
        with self._lock:
            self.faults[fault] += 1

    def expect(self, runs: int) -> None:
        with self._lock:
            self.runs += runs

    def recovered(self, fault: str, seconds: float) -> None:
        self.recovery.append(seconds)
        self.recovery_by.setdefault(fault, []).append(seconds)

    def failed(self) -> list[str]:
        """What should not have come of it, in words."""
        kinds = {
            "run lost": self.lost,
            "run doubled": self.doubled,
            "another answer": self.other_answers,
            "orphan": self.orphans,
            "half file": self.half_files,
            "flow run not reaped": self.unreaped,
            "not done": self.not_done,
        }
        return [f"{kind}: {what}" for kind, found in kinds.items() for what in found]

    def table(self) -> str:
        """For people."""
        rows = [
            ("faults injected", str(sum(self.faults.values())), _counts(self.faults)),
            ("runs that should be there", str(self.runs), ""),
            ("runs lost", str(len(self.lost)), " ".join(self.lost)),
            ("runs doubled", str(len(self.doubled)), " ".join(self.doubled)),
            ("other decisions", str(len(self.other_answers)), " ".join(self.other_answers)),
            ("orphan processes", str(len(self.orphans)), "; ".join(self.orphans)),
            ("half files", str(len(self.half_files)), " ".join(self.half_files)),
            ("dead flow runs not reaped", str(len(self.unreaped)), " ".join(self.unreaped)),
        ]
        if self.recovery:
            ordered = sorted(self.recovery)
            middle, worst = ordered[len(ordered) // 2], ordered[-1]
            by = ", ".join(f"{name} {sorted(found)[-1]:.1f} s" for name, found in self.recovery_by.items())
            rows.append(("recovery", f"{middle:.1f} s", f"median; at most {worst:.1f} s ({by})"))
        lines = [f"{name:<28}{number:>8}  {said}".rstrip() for name, number, said in rows]
        return "\n".join([*lines, *(f"note: {note}" for note in [*self.notes, *self.not_done])])


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{number} x {name}" for name, number in found.items())


class Pot:
    """Kills that are left to be given, shared by studies that are killed side by side."""

    def __init__(self, kills: int) -> None:
        self.left = kills
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            if self.left <= 0:
                return False
            self.left -= 1
            return True


class DoneWatch:
    """Sees a run's marker appear; a marker that later changes or goes is a run trained again, or lost."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.seen: dict[str, tuple[int, int]] = {}
        self.changed: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> DoneWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        for marker in self.runs.glob("*/done.json"):
            try:
                found = marker.stat()
            except FileNotFoundError:
                continue
            identity = (found.st_ino, found.st_mtime_ns)
            if self.seen.setdefault(marker.parent.name, identity) != identity:
                self.changed.add(marker.parent.name)

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.look()


@dataclass(frozen=True)
class Reference:
    """The study without a fault: its runs and its decision."""

    runs: frozenset[str]
    decision: dict[str, Any]

    @classmethod
    def of(cls, folder: Path) -> Reference:
        runs = frozenset(path.parent.name for path in folder.glob("runs/*/done.json"))
        return cls(runs, json.loads((folder / "decision.json").read_text()))


def settle(tally: Tally, home: Path, watch: DoneWatch, reference: Reference, name: str) -> None:
    """Hold a study that has come to its end against the one without faults."""
    from mixing.errors import MixlawError
    from proxies.runs import store as runs

    folder = home / "tiny"
    tally.expect(len(reference.runs))
    for run in sorted(reference.runs):
        try:
            runs.check_done(folder / "runs" / run)
        except MixlawError as error:
            tally.lost.append(f"{name}/{run} ({error.message})")
    extra = {path.parent.name for path in folder.glob("runs/*/done.json")} - reference.runs
    tally.doubled += [f"{name}/{run}" for run in sorted(watch.changed | extra)]
    decision = folder / "decision.json"
    if not decision.exists() or json.loads(decision.read_text()) != reference.decision:
        tally.other_answers.append(name)
    tally.half_files += [str(path) for path in home.rglob("*") if path.name.endswith((".partial", ".tmp"))]
    tally.orphans += [f"process {pid} ({name})" for pid in left_over(home)]


def left_over(home: Path, grace: float = 5.0) -> list[int]:
    """Processes with files of `home` open, `grace` seconds after all should have ended."""
    deadline = time.monotonic() + grace
    while (found := open_files_below(home)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def events(folder: Path, kinds: Iterable[str], offset: int = 0) -> list[dict[str, Any]]:
    """The study's log lines of these kinds, from byte `offset` on; a half line of a killed process is passed over."""
    path = folder / "events.jsonl"
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes()[offset:].splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.get("event") in kinds:
            found.append(record)
    return found


def log_size(folder: Path) -> int:
    path = folder / "events.jsonl"
    return path.stat().st_size if path.exists() else 0


def eventually(moment: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if moment():
            return True
        time.sleep(0.05)
    return False
