"""Corpora as streams of documents, and the split that holds some of them out.

Reads JSON Lines, other JSON, Parquet, Arrow, CSV, and text files of any kind (a file is a document), plain or
compressed, from folders, single files and globs. Memory holds one document (Parquet, Arrow: one batch) at a time, so
it stays flat as a corpus grows; a large text file is one document and is held whole.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal, TypeVar

import pyarrow as pa

from mixing.corpora.buckets import Bucket
from mixing.corpora.compression import decompressed
from mixing.corpora.encodings import UTF8, decoded, is_wide
from mixing.corpora.estimate import estimate
from mixing.corpora.file_choice import Chosen, chosen_files
from mixing.corpora.files import Survey, corpus_files, damaged, shown, survey
from mixing.corpora.kinds import SNIFFED_BYTES, Format
from mixing.corpora.left_out import MAX_SHARE, Tally
from mixing.corpora.records import (
    UNDECODABLE,
    Malformed,
    Reading,
    Text,
    Undecodable,
    arrow_rows,
    csv_rows,
    json_lines,
    json_values,
    parquet_rows,
)
from mixing.corpora.sampling import (
    BYTES_PER_TOKEN,
    Block,
    blocks_of,
    choose_blocks,
    is_sampled,
    token_blocks,
)
from mixing.corpora.token_files import (
    TokenDocument,
    TokenFiles,
    bytes_per_id,
    stretches,
    token_documents,
)
from mixing.errors import InputError

Role = Literal["general", "target"]


@dataclass(frozen=True)
class Source:
    """A named corpus: folders, files or globs, and how they are read.

    `text_field` holds the text of a record; `a.b` is a field within a field. `format` is None where each file's
    content decides. `encodings` are tried in their order. At most `max_left_out` of the corpus may be left out. With
    `tokens` the files hold token ids instead of text. With `sample`, about so many tokens of it are read;
    with `bucket`, only the records in it.
    """

    name: str
    role: Role
    paths: tuple[Path, ...]
    text_field: str = "text"
    max_epochs: float = 4.0
    tokens: TokenFiles | None = None
    sample: int | None = None
    format: Format | None = None
    encodings: tuple[str, ...] = (UTF8,)
    max_left_out: float = MAX_SHARE
    bucket: Bucket | None = None


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


Content = TypeVar("Content", Document, TokenDocument)


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
    # What is not asked for is not named, so that what was made of the files before still holds.
    if source.format is not None or source.encodings != (UTF8,):
        read_as += f"\0{source.format}\0{source.encodings}"
    if source.sample is not None:
        read_as += f"\0sample {source.sample}"
    if source.bucket is not None:
        read_as += f"\0{source.bucket}"
    fingerprint = hashlib.sha256(f"{of_files.fingerprint}\0{read_as}".encode()).hexdigest()
    return Survey(of_files.files, of_files.bytes, fingerprint)


def contents(source: Source, tally: Tally) -> Iterator[Document | TokenDocument]:
    """The documents of a source, whether it holds text or ids. Raises as `documents`, `token_documents`."""
    return documents(source, tally) if source.tokens is None else _ids(source, source.tokens, tally)


def documents(source: Source, tally: Tally | None = None) -> Iterator[Document]:
    """Stream the documents of a source, always in the same order.

    Blank documents (no text, or white space only) and documents that are in none of the encodings are counted in
    `tally` and skipped; a binary file counts as the latter. So are lines that are not JSON and JSON records without
    text, in files that have sound ones. Files that are no data of this corpus are named there.
    Raises InputError naming the file (and line) for a file whose first record lacks the text field, for malformed CSV,
    JSON arrays and indented JSON, for a damaged archive or Parquet file, for a corpus without a file that can be read,
    and as `corpus_files`.
    """
    tally = Tally() if tally is None else tally
    files = chosen_files(source.name, source.paths, source.text_field, source.encodings, source.format, tally)
    if source.sample is None:
        for chosen in files:
            before = tally.bytes_read
            yield from _documents_of(chosen, source, tally)
            tally.bytes_read = before + chosen.file.size
        return
    blocks = (block for chosen in files for block in _blocks(chosen, source))

    def read(block: Block) -> Iterator[Document]:
        return _documents_of(block.chosen, source, tally, block.start, block.end)

    yield from sampled(blocks, source.sample * BYTES_PER_TOKEN, tally, read)


def _blocks(chosen: Chosen, source: Source) -> Iterator[Block]:
    try:
        yield from blocks_of(chosen, source.text_field, source.encodings)
    except (OSError, pa.ArrowException) as error:
        raise damaged(source.name, chosen.file.path, OSError(str(error).splitlines()[0])) from error


def sampled(
    blocks: Iterable[Block], text_bytes: float, tally: Tally, read: Callable[[Block], Iterator[Content]]
) -> Iterator[Content]:
    """The documents of a sample, block by block; `tally` then knows what the whole holds."""
    sample = choose_blocks(blocks, text_bytes)
    enough = math.inf if sample.everything else text_bytes
    total, of_blocks = 0, []
    for block in sample.blocks:
        before, size = tally.bytes_read, 0
        for document in read(block):
            if is_sampled(document.digest, sample.part):
                size += document.size
                yield document
        tally.bytes_read = before + min(block.size, block.chosen.file.size)
        of_blocks.append((block.size, size))
        total += size
        if total >= enough and sample.part == 1:
            break
    if of_blocks:
        tally.whole = estimate(of_blocks, sample.part, sample.stored)


def _documents_of(
    chosen: Chosen, source: Source, tally: Tally, start: int = 0, end: int | None = None
) -> Iterator[Document]:
    """The documents of a file, or of its part from `start` to `end`: bytes of JSON Lines, row groups of Parquet."""
    file = chosen.file
    try:
        for text in _texts(chosen, source, tally, start, end):
            if isinstance(text, Undecodable):
                tally.invalid(file.path, file.size if chosen.format == "text" else 0)
                continue
            if isinstance(text, Malformed):
                tally.count_malformed(_place(chosen, start), text.fault)
                continue
            if text is None or text.isspace() or not text:
                tally.empty += 1
                continue
            try:
                document = Document.of(text)
            except UnicodeEncodeError:
                tally.invalid(file.path)
                continue
            tally.reading = file.path
            yield document
    except OSError as error:
        raise damaged(source.name, file.path, error) from error


def _place(chosen: Chosen, start: int) -> str:
    """The file for messages, with the byte that its lines are counted from."""
    within = f", from byte {start:,}" if start and chosen.format == "jsonl" else ""
    return f"{shown(chosen.file.path)}{within}"


def _ids(source: Source, files: TokenFiles, tally: Tally) -> Iterator[TokenDocument]:
    if source.sample is not None:
        blocks = (
            block
            for file in corpus_files(source.name, source.paths)
            if files.kind == "olmo" or file.path.suffix == ".idx"
            for block in token_blocks(Chosen(file, "text", None), stretches(file.path, files))
        )

        def read(block: Block) -> Iterator[TokenDocument]:
            found = token_documents(block.chosen.file.path, files, block.start, block.end)
            return (document for document in found if document is not None)

        yield from sampled(blocks, source.sample * bytes_per_id(files), tally, read)
        return
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


def _texts(
    chosen: Chosen, source: Source, tally: Tally, start: int = 0, end: int | None = None
) -> Iterator[Text]:
    file, before = chosen.file, tally.bytes_read

    def on_bytes(done: int) -> None:
        tally.bytes_read = before + min(done, file.size)

    where = f"domain {source.name!r}: {shown(file.path)}"
    reading = Reading(where, source.text_field, source.encodings, on_bytes)
    if source.bucket is not None:
        if chosen.format == "text":
            raise InputError(
                f"{where} is text, which has no field {source.bucket.field!r} to split by",
                "Split records only",
            )
        keep = source.bucket.chooser(tally.count_other)
        reading = replace(reading, keep=keep, needs=(source.bucket.field,))
    if chosen.format == "parquet":
        groups = None if end is None else list(range(start, end))
        yield from parquet_rows(file.path, file.size, reading, groups)
        return
    if chosen.format == "arrow":
        yield from arrow_rows(file.path, file.size, reading)
        return
    if end is not None:
        with open(file.path, "rb") as raw:
            part = replace(
                reading, where=f"domain {source.name!r}: {_place(chosen, start)}", inside=start > 0
            )
            yield from json_lines(_lines_between(raw, start, end), raw, part)
        return
    with open(file.path, "rb") as raw, decompressed(raw, chosen.compression) as stream:
        if chosen.format == "jsonl":
            yield from json_lines(stream, raw, reading)
        elif chosen.format == "json":
            yield from json_values(stream, raw, reading)
        elif chosen.format == "csv":
            yield from csv_rows(stream, raw, reading)
        else:
            yield _whole(stream, source.encodings)


def _lines_between(raw: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """The lines that begin from byte `start` on and before byte `end`."""
    if start:
        raw.seek(start - 1)
        raw.readline()
    while raw.tell() < end and (line := raw.readline()):
        yield line


def _whole(stream: IO[bytes], encodings: tuple[str, ...]) -> Text:
    """The text of a file; undecodable where it is binary or in none of the encodings."""
    head = stream.read(SNIFFED_BYTES)
    # Checked first, so that a large binary file is not read to its end.
    binary = b"\0" in head and not any(is_wide(encoding) for encoding in encodings)
    if binary or decoded(head, encodings, cut=True) is None:
        return UNDECODABLE
    text = decoded(head + stream.read(), encodings)
    return UNDECODABLE if text is None else text
