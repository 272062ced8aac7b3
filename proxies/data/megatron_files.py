"""Megatron's `.bin` and `.idx`, as its own IndexedDatasetBuilder writes them: one sequence per document."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixing.corpora.token_files import FIXED, HEADER, VERSION

DTYPE_CODES = {"uint16": 8, "int32": 4}


def token_dtype(vocab_size: int) -> np.dtype:
    """uint16 where every id fits, else int32 (the format has no uint32), little-endian."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<i4")


def index_bytes(lengths: NDArray[np.integer], dtype: np.dtype) -> bytes:
    """The `.idx` of documents of these lengths in tokens (each with its end-of-document token)."""
    lengths = np.asarray(lengths, dtype=np.int64)
    ends = np.cumsum(lengths)
    pointers = np.concatenate(([0], ends[:-1])) * dtype.itemsize
    return b"".join(
        (
            HEADER,
            FIXED.pack(VERSION, DTYPE_CODES[dtype.name], len(lengths), len(lengths) + 1),
            lengths.astype("<i4").tobytes(),
            pointers.astype("<i8").tobytes(),
            np.arange(len(lengths) + 1, dtype="<i8").tobytes(),
        )
    )


def document_lengths(index: bytes) -> NDArray[np.int64]:
    """The lengths that `index_bytes` was given."""
    _, _, documents, _ = FIXED.unpack_from(index, len(HEADER))
    start = len(HEADER) + FIXED.size
    return np.frombuffer(index, dtype="<i4", count=documents, offset=start).astype(np.int64)


def index_size(documents: int) -> int:
    """Bytes of the `.idx` of so many documents."""
    return len(HEADER) + FIXED.size + documents * 12 + (documents + 1) * 8
