"""Held-out losses of every domain, window by window, on the same windows for all runs of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from mixing.arrays import Ints
from mixing.errors import InputError
from mixing.runs.heldout import carried, clustered_error
from proxies.data.sampler import HeldoutIds, Split, Store, eval_ids, heldout_ids
from proxies.models.decoder import Decoder
from proxies.runs.store import LossRow
from proxies.spec import ProxySpec

BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}


@dataclass(frozen=True)
class Windows:
    """Held-out windows of a domain or validation set: `tokens_wt` (int64 [windows, context + 1]), ids and documents.

    `few_w` marks those that are measured before the last budget.
    """

    tokens_wt: Tensor
    id_w: Ints
    document_w: Ints
    few_w: Tensor


WindowLosses = dict[str, Tensor]
"""By domain: the loss of each of its windows (nats per token, float64), NaN where one was not measured."""


def heldout_windows(spec: ProxySpec, store: Store) -> dict[str, Windows]:
    """The held-out windows of every domain of the study, and those of its own validation sets.

    Raises InputError for one that holds fewer than two windows.
    """
    windows = {}
    for domain in sorted(spec.data):
        split = store.domains[domain].heldout
        ids = heldout_ids(spec, domain, split)
        if len(ids.final) < 2:
            other = "" if spec.heldout == "swarm" else " beside those of the proxies"
            raise InputError(
                f"domain {domain!r}: its held-out text holds {len(ids.final)} windows of {spec.context} tokens{other}",
                "Add text to it, raise heldout.fraction, or shorten the context",
            )
        windows[domain] = _windows(split, ids, spec.context)
    for name in sorted(spec.evals):
        split = store.evals[name]
        ids = eval_ids(spec, name, split)
        if len(ids.final) < 2:
            raise InputError(
                f"validation set {name!r}: it holds {len(ids.final)} windows of {spec.context} tokens",
                "Add text to it, or shorten the context",
            )
        windows[name] = _windows(split, ids, spec.context)
    return windows


def _windows(split: Split, ids: HeldoutIds, context: int) -> Windows:
    return Windows(
        torch.from_numpy(np.asarray(split.windows(ids.final, context), dtype=np.int64)),
        ids.final,
        np.asarray(split.documents_of(ids.final, context), dtype=np.int64),
        torch.from_numpy(np.isin(ids.final, ids.few)),
    )


def evaluate(model: Decoder, windows: Mapping[str, Windows], few: bool = False) -> WindowLosses:
    """The model's loss on each window of each domain, or only on the `few`."""
    device = model.embedding.device
    losses = {}
    for domain, of_domain in windows.items():
        tokens_wt = of_domain.tokens_wt[of_domain.few_w] if few else of_domain.tokens_wt
        size = max(1, BATCH_TOKENS[device.type] // (tokens_wt.shape[1] - 1))
        parts = [model.window_losses(part.to(device)).double().cpu() for part in tokens_wt.split(size)]
        each_w = torch.full((len(of_domain.tokens_wt),), torch.nan, dtype=torch.float64)
        each_w[of_domain.few_w if few else slice(None)] = torch.cat(parts)
        losses[domain] = each_w
    return losses


def loss_rows(measured: Mapping[int, WindowLosses]) -> list[LossRow]:
    """Losses by budget and domain on all windows of the last budget, those of a few windows carried to them.

    The standard error is that over windows; where an earlier budget has a few, over these and what they leave open.
    """
    last = measured[max(measured)]
    rows = []
    for tokens, losses in sorted(measured.items()):
        for domain, losses_w in losses.items():
            loss = carried(losses_w.numpy(), last[domain].numpy())
            stderr = clustered_error(loss.influence_w, np.arange(len(losses_w)))
            rows.append(LossRow(tokens, domain, loss.loss, stderr or 0.0))
    return rows


def window_table(measured: Mapping[int, WindowLosses], windows: Mapping[str, Windows]) -> pl.DataFrame:
    """The losses of single windows as `mixing.runs.heldout.WINDOW_LOSSES` has them."""
    frames = [
        pl.DataFrame(
            {
                "tokens": np.full(len(losses_w), tokens, dtype=np.int64),
                "eval": [domain] * len(losses_w),
                "window": windows[domain].id_w.astype(np.int32),
                "document": windows[domain].document_w.astype(np.int32),
                "loss": losses_w.float().numpy(),
            }
        ).filter(pl.col("loss").is_not_nan())
        for tokens, losses in sorted(measured.items())
        for domain, losses_w in losses.items()
    ]
    return pl.concat(frames)
