"""Corpora as streams of documents, and the split that holds some of them out.

Reads JSON Lines (plain, .gz, .zst), Parquet, and text files of any kind (a file is a document), from
folders, single files and globs, in any mix. Memory holds one document (Parquet: one batch) at a time, so it
stays flat as a corpus grows; a large text file is one document and is held whole.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from mixing.corpora.files import File, Survey, corpus_files, shown, survey, unreadable
from mixing.corpora.token_files import TokenDocument, TokenFiles, token_documents
from mixing.errors import InputError

Role = Literal["general", "target"]

JSON_LINES = {".jsonl", ".ndjson"}
COMPRESSION = {".gz": "gzip", ".zst": "zstd"}
SNIFFED_BYTES = 8192
"""Bytes at the start of a text file; with a zero byte, or not UTF-8, they make the file binary."""
PARQUET_ROWS = 256
"""Rows that are in memory at once."""


@dataclass(frozen=True)
class Source:
    """A named corpus: folders, files or globs, and the field that holds the text in JSON and Parquet.

    With `tokens` the files hold token ids instead of text.
    """

    name: str
    role: Role
    paths: tuple[Path, ...]
    text_field: str = "text"
    max_epochs: float = 4.0
    tokens: TokenFiles | None = None


@dataclass(frozen=True)
class Document:
    """One text with its content hash (16 bytes) and its size in UTF-8 bytes."""

    text: str
    digest: bytes
    size: int

    @classmethod
    def of(cls, text: str) -> Document:
        """Raises UnicodeEncodeError for text that UTF-8 cannot hold (lone surrogates)."""
        raw = text.encode()
        return cls(text, hashlib.blake2b(raw, digest_size=16).digest(), len(raw))


@dataclass
class Tally:
    """Documents that a reader skipped, and its progress: `bytes_read` of the bytes that `survey_source` counts."""

    empty: int = 0
    invalid_utf8: int = 0
    bytes_read: int = 0


def is_heldout(digest: bytes, fraction: float) -> bool:
    """Whether a document is held out: its hash, as a uniform number, is below `fraction`.

    A function of the text alone. So documents that are added later move no other document, exact duplicates
    share a side, and held-out text of one domain is never training text of another.
    """
    return int.from_bytes(digest[:8], "big") < fraction * 2.0**64


def check_split(name: str, documents: int, heldout: int, fraction: float) -> None:
    """Raises InputError, naming the domain, where all of its documents fell on one side of the split."""
    if 0 < heldout < documents:
        return
    missing = "held out" if heldout == 0 else "left to train on"
    raise InputError(
        f"domain {name!r}: none of its {documents} documents is {missing} (held-out fraction {fraction:g})",
        "Give its text as more documents (JSON lines or files), or change the held-out fraction",
    )


def survey_source(source: Source) -> Survey:
    """Files, bytes and change fingerprint of a source, without reading it. Raises as `corpus_files`."""
    of_files = survey(source.name, source.paths)
    # Another text field is another corpus in the same files.
    read_as = source.text_field if source.tokens is None else repr(source.tokens)
    fingerprint = hashlib.sha256(f"{of_files.fingerprint}\0{read_as}".encode()).hexdigest()
    return Survey(of_files.files, of_files.bytes, fingerprint)


def contents(source: Source, tally: Tally) -> Iterator[Document | TokenDocument]:
    """The documents of a source, whether it holds text or ids. Raises as `documents`, `token_documents`."""
    return documents(source, tally) if source.tokens is None else _ids(source, source.tokens, tally)


def documents(source: Source, tally: Tally | None = None) -> Iterator[Document]:
    """Stream the documents of a source, always in the same order.

    Blank documents (no text, or white space only) and documents that are not valid UTF-8 are counted in
    `tally` and skipped; a binary file counts as the latter. Raises InputError naming the file (and line) for
    malformed JSON, a missing text field, a damaged archive or Parquet file, and as `corpus_files`.
    """
    tally = Tally() if tally is None else tally
    for file in corpus_files(source.name, source.paths):
        before = tally.bytes_read
        try:
            for text in _texts(file, source, tally):
                if text is None or text.isspace() or not text:
                    tally.empty += 1
                    continue
                try:
                    document = Document.of(text)
                except UnicodeEncodeError:
                    tally.invalid_utf8 += 1
                    continue
                yield document
        except OSError as error:
            if error.errno is not None:
                raise unreadable(source.name, file.path, error) from error
            raise InputError(
                f"domain {source.name!r}: {shown(file.path)} is damaged or cut short ({error})",
                "Fetch or write this file again",
            ) from error
        tally.bytes_read = before + file.size


def _ids(source: Source, files: TokenFiles, tally: Tally) -> Iterator[TokenDocument]:
    for file in corpus_files(source.name, source.paths):
        before = tally.bytes_read
        # A Megatron index leads to the .bin beside it.
        if files.kind == "olmo" or file.path.suffix == ".idx":
            for document in token_documents(file.path, files):
                if document is None:
                    tally.empty += 1
                    continue
                tally.bytes_read += document.size
                yield document
        if files.kind == "olmo" or file.path.suffix == ".bin":
            tally.bytes_read = before + file.size


def _texts(file: File, source: Source, tally: Tally) -> Iterator[str | None]:
    suffixes = [suffix.lower() for suffix in file.path.suffixes]
    compression = COMPRESSION[suffixes.pop()] if suffixes and suffixes[-1] in COMPRESSION else None
    kind = suffixes[-1] if suffixes else ""
    if kind == ".parquet" and compression is None:
        yield from _parquet(file, source, tally)
        return
    with open(file.path, "rb") as raw, _decompressed(raw, compression) as stream:
        first = stream.readline() if kind == ".json" else b""
        if kind in JSON_LINES or (first and _is_record(first, source.text_field)):
            yield from _json_lines(chain([first] if first else [], stream), raw, file.path, source, tally)
        else:
            text = _whole(first, stream)
            if text is None:
                tally.invalid_utf8 += 1
            else:
                yield text


def _decompressed(raw: IO[bytes], compression: str | None) -> IO[bytes]:
    if compression is None:
        return raw
    # Arrow's readers notice a file that is cut short, and expand in bounded steps.
    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, "r"), compression), 1 << 18)


def _whole(start: bytes, stream: IO[bytes]) -> str | None:
    """The text of a file that begins with `start`; None where it is binary or not UTF-8."""
    head = start or stream.read(SNIFFED_BYTES)
    try:
        # Checked first, so that a large binary file is not read to its end.
        codecs.getincrementaldecoder("utf-8")().decode(head)
        return None if b"\0" in head else (head + stream.read()).decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None


def _is_record(line: bytes, field: str) -> bool:
    """Whether a .json file that begins with this line is JSON Lines (many corpora), not a document itself."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and field in record


def _json_lines(
    lines: Iterable[bytes], raw: IO[bytes], path: Path, source: Source, tally: Tally
) -> Iterator[str | None]:
    start = tally.bytes_read
    field = source.text_field
    for number, line in enumerate(lines, 1):
        if number % 256 == 0:
            tally.bytes_read = start + raw.tell()
        where = f"domain {source.name!r}: {shown(path)}: line {number}"
        try:
            decoded = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).decode()
        except UnicodeDecodeError:
            tally.invalid_utf8 += 1
            continue
        if not decoded.strip():
            continue
        try:
            record = json.loads(decoded)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise InputError(f"{where} is not JSON ({reason})", "Correct or remove this line") from error
        if not isinstance(record, dict):
            raise InputError(
                f"{where} is not a JSON object", f'Each line is an object such as {{"{field}": ...}}'
            )
        if field not in record:
            raise InputError(f"{where}: no field {field!r}", _other_fields(field, record))
        text = record[field]
        if text is not None and not isinstance(text, str):
            raise InputError(
                f"{where}: field {field!r} is {type(text).__name__}, not text", _other_fields(field, record)
            )
        yield text


def _other_fields(field: str, fields: Any) -> str:
    others = ", ".join(str(name) for name in fields if name != field)
    return f"Name the field that holds the text with text_field (here: {others or 'no other field'})"


def _parquet(file: File, source: Source, tally: Tally) -> Iterator[str | None]:
    start = tally.bytes_read
    where = f"domain {source.name!r}: {shown(file.path)}"
    try:
        # A buffer makes pyarrow stream a row group instead of loading it.
        with pq.ParquetFile(file.path, buffer_size=1 << 20, pre_buffer=False) as table:
            names = table.schema_arrow.names
            if source.text_field not in names:
                raise InputError(
                    f"{where}: no column {source.text_field!r}", _other_fields(source.text_field, names)
                )
            rows = max(table.metadata.num_rows, 1)
            rows_read = 0
            for batch in table.iter_batches(PARQUET_ROWS, columns=[source.text_field], use_threads=False):
                yield from _column(batch.column(0), where, source.text_field, names, tally)
                rows_read += batch.num_rows
                tally.bytes_read = start + file.size * rows_read // rows
    except pa.ArrowException as error:
        raise InputError(
            f"{where} is not readable Parquet ({str(error).splitlines()[0]})", "Write this file again"
        ) from error


def _column(column: pa.Array, where: str, field: str, names: list[str], tally: Tally) -> Iterator[str | None]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        yield from (None for _ in range(len(column)))
        return
    textual = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    if not any(test(column.type) for test in (*textual, *binary)):
        raise InputError(f"{where}: column {field!r} is {column.type}, not text", _other_fields(field, names))
    # As bytes, because Parquet does not check that its strings are UTF-8.
    for value in column.cast(pa.large_binary()).to_pylist():
        try:
            yield None if value is None else value.decode()
        except UnicodeDecodeError:
            tally.invalid_utf8 += 1
