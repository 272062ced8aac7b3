"""Megatron-LM, and what reads its blends: Megatron-Bridge, NeMo (`--per-split-data-args-path`)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mixing.errors import InputError
from mixing.export.planning import Plan, StagePlan, weight_per_shard
from mixing.export.target import Entry, FileStage, Reading, Rendered, Target, absolute_prefix, shard_paths
from mixing.export.text import parse_json, take, weight
from mixing.spec.components import Shard
from mixing.spec.model import MixSpec

MAX_PREFIXES = 32_766
"""Megatron keeps the dataset of a sample in an int16."""


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> Rendered:
    """JSON of one blend per split: alternating weights and prefixes of `.bin`/`.idx` files.

    Weights are of packed windows, so token shares as they are. The validation blend has the shares of the
    training blend, over the held-out shards, where the spec names them.
    """
    (stage,) = stages
    train: list[tuple[float, Shard]] = []
    valid: list[tuple[float, Shard]] = []
    for name, share in stage.weights.items():
        shard_paths(spec, stage, name)
        domain = spec.domains[name]
        train += weight_per_shard(share, stage.shards[name])
        if any(shard.tokens for shard in domain.heldout_shards):
            valid += weight_per_shard(share, domain.heldout_shards)
    if len(train) > MAX_PREFIXES:
        raise InputError(
            f"domains: have {len(train)} shards, and Megatron blends at most {MAX_PREFIXES}",
            "Build the token store with larger shards",
        )
    lines = [
        f'  "train": {_blend(spec, train)},',
        f'  "valid": {_blend(spec, valid)},',
        # Megatron requires all three keys.
        '  "test": null',
    ]
    return Rendered("{\n" + "\n".join(lines) + "\n}\n", _start(spec, plan, stage), {"seed": stage.seed + 1})


def _blend(spec: MixSpec, shards: Sequence[tuple[float, Shard]]) -> str:
    if not shards:
        return "null"
    rows = [
        f"    {json.dumps(repr(part))}, {json.dumps(absolute_prefix(spec, shard.prefix), ensure_ascii=False)}"
        for part, shard in shards
    ]
    return "[\n" + ",\n".join(rows) + "\n  ]"


def _start(spec: MixSpec, plan: Plan, stage: StagePlan) -> tuple[str, ...]:
    # Megatron refuses seed 0.
    flags = ["--per-split-data-args-path {file}", f"--seed {stage.seed + 1}"]
    length, batch = spec.sequence_length, spec.global_batch_tokens
    if length:
        flags.append(f"--seq-length {length}")
    if length and batch:
        # Megatron counts iterations from the start of the run, whatever the stage.
        flags += [f"--global-batch-size {batch // length}", f"--train-iters {plan.tokens // batch}"]
        starts = [str(later.first_token // batch) for later in plan.stages[1:]]
        if starts:
            flags.append(f"--phase-transition-iterations {','.join(starts)}")
    return (f"pretrain_gpt.py {' '.join(flags)}", "without --data-path and --split, which exclude this flag")


def read(text: str) -> Reading:
    """Inverse of `render`; also reads a blend that is one string, as Megatron does. Entries have no names."""
    blend = take(parse_json(text), "train", (list, str))
    words = blend.split() if isinstance(blend, str) else [str(word) for word in blend]
    if len(words) < 2 or len(words) % 2:
        raise InputError(
            "train: is not pairs of weight and prefix", "Without weights, Megatron blends by size"
        )
    entries = tuple(
        Entry(None, (prefix.strip(),), weight(value, f"train.{2 * index}"))
        for index, (value, prefix) in enumerate(zip(words[::2], words[1::2], strict=True))
    )
    return Reading("window", (FileStage(0, entries),))


MEGATRON = Target(
    name="megatron",
    aliases=("nemo", "megatron-bridge"),
    filename="per_split_data_args.json",
    units=("window",),
    weighs="packed window",
    repetition="none: repeats silently",
    data="store",
    verified="megatron-core 0.16.1",
    render=render,
    read=read,
)
