"""Megatron-LM's `BlendedMegatronDatasetBuilder`, called as `pretrain_gpt.py` does."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

from mixing.export.drawing import UNKNOWN, Drawn, Loader, Request, names_of, shards_read


def draw(request: Request) -> Drawn:
    """The first `items` windows of the training blend."""
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
    return Drawn.of(names_of(request), items)


def training_dataset(request: Request) -> Any:
    """The dataset of the training blend, for `items` windows. Its caches go to `work`, not beside the data."""
    import torch
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.utils import get_blend_from_list

    # With a folder for its caches Megatron asks for the rank of its process: a world of one, without a network.
    started = not torch.distributed.is_initialized()
    if started:
        store = torch.distributed.HashStore()
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


MEGATRON = Loader("megatron.core", "megatron-core", "megatron-core==0.16.1", draw, shards_read)
