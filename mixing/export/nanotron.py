"""nanotron: `data_stages` over folders of datatrove's `.ds` files; all stages in one file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from mixing.export.text import count, parse_config, take, weight, yaml_text
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
    """Inverse of `render`; reads nanotron's own configurations too. Names are those of the folders.

    Folders and weights are two lists, or a mapping from folder to weight. A whole configuration also says its batch.
    """
    data = parse_config(text)
    stages = []
    seeds = []
    for index, stage in enumerate(take(data, "data_stages", list)):
        stage_data = take(stage, "data", dict)
        entries = _entries(take(stage_data, "dataset", dict), f"data_stages.{index}.data.dataset")
        stages.append(FileStage((count(stage, "start_training_step") or 1) - 1, entries))
        seeds.append(count(stage_data, "seed", 0))
    # Stages may stand in any order in the file.
    stages.sort(key=lambda stage: stage.first_step)
    length, batch, steps_in_all = _run(data)
    return Reading(
        "window",
        tuple(stages),
        total_tokens=batch * steps_in_all if batch and steps_in_all else None,
        sequence_length=length,
        global_batch_tokens=batch,
        seed=seeds[0] if seeds else None,
    )


def _entries(dataset: Mapping[str, Any], where: str) -> tuple[Entry, ...]:
    if "hf_dataset_or_datasets" in dataset:
        raise InputError(
            f"{where}.hf_dataset_or_datasets: are datasets that nanotron joins by their sizes, not by weights",
            "Give a file with dataset_folder and dataset_weights",
        )
    folders = take(dataset, "dataset_folder", (list, dict, str))
    if isinstance(folders, dict):
        if dataset.get("dataset_weights") is not None:
            raise InputError(f"{where}: has weights in dataset_folder and in dataset_weights", "Keep one")
        pairs = list(folders.items())
    else:
        folders = [folders] if isinstance(folders, str) else folders
        weights = dataset.get("dataset_weights")
        if weights is None and len(folders) > 1:
            raise InputError(
                f"{where}.dataset_weights: is missing; nanotron then draws by the sizes of the folders, which the "
                "file does not say",
                "Add the weights",
            )
        weights = [1.0] if weights is None else take(dataset, "dataset_weights", list)
        if len(folders) != len(weights):
            raise InputError(f"{where}: {len(weights)} weights for {len(folders)} folders")
        pairs = list(zip(folders, weights, strict=True))
    return tuple(Entry(None, (str(path),), weight(value, f"{where}: {path}")) for path, value in pairs)


def _run(data: Mapping[str, Any]) -> tuple[int | None, int | None, int | None]:
    """Tokens of a sequence and of a batch, and the steps of the run, as far as the configuration says them."""
    tokens, parallelism = data.get("tokens"), data.get("parallelism")
    if not isinstance(tokens, dict):
        return None, None, None
    length = count(tokens, "sequence_length")
    sizes = [length, count(tokens, "micro_batch_size"), count(tokens, "batch_accumulation_per_replica") or 1]
    sizes.append(count(parallelism, "dp") if isinstance(parallelism, dict) else None)
    known = [size for size in sizes if size is not None]
    batch = math.prod(known) if len(known) == len(sizes) else None
    return length, batch, count(tokens, "train_steps")


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
