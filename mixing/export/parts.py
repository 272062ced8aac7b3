"""A token file as the rows of a trainer's data: documents, or windows of one length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixing.corpora.token_files import read_index

BLOCK = 1 << 22
"""Tokens that are in memory at once."""

OnTokens = Callable[[int], None]
"""Called with the tokens of a part that are written."""


@dataclass(frozen=True)
class Part:
    """One shard of a domain. `length` is the number of tokens of a window; None: rows are documents.

    `number` counts the parts of the domain from 0. `take` is how many windows are written: all of them as often as
    they fit into it, and then some at random, the same every time; None: each once.
    """

    number: int
    prefix: Path
    length: int | None
    take: int | None = None

    @cached_property
    def _index(self) -> Any:
        return read_index(self.prefix.with_name(f"{self.prefix.name}.idx"))

    @cached_property
    def tokens(self) -> NDArray[np.integer]:
        """All its tokens, mapped."""
        index = self._index
        if index.tokens == 0:
            return np.empty(0, index.dtype)
        return np.memmap(f"{self.prefix}.bin", dtype=index.dtype, mode="r")

    @property
    def document_ends(self) -> NDArray[np.int64]:
        """End of every document, in tokens."""
        ends: NDArray[np.int64] = self._index.bounds[1:]
        return ends

    @property
    def held(self) -> int:
        """Windows that the shard holds, the incomplete last one left out, or documents."""
        return len(self.document_ends) if self.length is None else len(self.tokens) // self.length

    @property
    def rows(self) -> int:
        """Windows or documents that are written."""
        return self.held if self.take is None else self.take

    def _order(self) -> NDArray[np.int64] | None:
        """Windows in the order they are written; None: as they are."""
        if self.take is None:
            return None
        passes, rest = divmod(self.take, max(1, self.held))
        some = np.random.default_rng([self.take, self.held]).permutation(self.held)[:rest]
        return np.concatenate([np.tile(np.arange(self.held), passes), np.sort(some)])

    def blocks(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        """Tokens of some rows at a time, one after the other, and the bounds of the rows in them."""
        if self.length is not None:
            many = max(1, BLOCK // self.length)
            windows = self.tokens[: self.held * self.length].reshape(-1, self.length)
            order_n = self._order()
            for first in range(0, self.rows, many):
                some = slice(first, first + many) if order_n is None else order_n[first : first + many]
                tokens = windows[some].astype(np.int32).ravel()
                yield tokens, np.arange(len(tokens) // self.length + 1, dtype=np.int64) * self.length
            return
        bounds = self._index.bounds
        row = 0
        while row < self.rows:
            after = max(row + 1, int(np.searchsorted(bounds, bounds[row] + BLOCK, side="right")) - 1)
            start, end = int(bounds[row]), int(bounds[after])
            yield self.tokens[start:end].astype(np.int32), bounds[row : after + 1] - start
            row = after
