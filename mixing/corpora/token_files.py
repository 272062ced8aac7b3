"""Corpora of token ids: Megatron's `.bin` and `.idx`, and the raw `.npy` of OLMo-core.

Documents are streamed in the order of their files; memory holds a few megabytes of them at a time.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mixing.corpora.files import shown, unreadable
from mixing.errors import InputError

Kind = Literal["megatron", "olmo"]
RawType = Literal["uint8", "uint16", "uint32", "uint64"]

HEADER = b"MMIDIDX\0\0"
VERSION = 1
FIXED = struct.Struct("<QBQQ")
"""After the header: version, type of the tokens, sequences, ends of documents."""
TYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
"""Megatron's codes; 6 and 7 are floats."""
CHUNK = 1 << 21
"""Tokens that are read and checked at once."""
SUSPECT = 16
"""Number of documents from which on the same last id in all of them is no coincidence."""
SNIFFED_TOKENS = 1 << 16
"""Tokens at the start of a raw file that are checked for a wider type."""


@dataclass(frozen=True)
class TokenFiles:
    """How a corpus of ids is read: its format, the vocabulary size, and the id that ends a document.

    `dtype` is the type of raw files; Megatron's index has its own.
    """

    kind: Kind
    vocab_size: int
    eos_id: int
    dtype: RawType | None = None


@dataclass(frozen=True)
class TokenDocument:
    """The ids of one document without the end-of-document id, their hash (16 bytes) and their size in bytes.

    The hash is that of the ids as int32, so it does not depend on the type they are stored in.
    """

    ids: NDArray[np.int32]
    digest: bytes
    size: int


@dataclass(frozen=True)
class Index:
    """A Megatron index: where its documents begin in the `.bin`, in tokens, and where the last one ends."""

    dtype: np.dtype[np.integer]
    bounds: NDArray[np.int64]

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.bounds) - 1

    @property
    def tokens(self) -> int:
        """Number of tokens, end-of-document ids included."""
        return int(self.bounds[-1])


def paths_of(kind: Kind, path: Path) -> tuple[Path, ...]:
    """The files (or globs) that a prefix, or a raw file, stands for."""
    if kind == "olmo":
        return (path,)
    text = str(path)
    prefix = text[:-4] if text.endswith((".bin", ".idx")) else text
    return Path(f"{prefix}.bin"), Path(f"{prefix}.idx")


def read_index(path: Path) -> Index:
    """Read and check the `.idx` at `path`, and that the `.bin` beside it has the size it says.

    Raises InputError naming the file, for one that is missing, cut short, damaged or not an index.
    """
    binary = path.with_suffix(".bin")
    try:
        raw = path.read_bytes()
        size = binary.stat().st_size
    except OSError as error:
        raise InputError(
            f"{shown(Path(error.filename or path))}: cannot be read ({error.strerror})",
            "A Megatron prefix stands for a .bin and an .idx file",
        ) from error
    if not raw.startswith(HEADER):
        raise _bad_index(path, "does not begin like one")
    at = len(HEADER) + FIXED.size
    if len(raw) < at:
        raise _bad_index(path, f"is cut short ({len(raw)} bytes)")
    version, code, sequences, ends = FIXED.unpack_from(raw, len(HEADER))
    if version != VERSION:
        raise _bad_index(path, f"is of version {version}, not {VERSION}")
    if code not in TYPES:
        raise _bad_index(path, f"holds type {code}, which is no type of token ids")
    # Files of several modalities have one more byte for each sequence.
    expected = at + sequences * 12 + ends * 8
    if len(raw) not in (expected, expected + sequences):
        state = "is cut short" if len(raw) < expected else "is too long"
        raise _bad_index(path, f"{state} ({len(raw)} bytes, not {expected})")
    dtype: np.dtype[np.integer] = np.dtype(TYPES[code])
    lengths = np.frombuffer(raw, "<i4", sequences, at).astype(np.int64)
    pointers = np.frombuffer(raw, "<i8", sequences, at + 4 * sequences)
    documents = np.frombuffer(raw, "<i8", ends, at + 12 * sequences)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    if lengths.size and (lengths.min() < 0 or not np.array_equal(pointers, starts[:-1] * dtype.itemsize)):
        raise _bad_index(path, "is damaged (its lengths and its byte offsets disagree)")
    ordered = ends and documents[0] == 0 and documents[-1] == sequences and np.all(np.diff(documents) >= 0)
    if not ordered:
        raise _bad_index(path, "is damaged (its documents are not its sequences in order)")
    if size != starts[-1] * dtype.itemsize:
        state = "is cut short" if size < starts[-1] * dtype.itemsize else "is too long"
        raise InputError(
            f"{shown(binary)} {state}: {size} bytes, and its index says {starts[-1]} tokens of {dtype.name} "
            f"({starts[-1] * dtype.itemsize} bytes)",
            "Copy the pair again, or write it again: .bin and .idx belong together",
        )
    return Index(dtype, starts[documents])


def bytes_per_id(files: TokenFiles) -> float:
    """Bytes of an id in the files, about: a Megatron index says it of each."""
    if files.dtype is not None:
        return np.dtype(files.dtype).itemsize
    return 2 if files.vocab_size <= 1 << 16 else 4


def stretches(path: Path, files: TokenFiles) -> Iterator[tuple[int, int | None, int]]:
    """A file cut into stretches of about `CHUNK` tokens: first document, the one after the last, and bytes.

    A raw file, which has no index, is one stretch. Raises as `token_documents`.
    """
    if files.kind == "olmo":
        yield 0, None, path.stat().st_size
        return
    index = read_index(path)
    first = 0
    while first < index.documents:
        after = _after(index.bounds, first)
        yield first, after, int(index.bounds[after] - index.bounds[first]) * index.dtype.itemsize
        first = after


def _after(bounds: NDArray[np.int64], first: int) -> int:
    """As many documents as CHUNK tokens hold, and at least one."""
    return max(first + 1, int(np.searchsorted(bounds, bounds[first] + CHUNK, side="right")) - 1)


@functools.lru_cache(maxsize=4)
def _kept_index(path: Path, mtime_ns: int) -> Index:
    """An index of which many stretches are read."""
    return read_index(path)


def token_documents(
    path: Path, files: TokenFiles, first: int = 0, end: int | None = None
) -> Iterator[TokenDocument | None]:
    """The documents of one `.idx` or raw file, or those from `first` to `end`; None stands for one without a token.

    Raises InputError naming the file (and the document) for what `read_index` refuses, for an id outside the
    vocabulary, and for a raw file that is of another type or holds no end of a document.
    """
    if files.kind == "megatron":
        index = read_index(path) if end is None else _kept_index(path, path.stat().st_mtime_ns)
        binary = path.with_suffix(".bin")
        yield from _documents(binary, _mapped(binary, index.dtype), index.bounds, files, first, end)
    else:
        tokens = _raw(path, files)
        yield from _documents(path, tokens, _raw_bounds(path, tokens, files.eos_id), files)


def _documents(
    path: Path,
    tokens: NDArray[np.integer],
    bounds: NDArray[np.int64],
    files: TokenFiles,
    document: int = 0,
    until: int | None = None,
) -> Iterator[TokenDocument | None]:
    until = len(bounds) - 1 if until is None else until
    while document < until:
        after = _after(bounds, document)
        first = int(bounds[document])
        chunk = np.asarray(tokens[first : int(bounds[after])])
        _check_ids(path, chunk, bounds[document : after + 1] - first, document, files)
        ids = chunk.astype(np.int32)
        if document == 0:
            _check_end(path, ids, bounds[: after + 1], files.eos_id)
        for start, end in zip(
            (bounds[document:after] - first).tolist(),
            (bounds[document + 1 : after + 1] - first).tolist(),
            strict=True,
        ):
            last = end - 1 if end > start and ids[end - 1] == files.eos_id else end
            if last == start:
                yield None
                continue
            part = ids[start:last]
            yield TokenDocument(
                part, hashlib.blake2b(part.data, digest_size=16).digest(), (end - start) * tokens.itemsize
            )
        document = after


def _check_ids(
    path: Path, ids: NDArray[np.integer], bounds: NDArray[np.int64], first: int, files: TokenFiles
) -> None:
    if not ids.size or (int(ids.min()) >= 0 and int(ids.max()) < files.vocab_size):
        return
    at = int(np.flatnonzero((ids < 0) | (ids >= files.vocab_size))[0])
    document = first + int(np.searchsorted(bounds, at, side="right")) - 1
    kind = f" read as {files.dtype}" if files.kind == "olmo" else ""
    raise InputError(
        f"{shown(path)}{kind}: document {document} holds id {int(ids[at])}, and the vocabulary has "
        f"{files.vocab_size}",
        "Give the tokenizer (or vocab_size) these ids are of"
        + (", or correct token_dtype" if files.kind == "olmo" else ""),
    )


def _check_end(path: Path, ids: NDArray[np.int32], bounds: NDArray[np.int64], eos_id: int) -> None:
    """Refuse another id that ends every document and is nowhere else: it is what ends documents here."""
    lengths = np.diff(bounds)
    last = ids[bounds[1:][lengths > 0] - 1]
    if len(last) < SUSPECT or last[0] == eos_id or np.any(last != last[0]):
        return
    if np.count_nonzero(ids == last[0]) == len(last):
        raise InputError(
            f"{shown(path)}: every document ends with id {int(last[0])}, and {eos_id} is given as the id that does",
            "Correct tokenizer.eos_id (or tokenizer.eos), or give the tokenizer these ids are of",
        )


def _raw(path: Path, files: TokenFiles) -> NDArray[np.integer]:
    dtype = np.dtype(files.dtype or "uint16").newbyteorder("<")
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            magic = file.read(6)
    except OSError as error:
        raise unreadable(path.name, path, error) from error
    if magic == b"\x93NUMPY":
        raise InputError(
            f"{shown(path)} was written by numpy.save; OLMo-core's .npy are raw ids without a header",
            "Write the array with tofile()",
        )
    if size == 0:
        raise InputError(f"{shown(path)} is empty", "Give a file with tokens, or leave it out")
    if size % dtype.itemsize:
        raise InputError(
            f"{shown(path)}: {size} bytes are no whole number of {dtype.name} ids", "Correct token_dtype"
        )
    tokens = _mapped(path, dtype)
    start = np.asarray(tokens[:SNIFFED_TOKENS])
    if dtype.itemsize < 4 and len(start) >= 64 and not start[1::2].any() and start[::2].any():
        raise InputError(
            f"{shown(path)}: every second {dtype.name} is 0, so its ids are of a wider type",
            f"Set token_dtype to {'uint32' if dtype.itemsize == 2 else 'uint16'}",
        )
    return tokens


def _raw_bounds(path: Path, tokens: NDArray[np.integer], eos_id: int) -> NDArray[np.int64]:
    ends = [
        np.flatnonzero(np.asarray(tokens[start : start + CHUNK]) == eos_id) + start + 1
        for start in range(0, len(tokens), CHUNK)
    ]
    bounds = np.concatenate([np.zeros(1, np.int64), *ends]).astype(np.int64)
    if len(bounds) == 1:
        raise InputError(
            f"{shown(path)} as {tokens.dtype.name} holds no id {eos_id}, which ends a document",
            "Correct token_dtype, or the id (or token) that ends a document",
        )
    return bounds if bounds[-1] == len(tokens) else np.append(bounds, len(tokens))


def _mapped(path: Path, dtype: np.dtype[np.integer]) -> NDArray[np.integer]:
    # An empty file cannot be mapped.
    if path.stat().st_size == 0:
        return np.empty(0, dtype)
    return np.memmap(path, dtype=dtype, mode="r")


def _bad_index(path: Path, what: str) -> InputError:
    return InputError(
        f"{shown(path)} {what}", "A Megatron .idx is expected: copy or write the .bin and .idx again"
    )
