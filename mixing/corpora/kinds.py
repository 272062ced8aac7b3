"""What a file of a corpus is, by its suffix and its first bytes, and which files of a folder are no data."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mixing.corpora.compression import SUFFIXES, compression_of, decompressed, why_unread
from mixing.corpora.encodings import decoded
from mixing.corpora.fields import MISSING, field_of, fields_of
from mixing.corpora.files import shown
from mixing.errors import InputError

Format = Literal["jsonl", "json", "parquet", "csv", "arrow", "text"]
"""How files are read: JSON Lines; JSON values (an array of records, or records one after the other, indented or
not); Parquet; CSV with a header; Arrow, as file or stream; text, of which a file is one document."""

BY_SUFFIX: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonlines": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
}
COLUMNAR_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\xff\xff\xff\xff", "arrow"),
)
COLUMNAR = ("parquet", "arrow")
JSON = ("jsonl", "json")
SNIFFED_BYTES = 8192
"""Bytes at the start of a file that tell its kind; with a zero byte, or in no encoding that is asked for, it is
binary."""
FIRST_RECORD_BYTES = 1 << 20
"""How far the first record is looked for."""
OPENS_RECORD = re.compile(r'(?:\[\s*)?\{\s*(?:"(?:[^"\\]|\\.)*"\s*:|\}|$)')
LFS_POINTER = b"version https://git-lfs.github.com/spec/"

ABOUT = re.compile(
    r"(readme|licen[cs]e|copying|notice|authors|contributors|contributing|citation|changelog|code_of_conduct|security"
    r"|datasheet|data_?set_?card|requirements|checksums?|md5sums?|sha\d+sums?|state|dataset_infos?|dataset_dict"
    r"|_success|_metadata|_common_metadata|_committed_\w+|_started_\w+)([._-].*)?",
    re.IGNORECASE,
)
"""Names of files that tell about a dataset: its card and licence, what hubs and writers leave beside the data."""
ABOUT_SUFFIXES = {
    ".md5",
    ".sha256",
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".svg",
    ".webp",
    ".pdf",
    ".lock",
    ".crc",
}


@dataclass(frozen=True)
class Look:
    """What the beginning of a file tells.

    `format` is None for what is not read, and `reason` says why. `fields` are those of the first record where it lacks
    the text field (none at all: it is no record); None where it has the field, or where that is not looked at.
    """

    format: Format | None
    compression: str | None = None
    reason: str = ""
    fields: tuple[str, ...] | None = None

    @property
    def has_records(self) -> bool:
        """Whether the file holds records with the text field, as far as its beginning tells."""
        return self.format not in (None, "text") and self.fields is None


def is_about(path: Path) -> bool:
    """Whether a file beside data only tells about it: a card, a licence, a picture, a list of checksums."""
    return bool(ABOUT.fullmatch(path.name)) or path.suffix.lower() in ABOUT_SUFFIXES


def look_at(path: Path, field: str, encodings: tuple[str, ...], declared: Format | None) -> Look:
    """Read the beginning of a file. `declared` is the format that the corpus is said to have, or None.

    Raises InputError for a Git LFS pointer, OSError for a file that is damaged or cannot be read.
    """
    with open(path, "rb") as raw:
        head = raw.read(SNIFFED_BYTES)
        if head.startswith(LFS_POINTER):
            raise InputError(
                f"{shown(path)} is a Git LFS pointer, not the file itself", "Fetch the files: git lfs pull"
            )
        if reason := why_unread(path, head):
            return Look(None, reason=reason)
        compression, suffix = compression_of(head), path.suffix.lower()
        if suffix in SUFFIXES:
            # Of a file that is not what its name says, the reader tells the fault.
            compression, suffix = compression or SUFFIXES[suffix], path.with_suffix("").suffix.lower()
        by_name = BY_SUFFIX.get(suffix)
        if by_name in COLUMNAR or declared in COLUMNAR:
            return _columnar(by_name, compression, head, declared)
        if compression is not None:
            raw.seek(0)
            head = decompressed(raw, compression).read(SNIFFED_BYTES)
        by_magic = next((kind for magic, kind in COLUMNAR_MAGIC if head.startswith(magic)), None)
        if by_magic is not None and declared != "text":
            return _columnar(by_magic, compression, head, declared)
        if declared == "text":
            return Look("text", compression)

        def start() -> str:
            with open(path, "rb") as again, decompressed(again, compression) as stream:
                return _readable(stream.read(FIRST_RECORD_BYTES), encodings)

        return _look_at_text(by_name, is_about(path), compression, head, declared, field, encodings, start)


def _columnar(by_name: Format | None, compression: str | None, head: bytes, declared: Format | None) -> Look:
    magic = next((kind for start, kind in COLUMNAR_MAGIC if head.startswith(start)), None)
    kind = magic or by_name
    if declared is not None and kind != declared:
        return Look(None, reason=f"not {declared}, the format that is given")
    if compression is not None:
        return Look(None, reason=f"{kind} inside a compressed file; decompress it")
    return Look(kind)


def _look_at_text(
    by_name: Format | None,
    path_is_about: bool,
    compression: str | None,
    head: bytes,
    declared: Format | None,
    field: str,
    encodings: tuple[str, ...],
    start: Callable[[], str],
) -> Look:
    if declared == "csv" and (by_name in JSON or path_is_about):
        return Look(None, reason="not csv, the format that is given")
    if declared == "csv" or (declared is None and by_name == "csv"):
        return Look("csv", compression, fields=_header(start(), field))
    json_kind = kind_of_json(_readable(head, encodings), whole=len(head) < SNIFFED_BYTES)
    if declared in ("jsonl", "json"):
        if by_name == "csv" or (by_name is None and json_kind is None):
            return Look(None, reason=f"not {declared}, the format that is given")
        return Look("json" if json_kind == "json" else "jsonl", compression)
    if by_name == "jsonl":
        return Look("json" if json_kind == "json" else "jsonl", compression)
    if json_kind is None and by_name != "json":
        return Look("text", compression)
    fields = _first_fields(start(), field)
    if fields is NO_JSON and by_name != "json":
        return Look("text", compression)
    return Look(json_kind or "json", compression, fields=() if fields is NO_JSON else fields)


def _readable(head: bytes, encodings: tuple[str, ...]) -> str:
    """The beginning of a file as text by which its syntax can be told, also where it is in none of the encodings."""
    text = decoded(head, encodings, cut=True)
    return head.decode("latin-1") if text is None else text


NO_JSON = ("",)
"""In place of fields, for text that is no JSON."""


def kind_of_json(text: str, whole: bool) -> Literal["jsonl", "json"] | None:
    """Whether a file that begins with `text` (`whole`: that is all of it) holds JSON Lines, other JSON, or no JSON."""
    text = text.lstrip("\ufeff \t\r\n")
    if text[:1] not in ("{", "["):
        return None
    line, line_break, _ = text.partition("\n")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return "jsonl"
    if isinstance(value, list):
        return "json" if not value or isinstance(value[0], dict) else "jsonl"
    if not OPENS_RECORD.match(text):
        return None
    if text[0] == "{" and _is_broken_line(line, text[len(line) + 1 :]):
        return "jsonl"
    # A first line that is longer than what is known of it is a record of JSON Lines, if it is no array.
    return "jsonl" if text[0] == "{" and not line_break and not whole else "json"


def _is_broken_line(line: str, rest: str) -> bool:
    """Whether a line that is no JSON is a broken one of JSON Lines, as no JSON over several lines could go on so."""
    if not rest.startswith('{"') or line.rstrip().endswith((":", ",", "[", "{")):
        return False
    try:
        json.JSONDecoder().raw_decode(line)
    except (ValueError, RecursionError):
        return True
    return False


def _first_fields(text: str, field: str) -> tuple[str, ...] | None:
    """The fields of the first record where it lacks `field`, else None; `NO_JSON` where there is no JSON."""
    text = text.lstrip("\ufeff \t\r\n")
    at = re.match(r"\[\s*", text)
    try:
        value, _ = json.JSONDecoder().raw_decode(text, at.end() if at else 0)
    except json.JSONDecodeError as error:
        # What is cut off cannot be judged.
        cut = len(text) >= FIRST_RECORD_BYTES // 4 and (
            error.pos > len(text) - 16 or error.msg.startswith("Unterminated")
        )
        return None if cut else NO_JSON
    except RecursionError:
        return NO_JSON
    if not isinstance(value, dict):
        return ()
    return fields_of(value) if field_of(value, field) is MISSING else None


def _header(text: str, field: str) -> tuple[str, ...] | None:
    columns = header_of(text, field)[1]
    return None if field in columns else tuple(columns)


def header_of(text: str, field: str) -> tuple[str, list[str]]:
    """The delimiter and the columns of a CSV file that begins with `text`.

    The delimiter is the one by which the header has the column `field`, or else the one that gives most columns.
    """
    readings = {}
    for delimiter in (",", "\t", ";", "|"):
        try:
            first = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        except csv.Error:
            first = []
        readings[delimiter] = [name.strip() for name in first]
    best = max(readings, key=lambda d: (field in readings[d], len(readings[d])))
    return best, readings[best]
