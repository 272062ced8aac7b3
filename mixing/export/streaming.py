"""MosaicML Streaming and LLM Foundry: a `train_loader` over MDS folders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixing.export.planning import Plan, StagePlan, items_of
from mixing.export.target import Entry, FileStage, Reading, Rendered, Target, folder, refuse_text, steps
from mixing.export.text import count, parse_yaml, take, weight, yaml_text
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> Rendered:
    """YAML of `train_loader.dataset.streams`: a `local` folder and a `proportion` for every domain.

    A proportion is of samples: token shares where the MDS files hold packed `tokens`, documents where they hold
    `text`. `proportion` excludes `repeat` and `choose`; `epoch_size` counts samples.
    """
    (stage,) = stages
    streams = {
        name: {"local": folder(stage, name), "proportion": share} for name, share in stage.weights.items()
    }
    refuse_text(list((stage.folders or {}).values()), "${", "which LLM Foundry would fill in", streams)
    dataset: dict[str, Any] = {
        "max_seq_len": spec.sequence_length,
        "shuffle": True,
        "shuffle_seed": stage.seed,
        "epoch_size": items_of(spec, stage, plan.unit),
        "streams": streams,
    }
    dataset = {key: value for key, value in dataset.items() if value is not None}
    settings = {key: value for key, value in dataset.items() if key != "streams"}
    last = steps(spec, stage.first_token + stage.tokens)
    return Rendered(
        yaml_text({"train_loader": {"name": "text", "dataset": dataset}}),
        (
            "composer scripts/train/train.py CONFIG.yaml, with train_loader from {file}"
            + (f" and max_duration: {last}ba" if last else ""),
        ),
        settings,
    )


def read(text: str) -> Reading:
    """Inverse of `render`. The file does not say whether samples are windows; windows are assumed."""
    dataset = take(take(parse_yaml(text), "train_loader", dict), "dataset", dict)
    entries = tuple(
        Entry(
            name,
            (take(stream, "local", str),),
            weight(take(stream, "proportion", (int, float)), f"streams.{name}.proportion"),
        )
        for name, stream in take(dataset, "streams", dict).items()
    )
    size, length = count(dataset, "epoch_size"), count(dataset, "max_seq_len")
    return Reading(
        "window",
        (FileStage(0, entries),),
        total_tokens=size * length if size and length else None,
        sequence_length=length,
        seed=count(dataset, "shuffle_seed", 0),
    )


STREAMING = Target(
    name="streaming",
    aliases=("llm-foundry", "mosaicml"),
    filename="train_loader.yaml",
    units=("window", "document"),
    weighs="MDS sample",
    repetition="none: repeats silently",
    data="mds",
    verified="mosaicml-streaming 0.13.0",
    render=render,
    read=read,
)
