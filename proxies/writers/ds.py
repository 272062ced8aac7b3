"""Datatrove's `.ds` with `.index` and `.metadata`, for nanotron."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proxies.writers.part import Format, OnTokens, Part


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """The part's tokens as they are: the documents of a `.ds` are those of the store."""
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    if not part.rows:
        return
    size = part.tokens.dtype.itemsize
    file = TokenizedFile(
        str(folder),
        f"part-{part.number:05d}.ds",
        save_final_metadata=True,
        token_size=size,
        tokenizer_name_or_path="mixlaw",
    )
    done = 0
    for tokens, bounds in part.blocks():
        file.write_bytes(tokens.astype(part.tokens.dtype).tobytes(), bounds[1:].tolist())
        done += len(tokens)
        on_tokens(done)
    file.close()


def join(folder: Path, parts: Sequence[Part]) -> None:
    """Nothing: readers take all files of a folder."""


DS = Format("ds", "datatrove", "datatrove>=0.10", write, join)
