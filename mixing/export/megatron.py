"""Megatron-LM, and what reads its blends: Megatron-Bridge, NeMo (`--per-split-data-args-path`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from mixing.errors import InputError
from mixing.export.convert import Plan, StagePlan, Unit, weight_per_shard
from mixing.export.target import Rendered, absolute_prefix
from mixing.spec import MixSpec, Shard

MAX_PREFIXES = 32_766
"""Megatron keeps the dataset of a sample in an int16."""


@dataclass(frozen=True)
class Megatron:
    """JSON of one blend per split: alternating weights and prefixes of `.bin`/`.idx` files.

    Weights are of packed windows, so token shares as they are. The validation blend has the shares of the
    training blend, over the held-out shards, where the spec names them.
    """

    name: str = "megatron"
    filename: str = "per_split_data_args.json"
    units: tuple[Unit, ...] = ("window",)
    staged: bool = False
    takes_zero: bool = False
    repetition: str = "none: repeats silently"
    verified: str = "megatron-core 0.16.1"

    def render(self, spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> Rendered:
        (stage,) = stages
        if spec.data_root is None:
            raise InputError(
                "data_root: is missing: Megatron needs the token files", "Add the folder they lie in"
            )
        train = []
        valid = []
        for name, weight in stage.weights.items():
            domain = spec.domains[name]
            if not domain.shards:
                raise InputError(
                    f"domains.{name}.shards: is empty: Megatron needs the domain's .bin/.idx prefixes",
                    "Add its shards (prefix and tokens), or export the spec that `mixlaw run` wrote",
                )
            train += weight_per_shard(weight, domain.shards)
            if any(shard.tokens for shard in domain.heldout_shards):
                valid += weight_per_shard(weight, domain.heldout_shards)
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
        return Rendered("{\n" + "\n".join(lines) + "\n}\n", _start(spec, plan, stage))


def _blend(spec: MixSpec, shards: Sequence[tuple[float, Shard]]) -> str:
    if not shards:
        return "null"
    rows = [
        f"    {json.dumps(repr(weight))}, "
        f"{json.dumps(absolute_prefix(spec, shard.prefix), ensure_ascii=False)}"
        for weight, shard in shards
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
