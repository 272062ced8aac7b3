"""Megatron-Energon: a blend of WebDataset folders."""

from __future__ import annotations

from collections.abc import Sequence

from mixing.export.data_format import DataFormat
from mixing.export.planning import Plan, StagePlan, items_of
from mixing.export.rendering import data_folder
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import parse_yaml, take, weight, yaml_text
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
    """Inverse of `render`. The file does not say what a sample is; documents are assumed."""
    train = take(take(parse_yaml(text), "splits", dict), "train", dict)
    entries = tuple(
        Entry(
            None, (take(item, "path", str),), weight(item.get("weight", 1.0), f"splits.train.blend.{index}")
        )
        for index, item in enumerate(take(train, "blend", list))
    )
    return Reading("document", (FileStage(0, entries),))


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
