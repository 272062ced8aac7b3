"""Megatron-LM, and what reads its blends: Megatron-Bridge, NeMo (`--per-split-data-args-path`)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from mixing.errors import InputError
from mixing.export.data_format import STORE
from mixing.export.loader import UNKNOWN, DrawRequest, Draws, Loader, shard_count
from mixing.export.megatron_blends import read_blend
from mixing.export.planning import Plan, StagePlan, weight_per_shard
from mixing.export.rendering import absolute_prefix, shard_paths
from mixing.export.target import Reading, RenderedFile, Target
from mixing.spec.components import Shard
from mixing.spec.model import MixSpec

MAX_PREFIXES = 32_766
"""Megatron keeps the dataset of a sample in an int16."""


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
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
    return RenderedFile(
        "{\n" + "\n".join(lines) + "\n}\n", _start(spec, plan, stage), {"seed": stage.seed + 1}
    )


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
        # Megatron counts iterations from the start of the run, in every stage.
        flags += [f"--global-batch-size {batch // length}", f"--train-iters {plan.tokens // batch}"]
        starts = [str(later.first_token // batch) for later in plan.stages[1:]]
        if starts:
            flags.append(f"--phase-transition-iterations {','.join(starts)}")
    return (f"pretrain_gpt.py {' '.join(flags)}", "without --data-path and --split, which exclude this flag")


def read(text: str) -> Reading:
    """Inverse of `render`; reads every form in which people write a blend. Entries have no names."""
    return read_blend(text)


def draw(request: DrawRequest) -> Draws:
    """Draw the first `items` windows of the training blend, built as `pretrain_gpt.py` does."""
    from megatron.core.datasets.blended_dataset import BlendedDataset

    dataset = training_dataset(request)
    prefixes = json.loads(request.file.read_text(encoding="utf-8"))["train"][1::2]
    owners = [request.prefixes().get(prefix, UNKNOWN) for prefix in prefixes]
    blended = isinstance(dataset, BlendedDataset)
    items = []
    for index in range(min(request.items, len(dataset))):
        sample = dataset[index]
        owner = owners[int(sample["dataset_id"])] if blended else owners[0]
        items.append((owner, len(sample["tokens"])))
    return Draws.of(request.names, items)


def training_dataset(request: DrawRequest) -> Any:
    """The dataset of the training blend, for `items` windows. Its caches go to `work`, not beside the data."""
    import torch
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.utils import get_blend_from_list

    # With a folder for its caches Megatron asks for the rank of its process: a world of one, without a network.
    started = not torch.distributed.is_initialized()
    if started:
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        blend = json.loads(request.file.read_text(encoding="utf-8"))["train"]
        _require_files(blend[1::2])
        end = request.end_of_document()
        config = GPTDatasetConfig(
            random_seed=int(request.settings.get("seed", request.stage.seed + 1)),
            sequence_length=request.length,
            blend_per_split=[get_blend_from_list(blend), None, None],
            reset_position_ids=False,
            reset_attention_mask=False,
            eod_mask_loss=False,
            create_attention_mask=False,
            tokenizer=SimpleNamespace(vocab_size=1 << 31, eod=end, pad=end, unique_identifiers={}),
            path_to_cache=str(request.work / "megatron"),
        )
        return BlendedMegatronDatasetBuilder(GPTDataset, [request.items, 0, 0], lambda: True, config).build()[
            0
        ]
    finally:
        if started:
            torch.distributed.destroy_process_group()


def _require_files(prefixes: list[str]) -> None:
    """Megatron's dataset, half made over a missing file, would print a traceback when it is collected."""
    for path in (f"{prefix}{extension}" for prefix in prefixes for extension in (".idx", ".bin")):
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path} does not exist")


MEGATRON = Target(
    name="megatron",
    aliases=("nemo", "megatron-bridge"),
    filename="per_split_data_args.json",
    units=("window",),
    weighs="packed window",
    repetition="none: repeats silently",
    data=STORE,
    verified="megatron-core 0.16.1",
    render=render,
    read=read,
    loader=Loader("megatron.core", "megatron-core", "megatron-core==0.16.1", draw, shard_count),
)
