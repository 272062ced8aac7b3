"""nanotron: `data_stages` over folders of datatrove's `.ds` files; all stages in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixing.errors import InputError
from mixing.export.data_format import DataFormat, Writer, leave_as_it_is
from mixing.export.parts import OnTokens, Part
from mixing.export.planning import Plan, StagePlan
from mixing.export.rendering import (
    TOKEN_BYTES,
    common_dtype,
    data_folder,
    run_length,
    steps,
    without_none,
)
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import count, parse_yaml, take, weight, yaml_text
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """Stages with `dataset_folder` and `dataset_weights` as two lists; steps count from 1.

    nanotron's documentation shows a mapping from folder to weight, which its code does not read.
    """
    if len(stages) > 1:
        run_length(spec, "nanotron's stages start at steps")
    data_stages = []
    for stage in stages:
        start = steps(spec, stage.first_token) or 0
        dataset: dict[str, Any] = {
            "dataset_folder": [data_folder(stage, name) for name in stage.weights],
            "dataset_weights": list(stage.weights.values()),
        }
        dtype = common_dtype(spec, stage)
        if dtype is not None:
            dataset["token_size_in_bytes"] = TOKEN_BYTES[dtype]
        data = {"seed": stage.seed, "num_loading_workers": 1, "dataset": dataset}
        data_stages.append({"name": f"stage-{stage.number}", "start_training_step": start + 1, "data": data})
    settings = without_none(
        {"sequence_length": spec.sequence_length, "train_steps": steps(spec, plan.tokens)}
    )
    tokens = "".join(f" {key}: {value}" for key, value in settings.items())
    beside = f", and tokens:{tokens}" if tokens else ""
    return RenderedFile(
        yaml_text({"data_stages": data_stages}),
        (f"run_train.py --config-file CONFIG.yaml, with data_stages from {{file}}{beside}",),
        settings,
    )


def read(text: str) -> Reading:
    """Inverse of `render`. Names are those of the folders."""
    stages = []
    seeds = []
    for index, stage in enumerate(take(parse_yaml(text), "data_stages", list)):
        data = take(stage, "data", dict)
        dataset = take(data, "dataset", dict)
        folders = take(dataset, "dataset_folder", list)
        weights = take(dataset, "dataset_weights", list)
        if len(folders) != len(weights):
            raise InputError(f"data_stages.{index}: {len(weights)} weights for {len(folders)} folders")
        entries = tuple(
            Entry(None, (str(path),), weight(value, f"data_stages.{index}.dataset_weights"))
            for path, value in zip(folders, weights, strict=True)
        )
        stages.append(FileStage((count(stage, "start_training_step") or 1) - 1, entries))
        seeds.append(count(data, "seed", 0))
    return Reading("window", tuple(stages), seed=seeds[0] if seeds else None)


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """Write datatrove's `.ds` and its `.index`: the part's tokens and documents as they are.

    There is no `.metadata`: it would name a tokenizer to be downloaded.
    """
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    if not part.rows:
        return
    size = part.tokens.dtype.itemsize
    file = TokenizedFile(str(folder), f"part-{part.number:05d}.ds", token_size=size)
    done = 0
    for tokens, bounds in part.blocks():
        file.write_bytes(tokens.astype(part.tokens.dtype).tobytes(), bounds[1:].tolist())
        done += len(tokens)
        on_tokens(done)
    file.close()


DS = DataFormat("ds", Writer("datatrove", "datatrove>=0.10", write, leave_as_it_is, any_length=True))
NANOTRON = Target(
    name="nanotron",
    filename="data_stages.yaml",
    units=("window",),
    weighs="window of length + 1",
    repetition="none: wraps around silently",
    data=DS,
    staged=True,
    render=render,
    read=read,
)
