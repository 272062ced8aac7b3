"""The token store in the formats of trainers that don't read it as it is, by those formats' own writers.

A domain's folder is written part by part, a part per shard of the store. A part is complete or absent, so a kill
at any moment costs one part; what is there already and belongs to the same rows is kept. A folder that holds other
rows is refused: a file that was exported before points at it.

    <folder>/...                   the trainer's data
    <folder>/.mixlaw/00000.json    written last: what part 0 was made of
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mixing.atomic import replace_files
from mixing.errors import InputError, MixlawError
from mixing.export.data_format import ALONE, DataFormat, Writer
from mixing.export.exporting import Export
from mixing.export.parts import OnTokens, Part
from mixing.export.planning import apportion
from mixing.export.rendering import absolute_prefix
from mixing.spec.model import MixSpec

RECORDS = ".mixlaw"
"""Folder, beside the data, of the records of what was written."""
PARTIAL = ".partial-"


@dataclass(frozen=True)
class WriteTask:
    """A domain's shards (absolute prefixes, with their tokens) and the folder that its data belongs into.

    `rows` is how many windows are written, for a trainer without weights; None: each once.
    """

    domain: str
    shards: tuple[tuple[Path, int], ...]
    folder: Path
    rows: int | None = None


@dataclass(frozen=True)
class WriteResult:
    """How many parts were written now, and how many were there already."""

    new: int
    existing: int


def write_tasks(spec: MixSpec, exported: Export) -> list[WriteTask]:
    """The data that an exported file reads in its trainer's own format."""
    return [
        WriteTask(
            data.domain,
            tuple((Path(absolute_prefix(spec, shard.prefix)), shard.tokens) for shard in data.shards),
            Path(data.folder),
            data.rows,
        )
        for data in exported.data
    ]


def writer_of(data_format: DataFormat) -> Writer:
    """Raises InputError for a format that Mixlaw cannot write, MixlawError where its package is missing."""
    writer = data_format.writer
    if writer is None:
        raise InputError(
            f"data in the format {data_format.name!r} cannot be written here",
            "Write it with the trainer's own tools",
        )
    if importlib.util.find_spec(writer.module) is None:
        raise MixlawError(
            f"writing {data_format} data needs the package {writer.package}",
            f"Run: pip install '{writer.package}'" + ALONE * writer.alone,
        )
    return writer


def write_data(
    tasks: Sequence[WriteTask],
    data_format: DataFormat,
    length: int | None,
    on_progress: Callable[[int, int], None] | None = None,
) -> WriteResult:
    """Write the data of all domains, or what is missing of it. `on_progress` gets tokens done and in all.

    `length` is the number of tokens of a window; None: rows are documents, where the format has those.

    Raises as `writer_of`, InputError for a shard that is missing or damaged and for a folder with data of
    another window length or other tokens (then nothing is written), MixlawError where a folder cannot be written or
    another process is writing it.
    """
    writer = writer_of(data_format)
    if length is None and not writer.documents:
        raise InputError(
            f"{data_format} data is written as windows of one length", "Export windows, not the unit document"
        )
    length = None if writer.any_length else length
    for task in tasks:
        if (task.folder / RECORDS).is_dir():
            with _writing(task.folder):
                _refuse_others(data_format, writer, _parts(task, length), task.folder)
    total = sum(tokens for task in tasks for _, tokens in task.shards)
    done = new = existing = 0
    for task in tasks:
        with _writing(task.folder):
            parts = _parts(task, length)
            for part, (_, tokens) in zip(parts, task.shards, strict=True):
                on_tokens = partial(_report_sum, on_progress, done, total)
                if _write_part(data_format, writer, part, task.folder, on_tokens):
                    new += 1
                else:
                    existing += 1
                done += tokens
                _report_sum(on_progress, done, total, 0)
            writer.join(task.folder, parts)
    return WriteResult(new, existing)


def _parts(task: WriteTask, length: int | None) -> list[Part]:
    """A part per shard; `rows` are spread over them by the windows that they hold."""
    parts = [Part(number, prefix, length) for number, (prefix, _) in enumerate(task.shards)]
    if task.rows is None:
        return parts
    held = sum(part.held for part in parts)
    if not held:
        raise InputError(
            f"domain {task.domain!r} holds no whole window of {length} tokens", "Give it more text"
        )
    counts = apportion({str(part.number): part.held / held for part in parts}, task.rows)
    return [replace(part, take=counts[str(part.number)]) for part in parts]


def _report_sum(report: Callable[[int, int], None] | None, before: int, total: int, tokens: int) -> None:
    if report:
        report(before + tokens, total)


def _write_part(
    data_format: DataFormat, writer: Writer, part: Part, folder: Path, on_tokens: OnTokens
) -> bool:
    """Write a part unless it is there; whether it had to be written."""
    record = folder / RECORDS / f"{part.number:05d}.json"
    key = _key(data_format, writer, part)
    earlier = _read(record)
    if earlier.get("key") == key and all((folder / name).exists() for name in earlier["files"]):
        return False
    record.unlink(missing_ok=True)
    for name in earlier.get("files", []):
        _remove(folder / name)
    scratch = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder / RECORDS))
    try:
        writer.write(part, scratch, on_tokens)
        names = sorted(entry.name for entry in scratch.iterdir())
        for name in names:
            _remove(folder / name)
            os.replace(scratch / name, folder / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    content = {"key": key, "files": names, "format": data_format.name, "length": part.length}
    replace_files({record: json.dumps(content).encode()})
    return True


def _key(data_format: DataFormat, writer: Writer, part: Part) -> str:
    """Hash of what decides a part's bytes: the token files by size and time, the rows, the format."""
    stats = [os.stat(f"{part.prefix}{extension}") for extension in (".bin", ".idx")]
    content: list[object] = [data_format.name, writer.version, part.number, part.length, part.take]
    content.append(str(part.prefix))
    content += [[stat.st_size, stat.st_mtime_ns] for stat in stats]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _read(record: Path) -> dict[str, Any]:
    try:
        content = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and isinstance(content.get("files"), list) else {}


def _refuse_others(data_format: DataFormat, writer: Writer, parts: Sequence[Part], folder: Path) -> None:
    """Raise InputError where `folder` holds rows that are not those of `parts`."""
    own = {f"{part.number:05d}": part for part in parts}
    for record in sorted((folder / RECORDS).glob("*.json")):
        content, part = _read(record), own.get(record.stem)
        if not any((folder / name).exists() for name in content.get("files", [])):
            continue
        if part is None or content.get("key") != _key(data_format, writer, part):
            raise InputError(
                f"{folder} holds {_difference(content, data_format, parts[0])}",
                "Give another folder, or delete this one",
            )


def _difference(content: dict[str, Any], data_format: DataFormat, part: Part) -> str:
    """How the rows of a record differ in kind from those of `part`."""
    other_format, length = content.get("format"), content.get("length")
    if other_format not in (None, data_format.name):
        return f"{other_format} data, not {data_format}"
    if "length" in content and length != part.length:
        kinds = ["documents" if n is None else f"windows of {n} tokens" for n in (length, part.length)]
        return f"{kinds[0]}, not {kinds[1]}"
    return "data of other token files or of another mix, or the token files have changed since"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """The folder is there, held by this process alone, and free of what a killed one left."""
    try:
        (folder / RECORDS).mkdir(parents=True, exist_ok=True)
        foreign = [entry.name for entry in folder.iterdir() if entry.name != RECORDS]
        if (
            foreign
            and not any((folder / RECORDS).glob("*.json"))
            and not (folder / RECORDS / "lock").exists()
        ):
            raise InputError(
                f"{folder} holds files that are not of Mixlaw ({foreign[0]})", "Give an empty folder"
            )
        with open(folder / RECORDS / "lock", "w") as lock:
            try:
                # The kernel releases it however the process ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise MixlawError(
                    f"{folder} is being written by another process", "Wait for it, or give another folder"
                ) from None
            for left in (folder / RECORDS).glob(f"{PARTIAL}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename}: does not exist",
            "Give the folder of the token files as data_root (--data-root DIR)",
        ) from error
    except OSError as error:
        raise MixlawError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error})",
            "Make room or give another folder, and run again: finished parts are kept",
        ) from error
