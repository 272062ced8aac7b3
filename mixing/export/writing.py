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
from pathlib import Path

from mixing.atomic import replace_files
from mixing.errors import InputError, MixlawError
from mixing.export.export import Exported
from mixing.export.parts import ALONE, Format, OnTokens, Part
from mixing.export.planning import apportion
from mixing.export.target import absolute_prefix
from mixing.export.write_array_record import ARRAY_RECORD
from mixing.export.write_arrow import ARROW
from mixing.export.write_ds import DS
from mixing.export.write_litdata import LITDATA
from mixing.export.write_mds import MDS
from mixing.spec.model import MixSpec

FORMATS = {form.name: form for form in (ARROW, ARRAY_RECORD, MDS, LITDATA, DS)}
OWN = ".mixlaw"
PARTIAL = ".partial-"


@dataclass(frozen=True)
class Job:
    """A domain's shards (absolute prefixes, with their tokens) and the folder that its data belongs into.

    `rows` is how many windows are written, for a trainer without weights; None: each once.
    """

    domain: str
    shards: tuple[tuple[Path, int], ...]
    folder: Path
    rows: int | None = None


@dataclass(frozen=True)
class Written:
    """What writing gave: parts that were written now, and parts that were there."""

    new: int
    kept: int


def jobs_of(spec: MixSpec, exported: Exported) -> list[Job]:
    """The data that an exported file reads in its trainer's own format."""
    return [
        Job(
            data.domain,
            tuple((Path(absolute_prefix(spec, shard.prefix)), shard.tokens) for shard in data.shards),
            Path(data.folder),
            data.rows,
        )
        for data in exported.data
    ]


def format_named(name: str) -> Format:
    """Raises InputError for a format that Mixlaw cannot write, MixlawError where its package is missing."""
    if name not in FORMATS:
        raise InputError(
            f"data in the format {name!r} cannot be written here", "Write it with the trainer's own tools"
        )
    form = FORMATS[name]
    if importlib.util.find_spec(form.module) is None:
        raise MixlawError(
            f"writing {name} data needs the package {form.package}",
            f"Run: pip install '{form.package}'" + ALONE * form.alone,
        )
    return form


def write_data(
    jobs: Sequence[Job],
    format_name: str,
    length: int | None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write the data of all domains, or what is missing of it. `on_progress` gets tokens done and in all.

    `length` is the number of tokens of a window; None: rows are documents, where the format has those.

    Raises as `format_named`, InputError for a shard that is missing or damaged and for a folder with data of
    another window length or other tokens (then nothing is written), MixlawError where a folder cannot be written or
    another process is writing it.
    """
    form = format_named(format_name)
    if length is None and not form.documents:
        raise InputError(
            f"{format_name} data is written as windows of one length", "Leave out --unit document"
        )
    length = None if form.whole else length
    for job in jobs:
        if (job.folder / OWN).is_dir():
            with _writing(job.folder):
                _refuse_others(form, _parts(job, length), job.folder)
    total = sum(tokens for job in jobs for _, tokens in job.shards)
    done = new = kept = 0
    for job in jobs:
        with _writing(job.folder):
            parts = _parts(job, length)
            for part, (_, tokens) in zip(parts, job.shards, strict=True):
                before = done
                if _write_part(form, part, job.folder, lambda n, b=before: _tell(on_progress, b + n, total)):
                    new += 1
                else:
                    kept += 1
                done += tokens
                _tell(on_progress, done, total)
            form.join(job.folder, parts)
    return Written(new, kept)


def _parts(job: Job, length: int | None) -> list[Part]:
    """A part per shard; `rows` are spread over them by the windows that they hold."""
    parts = [Part(number, prefix, length) for number, (prefix, _) in enumerate(job.shards)]
    if job.rows is None:
        return parts
    held = sum(part.held for part in parts)
    if not held:
        raise InputError(
            f"domain {job.domain!r} holds no whole window of {length} tokens", "Give it more text"
        )
    wanted = apportion({str(part.number): part.held / held for part in parts}, job.rows)
    return [replace(part, take=wanted[str(part.number)]) for part in parts]


def _tell(report: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if report:
        report(done, total)


def _write_part(form: Format, part: Part, folder: Path, on_tokens: OnTokens) -> bool:
    """Whether it had to be written."""
    record = folder / OWN / f"{part.number:05d}.json"
    key = _key(form, part)
    known = _read(record)
    if known.get("key") == key and all((folder / name).exists() for name in known["files"]):
        return False
    record.unlink(missing_ok=True)
    for name in known.get("files", []):
        _remove(folder / name)
    scratch = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder / OWN))
    try:
        form.write(part, scratch, on_tokens)
        names = sorted(entry.name for entry in scratch.iterdir())
        for name in names:
            _remove(folder / name)
            os.replace(scratch / name, folder / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    content = {"key": key, "files": names, "format": form.name, "length": part.length}
    replace_files({record: json.dumps(content).encode()})
    return True


def _key(form: Format, part: Part) -> str:
    """Hash of what decides a part's bytes: the token files by size and time, the rows, the format."""
    stats = [os.stat(f"{part.prefix}{extension}") for extension in (".bin", ".idx")]
    content: list[object] = [form.name, form.version, part.number, part.length, part.take, str(part.prefix)]
    content += [[stat.st_size, stat.st_mtime_ns] for stat in stats]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _read(record: Path) -> dict:
    try:
        found = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("files"), list) else {}


def _refuse_others(form: Format, parts: Sequence[Part], folder: Path) -> None:
    """Raise InputError where `folder` holds rows that are not those of `parts`."""
    own = {f"{part.number:05d}": part for part in parts}
    for record in sorted((folder / OWN).glob("*.json")):
        known, part = _read(record), own.get(record.stem)
        if not any((folder / name).exists() for name in known.get("files", [])):
            continue
        if part is None or known.get("key") != _key(form, part):
            raise InputError(
                f"{folder} holds {_other(known, form, parts[0])}", "Give another folder, or delete this one"
            )


def _other(known: dict, form: Format, part: Part) -> str:
    """What a record says of its rows, as far as they differ in kind from those of `part`."""
    was, length = known.get("format"), known.get("length")
    if was not in (None, form.name):
        return f"{was} data, not {form.name}"
    if "length" in known and length != part.length:
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
        (folder / OWN).mkdir(parents=True, exist_ok=True)
        foreign = [entry.name for entry in folder.iterdir() if entry.name != OWN]
        if foreign and not any((folder / OWN).glob("*.json")) and not (folder / OWN / "lock").exists():
            raise InputError(
                f"{folder} holds files that are not of Mixlaw ({foreign[0]})", "Give an empty folder"
            )
        with open(folder / OWN / "lock", "w") as lock:
            try:
                # The kernel lets go of it whatever ends the process.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise MixlawError(
                    f"{folder} is being written by another process", "Wait for it, or give another folder"
                ) from None
            for left in (folder / OWN).glob(f"{PARTIAL}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename}: does not exist", "Give the folder of the token files with --data-root"
        ) from error
    except OSError as error:
        raise MixlawError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error})",
            "Make room or give another folder, and run again: finished parts are kept",
        ) from error
