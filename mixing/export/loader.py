"""Trainers' own loaders: what each is asked to draw, and the items that it drew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixing.corpora.token_files import read_index
from mixing.export.planning import StagePlan, Unit
from mixing.export.rendering import absolute_prefix
from mixing.spec.model import MixSpec

UNKNOWN = "(not in the spec)"
"""The domain of items that a file reads from elsewhere."""


@dataclass(frozen=True)
class DrawRequest:
    """An exported file of one stage, and what belongs to it.

    `settings` are those of the export (`ExportedFile.settings`), `items` how many windows or documents are drawn
    at most, `work` a folder that the loader may fill.
    """

    file: Path
    settings: Mapping[str, Any]
    spec: MixSpec
    stage: StagePlan
    unit: Unit
    items: int
    work: Path

    @property
    def length(self) -> int:
        """Tokens of a window."""
        assert self.spec.sequence_length is not None
        return self.spec.sequence_length

    @property
    def names(self) -> tuple[str, ...]:
        """The stage's domains, then `UNKNOWN`."""
        return (*self.stage.shares, UNKNOWN)

    def prefixes(self) -> dict[str, str]:
        """Domains by the absolute prefix of their token files."""
        return {
            absolute_prefix(self.spec, shard.prefix): name
            for name in self.stage.shares
            for shard in self.stage.shards[name]
        }

    def end_of_document(self) -> int:
        """The id that ends documents: the last one of the first document."""
        for prefix in self.prefixes():
            index = read_index(Path(f"{prefix}.idx"))
            if index.tokens:
                tokens = np.memmap(f"{prefix}.bin", index.dtype, "r")
                return int(tokens[index.bounds[1] - 1])
        return 0


@dataclass(frozen=True)
class Draws:
    """Items in the order they came: the domain of each (an index into `names`) and its tokens."""

    names: tuple[str, ...]
    domain_n: NDArray[np.int64]
    tokens_n: NDArray[np.int64]

    @classmethod
    def of(cls, names: tuple[str, ...], items: list[tuple[str, int]]) -> Draws:
        """Draws from (domain, tokens) of every item, in order."""
        place = {name: index for index, name in enumerate(names)}
        return cls(
            names,
            np.array([place[name] for name, _ in items], dtype=np.int64),
            np.array([tokens for _, tokens in items], dtype=np.int64),
        )

    @property
    def items(self) -> int:
        """How many items were drawn."""
        return len(self.domain_n)

    @property
    def tokens(self) -> dict[str, int]:
        """Tokens by domain."""
        counts = np.bincount(self.domain_n, weights=self.tokens_n, minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, counts, strict=True)}

    @property
    def shares(self) -> dict[str, float]:
        """Token shares by domain."""
        total = max(1, int(self.tokens_n.sum()))
        return {name: count / total for name, count in self.tokens.items()}


@dataclass(frozen=True)
class Loader:
    """A trainer's own loader, as far as it runs without the trainer.

    Attributes:
        module: what must be importable.
        package: its distribution, for the version.
        install: what pip is asked for.
        draw: reads the exported file and draws items.
        parts: how many weighted items a domain is divided into, each of which a deterministic loader rounds.
        alone: it holds packages of other loaders back, so it wants an environment of its own.
    """

    module: str
    package: str
    install: str
    draw: Callable[[DrawRequest], Draws]
    parts: Callable[[DrawRequest, str], int] = lambda request, name: 1
    alone: bool = False


def shard_count(request: DrawRequest, name: str) -> int:
    """Token files of a domain that are not empty: `Loader.parts` where each file has a weight of its own."""
    return sum(1 for shard in request.stage.shards[name] if shard.tokens)
