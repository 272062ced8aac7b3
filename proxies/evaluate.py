"""Held-out loss of every domain, on the same windows for all runs of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixing.errors import InputError
from proxies.data.sampler import Store, heldout_ids
from proxies.models.decoder import Decoder
from proxies.spec import ProxySpec

BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}


@dataclass(frozen=True)
class Loss:
    """A held-out loss in nats per token, and its standard error over windows."""

    mean: float
    stderr: float


def heldout_windows(spec: ProxySpec, store: Store) -> dict[str, Tensor]:
    """The held-out windows of every domain of the study, int64 [windows, context + 1].

    Raises InputError for a domain whose held-out text holds fewer than two windows.
    """
    windows = {}
    for domain in sorted(spec.data):
        split = store.domains[domain].heldout
        available = split.n_windows(spec.context)
        if available < 2:
            raise InputError(
                f"domain {domain!r}: its held-out text holds {available} windows of {spec.context} tokens",
                "Add text to it, raise heldout.fraction, or shorten the context",
            )
        ids = heldout_ids(spec.study_seed, domain, available, spec.heldout_windows)
        windows[domain] = torch.from_numpy(np.asarray(split.windows(ids, spec.context), dtype=np.int64))
    return windows


def evaluate(model: Decoder, windows: Mapping[str, Tensor]) -> dict[str, Loss]:
    """Loss of the model on each domain's windows."""
    device = model.embedding.device
    losses = {}
    for domain, windows_bt in windows.items():
        size = max(1, BATCH_TOKENS[device.type] // (windows_bt.shape[1] - 1))
        parts = [model.window_losses(part.to(device)).double().cpu() for part in windows_bt.split(size)]
        each = torch.cat(parts)
        losses[domain] = Loss(float(each.mean()), float(each.std() / len(each) ** 0.5))
    return losses
