"""LitData and LitGPT: the arguments of a `CombinedStreamingDataset`."""

from __future__ import annotations

from collections.abc import Sequence

from mixing.export.planning import Plan, StagePlan, items_of, passes
from mixing.export.target import Entry, FileStage, Reading, Rendered, Target, folder, run_length
from mixing.export.text import count, json_rows, parse_json, take, weight
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> Rendered:
    """JSON with `streams` (`input_dir`, `weight`, `seed`), `block_size`, `seed`, `iterate_over_all`, `blocks`.

    The combined stream ends with the first domain that does. A domain that is read more often than once is
    therefore listed once per pass, with a part of the weight and a shuffle of its own.
    """
    (stage,) = stages
    length, _ = run_length(spec, "LitData cuts its chunks into blocks of that length", batch=False)
    needed = passes(spec, stage, "window", random=True) or {}
    streams = [
        {
            "name": name,
            "input_dir": folder(stage, name),
            "weight": share / needed.get(name, 1),
            "seed": stage.seed + number,
        }
        for name, share in stage.weights.items()
        for number in range(needed.get(name, 1))
    ]
    arguments = {
        "streams": streams,
        "block_size": length,
        "seed": stage.seed,
        # With weights, litdata refuses its own default.
        "iterate_over_all": False,
        "blocks": items_of(spec, stage, "window"),
    }
    return Rendered(
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
    found: dict[str, Entry] = {}
    for index, stream in enumerate(take(data, "streams", list)):
        name, path = take(stream, "name", str), take(stream, "input_dir", str)
        part = weight(take(stream, "weight", (int, float)), f"streams.{index}.weight")
        sofar = found[name].weight if name in found else 0.0
        found[name] = Entry(name, (path,), sofar + part)
    blocks, length = count(data, "blocks"), count(data, "block_size")
    return Reading(
        "window",
        (FileStage(0, tuple(found.values())),),
        total_tokens=blocks * length if blocks and length else None,
        sequence_length=length,
        seed=count(data, "seed", 0),
    )


LITDATA = Target(
    name="litdata",
    aliases=("litgpt",),
    filename="litdata_mix.json",
    units=("window",),
    weighs="block of tokens",
    repetition="none: ends with the first stream",
    data="litdata",
    random=True,
    verified="litdata 0.2.76",
    render=render,
    read=read,
)
