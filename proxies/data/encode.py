"""Texts to token ids, on several threads, in bounded memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

BATCH_CHARACTERS = 1 << 18
"""Text that one thread encodes at once: tokenizers keeps some hundred bytes per token while it does."""
PIECE_CHARACTERS = 1 << 20
"""A longer document is encoded in pieces, cut between lines where a byte-level BPE cuts anyway."""
# Both neighbours of the line break are no white space, so no token of the usual patterns spans the cut.
CUT = re.compile(r"(?<=\S)\n(?=\S)")

OnPart = Callable[[float], None]
"""Called with the part of the text that is done, 0 to 1."""
Piece = tuple[str, bool]
"""Text, and whether a document ends with it."""


class Encoder:
    """Encodes documents with `tokenizer`, each followed by `eos_id`, on `threads` threads of its own.

    Use it in a `with` statement: while it is open, tokenizers' own thread pool, whose size cannot be set once
    it runs, is turned off. The result does not depend on `threads`.
    """

    def __init__(self, tokenizer: Tokenizer, eos_id: int, dtype: np.dtype, threads: int) -> None:
        self.tokenizer, self.eos_id, self.dtype = tokenizer, eos_id, dtype
        self._pool = ThreadPoolExecutor(threads)
        self._environment: str | None = None

    def __enter__(self) -> Encoder:
        self._environment = os.environ.get("TOKENIZERS_PARALLELISM")
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self._environment is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = self._environment

    def encode(
        self, texts: Sequence[str], on_part: OnPart | None = None
    ) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
        """Tokens of all `texts` in a row, and the length of each text in tokens, end-of-document included."""
        batches = list(_batches(texts))
        tokens: list[NDArray[np.integer]] = []
        lengths: list[int] = []
        open_length = 0
        for number, (ids, piece_lengths) in enumerate(self._pool.map(self._encode, batches), 1):
            tokens.append(ids)
            for length, (_, ends) in zip(piece_lengths, batches[number - 1], strict=True):
                open_length += length
                if ends:
                    lengths.append(open_length)
                    open_length = 0
            if on_part:
                on_part(number / len(batches))
        return np.concatenate(tokens), np.array(lengths, dtype=np.int64)

    def _encode(self, batch: list[Piece]) -> tuple[NDArray[np.integer], list[int]]:
        encodings = self.tokenizer.encode_batch_fast([text for text, _ in batch], add_special_tokens=False)
        ids: list[int] = []
        lengths = []
        for encoding, (_, ends) in zip(encodings, batch, strict=True):
            before = len(ids)
            ids.extend(encoding.ids)
            if ends:
                ids.append(self.eos_id)
            lengths.append(len(ids) - before)
        return np.array(ids, dtype=self.dtype), lengths


@dataclass(frozen=True)
class Joiner:
    """What `Encoder.encode` does, for documents that are ids already: each followed by `eos_id`."""

    eos_id: int
    dtype: np.dtype

    def encode(
        self, documents: Sequence[NDArray[np.integer]], on_part: OnPart | None = None
    ) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
        """All ids in a row, and the length of each document, end-of-document included."""
        lengths = np.array([len(ids) + 1 for ids in documents], dtype=np.int64)
        tokens = np.full(int(lengths.sum()), self.eos_id, dtype=self.dtype)
        end = 0
        for ids in documents:
            tokens[end : end + len(ids)] = ids
            end += len(ids) + 1
        if on_part:
            on_part(1.0)
        return tokens, lengths


def _batches(texts: Sequence[str]) -> Iterator[list[Piece]]:
    batch: list[Piece] = []
    size = 0
    for text in texts:
        for piece in _pieces(text):
            batch.append(piece)
            size += len(piece[0])
            if size >= BATCH_CHARACTERS:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _pieces(text: str) -> Iterator[Piece]:
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        # Text without such a break for as long again is not prose: cut it where it is.
        cut = CUT.search(text, start + PIECE_CHARACTERS, start + 2 * PIECE_CHARACTERS)
        end = cut.end() if cut else min(start + 2 * PIECE_CHARACTERS, len(text))
        yield text[start:end], False
        start = end
    yield text[start:], True
