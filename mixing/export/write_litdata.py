"""LitData's chunks of ids (int32), for its `TokensLoader` with any block size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mixing.atomic import replace_files
from mixing.export.parts import Format, OnTokens, Part

CHUNK_TOKENS = 1 << 24
"""Tokens of a chunk; what does not fill a block at its end is lost."""


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """Chunks named after the part, and their index under a hidden name."""
    import torch
    from litdata.streaming.item_loader import TokensLoader
    from litdata.streaming.writer import BinaryWriter

    own = folder / "own"
    # The part's number stands where LitData puts its worker's, so that names differ.
    writer = BinaryWriter(str(own), chunk_size=CHUNK_TOKENS, item_loader=TokensLoader())
    writer._rank = part.number
    done = 0
    for number, (tokens, _) in enumerate(part.blocks()):
        writer.add_item(number, torch.from_numpy(tokens))
        done += len(tokens)
        on_tokens(done)
    writer.done()
    for file in own.iterdir():
        name = _index(part) if file.name.endswith("index.json") else file.name
        file.rename(folder / name)
    own.rmdir()


def join(folder: Path, parts: Sequence[Part]) -> None:
    """One index of all chunks, in the order of the parts."""
    found = [json.loads((folder / _index(part)).read_bytes()) for part in parts if part.rows]
    index = {"chunks": [chunk for one in found for chunk in one["chunks"]]}
    index["config"] = found[0]["config"] if found else {}
    replace_files({folder / "index.json": json.dumps(index, sort_keys=True).encode()})


def _index(part: Part) -> str:
    return f".part-{part.number:05d}.json"


LITDATA = Format("litdata", "litdata", "litdata>=0.2.76", write, join)
