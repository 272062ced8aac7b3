"""GPT-NeoX: data paths and weights of its YAML, over the same token files as Megatron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixing.errors import InputError
from mixing.export.data_format import STORE
from mixing.export.planning import Plan, StagePlan, weight_per_shard
from mixing.export.rendering import absolute_prefix, last_step, shard_paths
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import count, parse_config, take, weight, with_underscores, yaml_text
from mixing.spec.components import Shard
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """`train_data_paths` and `train_data_weights`, the same for valid and test over the held-out shards.

    GPT-NeoX wants all three splits or none. `weight_by_num_documents` would override the weights.
    """
    (stage,) = stages
    train: list[tuple[float, Shard]] = []
    heldout: list[tuple[float, Shard]] = []
    for name, share in stage.weights.items():
        shard_paths(spec, stage, name)
        train += weight_per_shard(share, stage.shards[name])
        heldout += weight_per_shard(share, spec.domains[name].heldout_shards)
    blends = {"train": train, "valid": heldout or train, "test": heldout or train}
    values: dict[str, Any] = {}
    for split, shards in blends.items():
        values[f"{split}_data_paths"] = [absolute_prefix(spec, shard.prefix) for _, shard in shards]
        values[f"{split}_data_weights"] = [part for part, _ in shards]
    values |= {"weight_by_num_documents": False, "data_impl": "mmap", "seed": stage.seed}
    if not heldout:
        values["eval_iters"] = 0
    if spec.sequence_length:
        values["seq_length"] = spec.sequence_length
    last = last_step(spec, stage)
    if last and spec.sequence_length and spec.global_batch_tokens:
        values |= {"train_batch_size": spec.global_batch_tokens // spec.sequence_length, "train_iters": last}
    notes = (
        () if heldout else ("no held-out shards: valid and test name the training files, with eval_iters 0",)
    )
    return RenderedFile(
        yaml_text(values),
        ("deepy.py train.py MODEL.yml {file}, without data_path and train_epochs",),
        {"seed": stage.seed},
        notes,
    )


def read(text: str) -> Reading:
    """Inverse of `render`; reads GPT-NeoX's own configurations too, with keys in either form. Entries have no names.

    Without weights GPT-NeoX weighs all paths alike.
    """
    data = with_underscores(parse_config(text))
    if "train_data_paths" not in data and data.get("data_path"):
        raise InputError("data_path: is one dataset, and so no mix", "Give a file with train-data-paths")
    paths = take(data, "train_data_paths", list)
    given = data.get("train_data_weights")
    weights = [1.0] * len(paths) if given is None else take(data, "train_data_weights", list)
    if len(paths) != len(weights):
        raise InputError(f"train_data_weights: {len(weights)} weights for {len(paths)} paths")
    if data.get("weight_by_num_documents"):
        raise InputError("weight_by_num_documents: is true, so the file's weights are not used")
    length, batch = count(data, "seq_length"), count(data, "train_batch_size")
    entries = tuple(
        Entry(None, (str(path),), weight(value, f"train_data_weights.{index}"))
        for index, (path, value) in enumerate(zip(paths, weights, strict=True))
    )
    tokens = length * batch if length and batch else None
    iterations = count(data, "train_iters")
    notes = ("train_data_weights is not given: GPT-NeoX weighs all paths alike",) if given is None else ()
    return Reading(
        "window",
        (FileStage(0, entries),),
        total_tokens=tokens * iterations if tokens and iterations else None,
        sequence_length=length,
        global_batch_tokens=tokens,
        seed=count(data, "seed", 0),
        # train_iters counts from the start of the run, in every stage.
        cumulative=True,
        notes=notes,
    )


GPT_NEOX = Target(
    name="gpt-neox",
    aliases=("neox",),
    filename="gpt_neox_data.yml",
    units=("window",),
    weighs="packed window",
    repetition="none: repeats silently",
    data=STORE,
    render=render,
    read=read,
)
