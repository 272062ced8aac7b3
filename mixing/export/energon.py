"""Megatron-Energon: a blend of WebDataset folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mixing.errors import InputError
from mixing.export.data_format import DataFormat
from mixing.export.planning import Plan, StagePlan, items_of
from mixing.export.rendering import data_folder
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import parse_config, take, weight, yaml_text
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """`MetadatasetV2` with a `blend` of weights and prepared folders. A weight is of samples."""
    (stage,) = stages
    blend = [{"weight": value, "path": data_folder(stage, name)} for name, value in stage.weights.items()]
    values = {
        "__module__": "megatron.energon",
        "__class__": "MetadatasetV2",
        "splits": {"train": {"blend": blend}},
    }
    return RenderedFile(
        yaml_text(values),
        (
            "get_train_dataset({file!r}, ...), after `energon prepare` in every folder",
            "samples are whole documents" if plan.unit == "document" else "samples are packed windows",
        ),
        {"items": items_of(spec, stage, plan.unit)},
    )


def read(text: str) -> Reading:
    """Inverse of `render`; reads metadatasets of people's own too, blends within blends multiplied out.

    The file does not say what a sample is; documents are assumed.
    """
    train = take(take(parse_config(text), "splits", dict), "train", dict)
    return Reading(
        "document",
        (FileStage(0, tuple(_entries(train, "splits.train", 1.0))),),
        assumed="samples are taken to be documents; if they are packed windows: unit window (--unit window)",
    )


def _entries(item: dict[str, Any], where: str, factor: float) -> Iterator[Entry]:
    if "blend_epochized" in item:
        raise InputError(
            f"{where}.blend_epochized: gives repetitions, and the shares then depend on the sizes of the datasets",
            "Give a file with blend and weights",
        )
    key = next((key for key in ("blend", "datasets") if key in item), None)
    if key is None:
        paths = item["join"] if isinstance(item.get("join"), list) else [item]
        yield Entry(None, tuple(take(part, "path", str) for part in paths), factor)
        return
    parts = take(item, key, list)
    weights = [
        weight(part.get("weight", 1.0) if isinstance(part, dict) else None, f"{where}.{key}.{index}")
        for index, part in enumerate(parts)
    ]
    total = sum(weights) if where != "splits.train" else 1.0
    for index, (part, value) in enumerate(zip(parts, weights, strict=True)):
        if total > 0:
            yield from _entries(part, f"{where}.{key}.{index}", factor * value / total)


ENERGON = Target(
    name="energon",
    aliases=("megatron-energon",),
    filename="metadataset.yaml",
    units=("document", "window"),
    weighs="sample",
    repetition="none: loops silently",
    data=DataFormat("webdataset"),
    random=True,
    render=render,
    read=read,
)
