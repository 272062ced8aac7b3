"""LitData's `CombinedStreamingDataset` of blocks."""

from __future__ import annotations

import json
from typing import Any

from mixing.export.drawing import Drawn, Loader, Request, names_of


def draw(request: Request) -> Drawn:
    """The first `items` blocks; which stream each is from, LitData's own state tells."""
    mix = json.loads(request.file.read_text(encoding="utf-8"))
    combined = combined_of(mix)
    blocks = iter(combined)
    sizes = [len(next(blocks)) for _ in range(min(request.items, mix["blocks"]))]
    state = combined.state_dict(num_workers=0, batch_size=1)
    owners = [
        stream["name"]
        for place, stream in enumerate(mix["streams"])
        for _ in range(state[str(place)]["num_samples_yielded"])
    ]
    return Drawn.of(names_of(request), list(zip(owners, sizes, strict=True)))


def combined_of(mix: dict[str, Any]) -> Any:
    """The stream that an exported file describes."""
    from litdata import CombinedStreamingDataset, StreamingDataset
    from litdata.streaming.item_loader import TokensLoader

    streams = [
        StreamingDataset(
            stream["input_dir"],
            item_loader=TokensLoader(block_size=mix["block_size"]),
            shuffle=True,
            drop_last=True,
            seed=stream["seed"],
        )
        for stream in mix["streams"]
    ]
    return CombinedStreamingDataset(
        streams,
        weights=[stream["weight"] for stream in mix["streams"]],
        seed=mix["seed"],
        iterate_over_all=mix["iterate_over_all"],
    )


LITDATA = Loader("litdata", "litdata", "litdata>=0.2.76", draw)
