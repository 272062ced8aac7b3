"""MosaicML Streaming's `StreamingDataset`, with the streams as LLM Foundry builds them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import yaml

from mixing.export.drawing import Drawn, Loader, Request, names_of


def draw(request: Request) -> Drawn:
    """The first `items` samples of an epoch."""
    dataset, names = dataset_of(request)
    samples = islice(iter(dataset), min(request.items, dataset.epoch_size))
    items = [(names[sample["stream"]], len(sample["tokens"])) for sample in samples]
    return Drawn.of(names_of(request), items)


def dataset_of(request: Request) -> tuple[Any, list[str]]:
    """The dataset, whose samples say their `stream`, and the streams' names."""
    from streaming import Stream, StreamingDataset

    class Telling(StreamingDataset):  # type: ignore[misc]
        def get_item(self, sample_id: int, retry: int = 7) -> Any:
            shard, _ = self.spanner[sample_id]
            return {**super().get_item(sample_id, retry), "stream": int(self.stream_per_shard[shard])}

    with open(request.file, encoding="utf-8") as file:
        dataset = dict(yaml.safe_load(file)["train_loader"]["dataset"])
    streams = dataset.pop("streams")
    dataset.pop("max_seq_len", None)
    made = Telling(streams=[Stream(**stream) for stream in streams.values()], batch_size=1, **dataset)
    return made, list(streams)


STREAMING = Loader("streaming", "mosaicml-streaming", "mosaicml-streaming==0.13.0", draw, alone=True)
