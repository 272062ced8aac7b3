"""Datatrove's `.ds` with `.index`, for nanotron. No `.metadata`: it would name a tokenizer to be downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mixing.export.parts import Format, OnTokens, Part


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """The part's tokens as they are: the documents of a `.ds` are those of the store."""
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    if not part.rows:
        return
    size = part.tokens.dtype.itemsize
    file = TokenizedFile(str(folder), f"part-{part.number:05d}.ds", token_size=size)
    done = 0
    for tokens, bounds in part.blocks():
        file.write_bytes(tokens.astype(part.tokens.dtype).tobytes(), bounds[1:].tolist())
        done += len(tokens)
        on_tokens(done)
    file.close()


def join(folder: Path, parts: Sequence[Part]) -> None:
    """Nothing: readers take all files of a folder."""


DS = Format("ds", "datatrove", "datatrove>=0.10", write, join, whole=True)
