"""LLaMA-Factory: names and probabilities of documents that are interleaved before they are packed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mixing.corpora.files import folder_name
from mixing.errors import InputError
from mixing.export.data_format import TEXT
from mixing.export.planning import Plan, StagePlan, items_of
from mixing.export.rendering import data_folder, last_step
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import count, parse_config, take, weight, yaml_text
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """`dataset`, `mix_strategy` and `interleave_probs`; a comment has the entries for `dataset_info.json`.

    Both lists are text with commas, so a name with a comma is replaced by that of its folder.
    """
    (stage,) = stages
    names = {name: folder_name(name) if "," in name else name for name in stage.weights}
    info = {
        names[name]: {"file_name": data_folder(stage, name), "columns": {"prompt": "text"}}
        for name in stage.weights
    }
    values: dict[str, Any] = {
        "stage": "pt",
        "dataset": ",".join(names.values()),
        # interleave_once would forget the probabilities, interleave_under end with the smallest.
        "mix_strategy": "interleave_over",
        "interleave_probs": ",".join(repr(value) for value in stage.weights.values()),
        "streaming": True,
        "seed": stage.seed,
    }
    if spec.sequence_length:
        values["cutoff_len"] = spec.sequence_length
    last = last_step(spec, stage)
    if last:
        values["max_steps"] = last
    comments = ("dataset_info.json:", *json.dumps(info, indent=1, ensure_ascii=False).splitlines())
    return RenderedFile(
        yaml_text(values, comments),
        ("llamafactory-cli train CONFIG.yaml, with these values of {file}, and without eval_dataset",),
        {"seed": stage.seed, "items": items_of(spec, stage, "document")},
    )


def read(text: str) -> Reading:
    """Inverse of `render`; reads LLaMA-Factory's own configurations too, with lists or texts with commas."""
    data = parse_config(text)
    names, weights = _list(data, "dataset"), _list(data, "interleave_probs")
    strategy = data.get("mix_strategy", "concat")
    if strategy == "concat":
        raise InputError(
            "mix_strategy: is concat, so interleave_probs is not used",
            "Set it to interleave_over or interleave_under",
        )
    if len(names) != len(weights):
        raise InputError(f"interleave_probs: {len(weights)} probabilities for {len(names)} datasets")
    if len(set(names)) < len(names):
        raise InputError("dataset: names one dataset twice", "Add up its probabilities")
    entries = tuple(
        Entry(name, (), weight(value, f"interleave_probs: {name}"))
        for name, value in zip(names, weights, strict=True)
    )
    return Reading(
        "document",
        (FileStage(0, entries),),
        sequence_length=count(data, "cutoff_len"),
        seed=count(data, "seed", 0),
    )


def _list(data: dict[str, Any], key: str) -> list[str]:
    value = take(data, key, (str, list, float, int))
    return [str(part).strip() for part in (value if isinstance(value, list) else str(value).split(","))]


LLAMA_FACTORY = Target(
    name="llama-factory",
    aliases=("llamafactory",),
    filename="llama_factory.yaml",
    units=("document",),
    weighs="document",
    repetition="none: repeats silently",
    data=TEXT,
    random=True,
    render=render,
    read=read,
)
