"""What a folder seems to hold: format, field of the text, and encoding, read off the beginnings of its files.

For `mixlaw init`, which writes them into a study file for people to check; reading itself never guesses.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixing.corpora.compression import decompressed
from mixing.corpora.encodings import UTF8, decoded, encoding_name, is_wide, mark_of
from mixing.corpora.fields import text_fields
from mixing.corpora.files import File, corpus_files, damaged
from mixing.corpora.kinds import FIRST_RECORD_BYTES, Format, Look, header_of, is_about, look_at
from mixing.corpora.records import json_records_of
from mixing.corpora.western import is_western
from mixing.errors import InputError

MOST_FILES = 32
"""Files of a format that are looked into."""
MOST_RECORDS = 64
SAMPLE = 60
"""Characters of text that are shown for a guessed encoding."""
USUAL = ("text", "content", "contents", "raw_content", "body", "article", "page_content", "document", "code")
"""Fields that hold the text in published corpora, the most common first."""
NO_FIELD = ""


@dataclass(frozen=True)
class Inspection:
    """What a folder seems to hold; what is None or the default need not be written down.

    `fields` are those that hold text, where several might be meant. `bytes` are those of its data files. `sample` is
    some text beyond ASCII as it reads in an encoding other than UTF-8.
    """

    format: Format | None
    text_field: str
    encodings: tuple[str, ...]
    fields: tuple[str, ...]
    bytes: int
    sample: str = ""


def inspect(name: str, folder: Path) -> Inspection | None:
    """Look into the files of a folder; None where it holds nothing that could be read.

    Raises InputError as `corpus_files` and for a file that is damaged.
    """
    formats: dict[Format, list[tuple[File, Look]]] = {}
    sizes: Counter[Format] = Counter()
    for file in corpus_files(name, (folder,)):
        try:
            look = look_at(file.path, NO_FIELD, (UTF8,), None)
        except OSError as error:
            raise damaged(name, file.path, error) from error
        if look.format is None:
            continue
        kind = look.format
        about = is_about(file.path)
        sizes[kind] += 0 if about else file.size
        if len(formats.setdefault(kind, [])) < MOST_FILES and not about:
            formats[kind].append((file, look))
    if not sizes:
        return None
    kind = _main(sizes)
    files = formats[kind]
    encodings, sample = _encodings(files)
    if kind == "text":
        return Inspection(None, "text", encodings, (), sizes[kind], sample)
    field, others = _field(files, kind, encodings)
    mixed = any(size for other, size in sizes.items() if other not in (kind, "text"))
    return Inspection(None if mixed else kind, field, encodings, others, sizes[kind], sample)


def _main(sizes: Counter[Format]) -> Format:
    """Records before text, as reading has it, unless text is most of the folder."""
    records = [kind for kind in sizes if kind != "text"]
    if not records or sizes["text"] > sum(sizes[kind] for kind in records):
        return "text"
    return max(records, key=lambda kind: sizes[kind])


def _encodings(files: list[tuple[File, Look]]) -> tuple[tuple[str, ...], str]:
    """UTF-8, or what the files that are not seem to be in besides; and how some of their text then reads."""
    fits, others = False, list[bytes]()
    for file, look in files:
        if look.format in ("parquet", "arrow"):
            continue
        with open(file.path, "rb") as raw, decompressed(raw, look.compression) as stream:
            start = stream.read(FIRST_RECORD_BYTES)
        if mark := mark_of(start):
            return (mark,), _sample(start, mark)
        if decoded(start, (UTF8,), cut=True) is not None and b"\0" not in start:
            fits = True
        elif sum(map(len, others)) < FIRST_RECORD_BYTES:
            others.append(start)
    if not others:
        return (UTF8,), ""
    encoding = _guessed(others)
    if encoding == "ascii" or encoding == UTF8:
        return (UTF8,), ""
    sample = next(filter(None, (_sample(start, encoding) for start in others)), "")
    return ((encoding,) if is_wide(encoding) or not fits else (UTF8, encoding)), sample


def _guessed(starts: list[bytes]) -> str:
    """The encoding that the beginnings of files seem to be in."""
    if not any(b"\0" in start for start in starts) and all(map(is_western, starts)):
        return "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(b"".join(starts)).best()
    return encoding_name(best.encoding) if best is not None else "cp1252"


def _sample(start: bytes, encoding: str) -> str:
    """The words around the first character beyond ASCII, on one line."""
    text = start.decode(encoding, "replace").removeprefix("\ufeff")
    beyond = re.search(r"[^\x00-\x7f]", text)
    if beyond is None:
        return ""
    at = beyond.start()
    before = re.split(r"[\r\n]", text[max(at - SAMPLE // 3, 0) : at])[-1]
    words = before + re.split(r"[\r\n]", text[at : at + SAMPLE])[0]
    return "".join(c if c.isprintable() else " " for c in words).strip()


def _field(
    files: list[tuple[File, Look]], kind: Format, encodings: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    """The field that seems to hold the text, and all that hold text: a usual name, or else the longest texts."""
    lengths: Counter[str] = Counter()
    for file, look in files[:4]:
        for record in itertools.islice(_records(file.path, look, kind, encodings), MOST_RECORDS):
            for name in text_fields(record):
                value: Any = record
                for step in [name] if name in record else name.split("."):
                    value = value[step]
                lengths[name] += len(value)
    if not lengths:
        return "text", ()
    longest = max(lengths.values())
    usual = [name for name in USUAL if lengths[name] * 4 > longest]
    field = usual[0] if usual else max(lengths, key=lambda name: lengths[name])
    return field, tuple(sorted(lengths, key=lambda name: -lengths[name]))


def _records(path: Path, look: Look, kind: Format, encodings: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The first records of a file, as far as they are sound."""
    if kind == "parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(MOST_RECORDS):
                yield from batch.to_pylist()
        return
    if kind == "arrow":
        import pyarrow as pa

        with pa.memory_map(str(path)) as source:
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            opened = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
            batch = opened.get_batch(0) if is_file else opened.read_next_batch()
            yield from batch.slice(0, MOST_RECORDS).to_pylist()
        return
    with open(path, "rb") as raw, decompressed(raw, look.compression) as stream:
        start = stream.read(FIRST_RECORD_BYTES)
    yield from _textual(start, kind, encodings)


def _textual(start: bytes, kind: Format, encodings: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    text = decoded(start, encodings, cut=True) or start.decode("latin-1")
    if kind == "csv":
        delimiter, columns = header_of(text, NO_FIELD)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        next(rows, None)
        yield from (dict(zip(columns, row, strict=False)) for row in rows)
        return
    try:
        yield from (record for record in json_records_of(text) if isinstance(record, dict))
    except InputError:
        return  # the end is cut off
