"""Hugging Face's `interleave_datasets`, over Arrow data or over the token store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mixing.corpora.token_files import read_index
from mixing.export.drawing import Drawn, Loader, Request, names_of


def draw(request: Request) -> Drawn:
    """The first `items` rows."""
    mix = json.loads(request.file.read_text(encoding="utf-8"))
    stream = interleaved(mix).take(min(request.items, mix.get("rows", request.items)))
    items = [(row["domain"], row["tokens"]) for row in stream]
    return Drawn.of(names_of(request), items)


def interleaved(mix: dict[str, Any]) -> Any:
    """The stream of an exported file; each row has its `domain`, and `tokens` as their number."""
    from datasets import IterableDataset, interleave_datasets

    passes = mix.get("passes") or [1] * len(mix["datasets"])
    sources = [
        IterableDataset.from_generator(_rows, gen_kwargs={"mix": mix, "place": place, "passes": count})
        for place, count in enumerate(passes)
    ]
    return interleave_datasets(
        sources,
        probabilities=mix["probabilities"],
        seed=mix["seed"],
        stopping_strategy=mix["stopping_strategy"],
    )


def _rows(mix: dict[str, Any], place: int, passes: int) -> Iterator[dict[str, Any]]:
    """Rows of one dataset, shuffled anew in every pass."""
    rows, count = _arrow(mix["folders"][place]) if "folders" in mix else _store(mix, place)
    for epoch in range(passes):
        for index in np.random.default_rng([mix["seed"], place, epoch]).permutation(count):
            yield {"domain": mix["datasets"][place], "tokens": len(rows(int(index)))}


def _arrow(folder: str) -> tuple[Callable[[int], Any], int]:
    from datasets import load_from_disk

    table = load_from_disk(folder).with_format("numpy")
    return lambda index: table[index]["input_ids"], len(table)


def _store(mix: dict[str, Any], place: int) -> tuple[Callable[[int], Any], int]:
    """Rows of the token store, each a slice of one of its files."""
    files, bounds = [], []
    for prefix in mix["shards"][mix["datasets"][place]]:
        index = read_index(Path(f"{prefix}.idx"))
        files.append(np.memmap(f"{prefix}.bin", index.dtype, "r"))
        length = mix.get("sequence_length")
        packed = mix["row_unit"] == "packed_sequence"
        bounds.append(np.arange(0, index.tokens + 1, length) if packed else index.bounds)
    ends = np.cumsum([len(bound) - 1 for bound in bounds])

    def row(index: int) -> Any:
        which = int(np.searchsorted(ends, index, side="right"))
        at = index - (int(ends[which - 1]) if which else 0)
        return files[which][bounds[which][at] : bounds[which][at + 1]]

    return row, int(ends[-1])


HUGGINGFACE = Loader("datasets", "datasets", "datasets>=5", draw)
