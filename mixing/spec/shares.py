"""Arithmetic of shares, stages and caps that the spec, its exports and its imports share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from mixing.spec.components import Stage

SHOWN = 8
"""Domains that a text about a mix names."""


def shares_text(shares: Mapping[str, float]) -> str:
    """`web 0.7, code 0.2, ...`, the largest first."""
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])
    named = ", ".join(f"{name} {share:.3g}" for name, share in ordered[:SHOWN])
    return named + (f", ... ({len(ordered)})" if len(ordered) > SHOWN else "")


def exceeds_cap(epochs: float, max_epochs: float) -> bool:
    """Whether a domain is read more often than its cap; a mix that was optimised up to the cap is not."""
    return epochs > max_epochs * (1 + 1e-9)


def stage_tokens(stages: Sequence[Stage], total_tokens: int) -> list[int]:
    """Training tokens of each stage, as written (not rounded to whole batches)."""
    starts = [stage.from_token for stage in stages]
    return [end - start for start, end in zip(starts, [*starts[1:], total_tokens], strict=True)]


def mean_shares(stages: Sequence[Stage], total_tokens: int, domains: Iterable[str]) -> dict[str, float]:
    """Token share of every domain over the whole run: the stages' shares weighted by their tokens."""
    weights = stage_tokens(stages, total_tokens)
    return {
        name: math.fsum(
            stage.shares.get(name, 0.0) * (tokens / total_tokens)
            for stage, tokens in zip(stages, weights, strict=True)
        )
        for name in domains
    }
