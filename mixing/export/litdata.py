"""LitData and LitGPT: the arguments of a `CombinedStreamingDataset`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixing.atomic import replace_files
from mixing.export.data_format import DataFormat, Writer
from mixing.export.loader import DrawRequest, Draws, Loader
from mixing.export.parts import OnTokens, Part
from mixing.export.planning import Plan, StagePlan, items_of, passes
from mixing.export.rendering import data_folder, run_length
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import count, json_rows, parse_json, take, weight
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """JSON with `streams` (`input_dir`, `weight`, `seed`), `block_size`, `seed`, `iterate_over_all`, `blocks`.

    The combined stream ends with the first domain that does. A domain that is read more often than once is
    therefore listed once per pass, with a part of the weight and a shuffle of its own.
    """
    (stage,) = stages
    length, _ = run_length(spec, "LitData cuts its chunks into blocks of that length", batch=False)
    repeats = passes(spec, stage, "window", random=True) or {}
    streams = [
        {
            "name": name,
            "input_dir": data_folder(stage, name),
            "weight": share / repeats.get(name, 1),
            "seed": stage.seed + number,
        }
        for name, share in stage.weights.items()
        for number in range(repeats.get(name, 1))
    ]
    arguments = {
        "streams": streams,
        "block_size": length,
        "seed": stage.seed,
        # With weights, litdata refuses its own default.
        "iterate_over_all": False,
        "blocks": items_of(spec, stage, "window"),
    }
    return RenderedFile(
        json_rows(arguments),
        (
            "CombinedStreamingDataset([StreamingDataset(input_dir, TokensLoader(block_size), shuffle=True, "
            "drop_last=True, seed=seed), ...], weights=[...], seed=..., iterate_over_all=False)",
            "with the values of {file}",
        ),
        {key: value for key, value in arguments.items() if key != "streams"},
    )


def read(text: str) -> Reading:
    """Inverse of `render`: the streams of one domain are one entry."""
    data = parse_json(text)
    entries: dict[str, Entry] = {}
    for index, stream in enumerate(take(data, "streams", list)):
        name, path = take(stream, "name", str), take(stream, "input_dir", str)
        part = weight(take(stream, "weight", (int, float)), f"streams.{index}.weight")
        earlier = entries[name].weight if name in entries else 0.0
        entries[name] = Entry(name, (path,), earlier + part)
    blocks, length = count(data, "blocks"), count(data, "block_size")
    return Reading(
        "window",
        (FileStage(0, tuple(entries.values())),),
        total_tokens=blocks * length if blocks and length else None,
        sequence_length=length,
        seed=count(data, "seed", 0),
    )


CHUNK_TOKENS = 1 << 24
"""Tokens of a chunk; a rest at its end that does not fill a block is lost."""


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """Write chunks of ids (int32) named after the part, and their index under a hidden name."""
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
    """Write one index of all chunks, in the order of the parts."""
    indexes = [json.loads((folder / _index(part)).read_bytes()) for part in parts if part.rows]
    index = {"chunks": [chunk for own in indexes for chunk in own["chunks"]]}
    index["config"] = indexes[0]["config"] if indexes else {}
    replace_files({folder / "index.json": json.dumps(index, sort_keys=True).encode()})


def _index(part: Part) -> str:
    return f".part-{part.number:05d}.json"


def draw(request: DrawRequest) -> Draws:
    """Draw the first `items` blocks; LitData's own state says which stream each is from."""
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
    return Draws.of(request.names, list(zip(owners, sizes, strict=True)))


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


CHUNKS = DataFormat("litdata", Writer("litdata", "litdata>=0.2.76", write, join))
LITDATA = Target(
    name="litdata",
    aliases=("litgpt",),
    filename="litdata_mix.json",
    units=("window",),
    weighs="block of tokens",
    repetition="none: ends with the first stream",
    data=CHUNKS,
    random=True,
    verified="litdata 0.2.76",
    render=render,
    read=read,
    loader=Loader("litdata", "litdata", "litdata>=0.2.76", draw),
)
