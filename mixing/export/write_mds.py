"""MDS, for MosaicML Streaming and LLM Foundry: samples with one window of `tokens` (int32)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mixing.atomic import replace_files
from mixing.export.parts import Format, OnTokens, Part

COLUMNS = {"tokens": "ndarray:int32"}
SIZE_LIMIT = 1 << 26
"""Bytes of an MDS shard."""
EMPTY = b'{"shards": [], "version": 2}\n'


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """A folder of its own with MDS shards and their index."""
    if not part.rows:
        return
    from streaming import MDSWriter

    with MDSWriter(out=str(folder / _folder(part)), columns=COLUMNS, size_limit=SIZE_LIMIT) as writer:
        done = 0
        for tokens, bounds in part.blocks():
            for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
                writer.write({"tokens": tokens[start:end]})
            done += len(tokens)
            on_tokens(done)


def join(folder: Path, parts: Sequence[Part]) -> None:
    """The index of all parts, in their order."""
    from streaming.base.util import merge_index

    (folder / "index.json").unlink(missing_ok=True)
    indexes = [str(folder / _folder(part) / "index.json") for part in parts if part.rows]
    if indexes:
        merge_index(indexes, str(folder))
    else:
        replace_files({folder / "index.json": EMPTY})


def _folder(part: Part) -> str:
    return f"part-{part.number:05d}"


MDS = Format("mds", "streaming", "mosaicml-streaming==0.13.0", write, join, alone=True)
