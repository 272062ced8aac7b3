"""Which shards each stage reads, for trainers that start every stage from the beginning of its data."""

from __future__ import annotations

from collections.abc import Sequence

from mixing.spec.components import Shard
from mixing.spec.shares import exceeds_cap


def divide_shards(
    shards: Sequence[Shard], demands: Sequence[float], max_epochs: float
) -> list[tuple[Shard, ...]] | None:
    """Shards for each stage, none in two, in proportion to the tokens that the stages read (`demands`).

    A stage that reads nothing gets none. None where there are fewer shards than stages that read, or where a
    stage would read its part more than `max_epochs` times: then the stages have to share.
    """
    reading = [stage for stage, demand in enumerate(demands) if demand > 0]
    filled = [shard for shard in shards if shard.tokens]
    if len(reading) < 2 or len(filled) < len(reading):
        return None
    supply = sum(shard.tokens for shard in filled)
    demand = sum(demands[stage] for stage in reading)
    missing = {stage: supply * demands[stage] / demand for stage in reading}
    owner: dict[str, int] = {}
    empty = set(reading)
    for remaining, shard in zip(range(len(filled), 0, -1), sorted(filled, key=_by_size), strict=True):
        # As many shards as stages without one: from here on each of those gets one.
        candidates = empty if remaining <= len(empty) else set(reading)
        stage = max(sorted(candidates), key=lambda stage: missing[stage])
        owner[shard.prefix] = stage
        missing[stage] -= shard.tokens
        empty.discard(stage)
    divided = [
        tuple(shard for shard in filled if owner[shard.prefix] == stage) for stage in range(len(demands))
    ]
    for stage in reading:
        if exceeds_cap(demands[stage] / sum(shard.tokens for shard in divided[stage]), max_epochs):
            return None
    return divided


def _by_size(shard: Shard) -> tuple[int, str]:
    return (-shard.tokens, shard.prefix)
