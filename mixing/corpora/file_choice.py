"""Which files of a corpus are read: its data, and not what lies beside it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mixing.corpora.encodings import mark_of
from mixing.corpora.fields import which_field
from mixing.corpora.files import File, corpus_files, damaged, shown
from mixing.corpora.kinds import Format, Look, is_about, look_at
from mixing.corpora.left_out import Tally
from mixing.errors import InputError

CACHED = re.compile(r"cache-[0-9a-f]+.*\.arrow")
"""What `datasets` keeps of a mapping over a saved dataset: the same text again."""


@dataclass(frozen=True)
class Chosen:
    """A file that is read, and how."""

    file: File
    format: Format
    compression: str | None


def chosen_files(
    name: str,
    paths: tuple[Path, ...],
    field: str,
    encodings: tuple[str, ...],
    declared: Format | None,
    tally: Tally,
) -> Iterator[Chosen]:
    """The files of domain `name` that are read, in the order of `corpus_files`; `tally` names the others.

    Where a folder holds records (JSON, Parquet, CSV, Arrow with the text field), the text files in it are no
    documents; a file that the corpus names by itself always is. Raises InputError where all files are JSON or CSV
    without the field, or none can be read, and as `corpus_files`.
    """

    def looked() -> Iterator[tuple[File, Look]]:
        for file in corpus_files(name, paths):
            try:
                yield file, _look(file, field, encodings, declared)
            except OSError as error:
                raise damaged(name, file.path, error) from error

    records = text = False
    fieldless: tuple[File, Look] | None = None
    for file, look in looked():
        records = records or look.has_records
        text = text or look.format == "text"
        fieldless = fieldless or ((file, look) if look.fields is not None else None)
        if records:
            break
    if fieldless is not None and not records and not text:
        _refuse(name, field, *fieldless)
    for file, look in looked():
        if look.format is None:
            about = (records or declared is not None) and is_about(file.path)
            tally.leave_out(file, look.reason, no_data=about or bool(CACHED.fullmatch(file.path.name)))
        elif look.fields is not None and not file.named and (records or text or look.fields):
            about = records and is_about(file.path)
            tally.leave_out(file, "no data" if about else _without(look, field), no_data=about)
        elif look.format == "text" and records and declared is None and not file.named:
            about = is_about(file.path)
            tally.leave_out(file, "no data" if about else "a text file beside records", no_data=about)
        else:
            yield Chosen(file, look.format, look.compression)
            continue
        tally.bytes_read += file.size


def _look(file: File, field: str, encodings: tuple[str, ...], declared: Format | None) -> Look:
    if CACHED.fullmatch(file.path.name):
        return Look(None, reason="not the dataset, but a copy that datasets caches")
    if file.path.suffix == ".arrow" and not _is_listed(file.path):
        return Look(None, reason="not among the files that state.json lists")
    look = look_at(file.path, field, encodings, declared)
    if file.path.suffix == ".jsonl" and look.fields is not None:
        return replace(look, fields=None)
    return look


def _is_listed(path: Path) -> bool:
    """Whether a file belongs to the dataset that `datasets` saved in its folder, as far as that says so."""
    state = path.with_name("state.json")
    try:
        listed = _listed(state, state.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return path.name in listed


@functools.lru_cache(maxsize=64)
def _listed(state: Path, mtime_ns: int) -> frozenset[str]:
    return frozenset(entry["filename"] for entry in json.loads(state.read_bytes())["_data_files"])


def _without(look: Look, field: str) -> str:
    kind = "CSV" if look.format == "csv" else "JSON"
    if not look.fields:
        return f"{kind} that is no record"
    return f"{kind} without field {field!r}; here: {', '.join(look.fields[:6])}"


def _refuse(name: str, field: str, file: File, look: Look) -> None:
    where = f"domain {name!r}: {shown(file.path)}"
    if look.format == "csv":
        raise InputError(f"{where}: no column {field!r}", which_field(field, look.fields or ()))
    if not look.fields:
        return  # its reader says what is wrong, and in which line
    raise InputError(f"{where}: line 1: no field {field!r}", which_field(field, look.fields))


def hint_of_encoding(path: Path) -> str:
    """What to write for a file that is in none of the encodings."""
    try:
        with open(path, "rb") as file:
            mark = mark_of(file.read(4))
    except OSError:
        mark = None
    return f"encoding: {mark}" if mark else "encoding: [utf-8, cp1252]"
