"""Trainers' logs as points: a step, a metric and its value, in the order in which they were written."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from mixing.errors import InputError, MixlawError

LOG_CALLS = ("_step", "Step")
"""Names of Weights & Biases, whose steps are calls of its logger unless a trainer said otherwise."""
STEPS = ("_step", "step", "Step", "global_step", "train/global_step", "trainer/global_step", "iteration")
OTHER_RUN = "of another run: "
"""Before the name of a metric that an export of several runs has of another one."""
RANGES = ("__MIN", "__MAX")
"""Columns that Weights & Biases adds to an export: the range of what was smoothed."""
MEGATRON = re.compile(r"validation loss at iteration\s+(\d+)(?: on ([^|]+?))?\s*\|(.*)")
MEGATRON_VALUE = re.compile(r"([^|]+?) value:\s*([-+0-9.eEnaif]+)")
OLMO_STEP = re.compile(r"\[step=([0-9,]+)(?:/[0-9,]+)?[,\]]")
OLMO_VALUE = re.compile(r"^\s+([A-Za-z][^=]*?)\s*=\s*([-+0-9.,eEnaif]+)\s*$")


@dataclass(frozen=True)
class Point:
    step: int
    metric: str
    value: float


def read_log(path: Path, kind: str | None, run: str, step_name: str | None) -> list[Point]:
    """The points of one log. `run` is the run's name, for exports that hold several.

    Raises InputError for a log that cannot be read or has no points, MixlawError where a package is missing.
    """
    path = _log_file(path)
    kind = kind or _kind(path)
    try:
        points = list(READERS[kind](path, run, step_name))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error})", "Give the log of a run") from None
    if not points:
        raise InputError(
            f"{path}: no metric with a step in it, read as {kind}", "Say what it is with format:"
        )
    return points


def _log_file(path: Path) -> Path:
    """The path, or in a folder the one log that it holds."""
    if not path.exists():
        raise InputError(f"{path}: no such log", "Correct the run's log in the map; it is relative to LOGS")
    if not path.is_dir() or any(path.glob("*tfevents*")):
        return path
    for pattern in ("trainer_state.json", "metrics.csv", "*.csv", "*.jsonl", "*.json", "*.log", "*.txt"):
        found = sorted(path.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(file.name for file in found[:5])
            raise InputError(f"{path}: holds several logs: {names}", "Name one of them")
    states = sorted(
        path.glob("checkpoint-*/trainer_state.json"), key=lambda file: int(_digits(file.parent.name))
    )
    if states:
        return states[-1]  # each holds the whole history up to it
    raise InputError(f"{path}: no log in it that is known", "Name the file")


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text) or "0"


def _kind(path: Path) -> str:
    if path.is_dir() or "tfevents" in path.name:
        return "tensorboard"
    if path.suffix == ".csv":
        return "csv"
    with open(path, encoding="utf-8", errors="replace") as file:
        start = file.read(1 << 20)
    if start.lstrip()[:1] in ("{", "["):
        return "huggingface" if '"log_history"' in start else "json"
    if MEGATRON.search(start):
        return "megatron"
    if OLMO_STEP.search(start):
        return "olmo-core"
    raise InputError(f"{path}: not a log that is known", f"Say format: one of {', '.join(READERS)}")


def _points(
    rows: Iterable[Mapping[str, Any]], path: Path, run: str, step_name: str | None
) -> Iterator[Point]:
    """Points of rows with a column of steps. A cell that is no number is a point without a value, and so is counted."""
    rows = list(rows)
    name = step_name or _step_column(dict.fromkeys(key for row in rows for key in row), path)
    if step_name is None and name in LOG_CALLS:
        _refuse_log_calls([_number(row.get(name)) for row in rows], name, path)
    for number, row in enumerate(rows, start=1):
        cells = {
            str(column): cell for column, cell in row.items() if column != name and cell not in (None, "")
        }
        step = _number(row.get(name))
        if cells and (not math.isfinite(step) or step < 0 or step != int(step)):
            raise InputError(
                f"{path}: row {number}: {name!r} is {str(row.get(name))[:40]!r}, no whole number of steps",
                "Correct the row, or name the column of steps in the map with step:",
            )
        for column, cell in cells.items():
            owner, separator, metric = column.partition(" - ")
            if separator and owner != run:
                metric = OTHER_RUN + column
            yield Point(int(step), metric if separator else column, _number(cell))


def _refuse_log_calls(steps: list[float], name: str, path: Path) -> None:
    """Raises InputError where steps go up by one from row to row: so Weights & Biases counts calls of its logger."""
    if len(steps) > 1 and steps[0] in (0, 1) and all(b - a == 1 for a, b in pairwise(steps)):
        raise InputError(
            f"{path}: {name!r} is {steps[0]:g}, {steps[0] + 1:g}, ... from row to row, as calls of a logger are",
            f"If it counts optimiser steps, say step: {name} in the map; else name the column that does",
        )


def _step_column(names: Iterable[str], path: Path) -> str:
    present = list(names)
    found = [name for name in STEPS if name in present]
    if len(found) != 1:
        # Weights & Biases counts calls in _step, beside the trainer's own steps.
        listed = " and ".join(found) if found else f"none that is known (it has {', '.join(present[:8])})"
        raise InputError(
            f"{path}: columns of steps: {listed}",
            "Name the one that counts optimiser steps in the map with step:",
        )
    return found[0]


def _number(cell: Any) -> float:
    """The number in a cell; NaN for anything else, such as a comma that may stand for thousands or decimals."""
    try:
        return math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError):
        return math.nan


def _csv(path: Path, run: str, step_name: str | None) -> Iterator[Point]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        heads = list(rows.fieldnames or ())
        twice = [name for name in heads if heads.count(name) > 1]
        if twice:
            raise InputError(f"{path}: column {twice[0]!r} is given twice", "Keep one of them")
        phased = [name for name in heads if re.match(r"phase_?\d+_", name)]
        if phased:
            raise InputError(
                f"{path}: {phased[0]!r} is a share of one phase of a run: no law here is fitted on phases",
                "Give the runs of one phase each",
            )
        yield from _points(rows, path, run, step_name)


def _json(path: Path, run: str, step_name: str | None) -> Iterator[Point]:
    """A list of rows, one object a line, or an object with the history under `log_history` or `history`."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        document = json.loads(text)
    except ValueError:
        try:
            document = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise InputError(f"{path}: not JSON ({error})", "Give the run's own log") from None
    if isinstance(document, dict):
        document = next((document[key] for key in ("log_history", "history") if key in document), [document])
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise InputError(f"{path}: not a history of rows", "Give trainer_state.json, or a list of objects")
    yield from _points(document, path, run, step_name)


def _megatron(path: Path, run: str, step_name: str | None) -> Iterator[Point]:
    """Validation losses of Megatron's log: `validation/NAME`, or `validation/SET/NAME` where it names the set."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match = MEGATRON.search(line)
        if match is None:
            continue
        of_set = f"{match[2].strip()}/" if match[2] else ""
        for name, value in MEGATRON_VALUE.findall(match[3]):
            yield Point(int(match[1]), f"validation/{of_set}{name.strip()}", _number(value))


def _olmo(path: Path, run: str, step_name: str | None) -> Iterator[Point]:
    """Blocks of `NAME=VALUE` below a line with `[step=N/...]`."""
    step: int | None = None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        started = OLMO_STEP.search(line)
        if started is not None:
            step = int(started[1].replace(",", ""))
            continue
        match = OLMO_VALUE.match(line)
        if match is None:
            step = step if not line.strip() else None
        elif step is not None:
            # OLMo-core separates thousands with commas.
            yield Point(step, match[1].strip(), _number(match[2].replace(",", "")))


def _tensorboard(path: Path, run: str, step_name: str | None) -> Iterator[Point]:
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        raise MixlawError(
            f"{path}: event files are read by TensorBoard, which is not installed",
            "pip install 'mixlaw[tensorboard]'",
        ) from None
    # Restarts are told apart here, as in all logs: TensorBoard would drop the earlier rows unseen.
    events = EventAccumulator(
        str(path), size_guidance={"scalars": 0, "tensors": 0}, purge_orphaned_data=False
    )
    events.Reload()
    for tag in events.Tags()["scalars"]:
        for scalar in events.Scalars(tag):
            yield Point(int(scalar.step), tag, float(scalar.value))
    for tag in events.Tags()["tensors"]:
        for tensor in events.Tensors(tag):
            values = tensor.tensor_proto.float_val
            if len(values) == 1 and math.isfinite(values[0]):
                yield Point(int(tensor.step), tag, float(values[0]))


READERS: dict[str, Callable[[Path, str, str | None], Iterator[Point]]] = {
    "huggingface": _json,
    "csv": _csv,
    "json": _json,
    "wandb": lambda path, run, step: (_csv if path.suffix == ".csv" else _json)(path, run, step),
    "tensorboard": _tensorboard,
    "megatron": _megatron,
    "olmo-core": _olmo,
}
