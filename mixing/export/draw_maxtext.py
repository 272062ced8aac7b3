"""Grain's `IterDataset.mix` over ArrayRecord files, as MaxText builds it from its mixture file."""

from __future__ import annotations

import glob
import json
from itertools import islice
from typing import Any

from mixing.export.drawing import Drawn, Loader, Request, names_of


def draw(request: Request) -> Drawn:
    """The first `items` records."""
    from mixing.export.write_array_record import ids_of

    items = [
        (name, len(ids_of(record)))
        for name, record in islice(iter(mixed(request)), min(request.items, request.settings["items"]))
    ]
    return Drawn.of(names_of(request), items)


def mixed(request: Request) -> Any:
    """The mixed stream of (domain, record)."""
    import grain

    mix = json.loads(request.file.read_text(encoding="utf-8"))
    sources = {}
    for name, entry in mix.items():
        files = sorted(glob.glob(entry["path"]))
        dataset = grain.MapDataset.source(grain.sources.ArrayRecordDataSource(files))
        dataset = dataset.shuffle(seed=request.settings.get("data_shuffle_seed", 0))
        dataset = dataset.repeat(request.settings.get("num_epoch", 1))
        sources[name] = dataset.map(lambda record, name=name: (name, record)).to_iter_dataset()
    total = sum(entry["weight"] for entry in mix.values())
    weights = {name: entry["weight"] / total for name, entry in mix.items()}
    return grain.IterDataset.mix(sources, weights)


MAXTEXT = Loader("grain", "grain", "grain==0.2.18 array_record==0.8.6", draw)
