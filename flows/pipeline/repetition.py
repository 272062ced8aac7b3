"""Repetition matched: a proxy repeats scarce text as often as the run that the mix is for will.

A run of T tokens reads a domain of S tokens share x T / S times. A proxy of t tokens on all of it would read it T / t
times less often, and would not see what repetition costs. So it reads a pool of S x t / T tokens, whatever its share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flows.study.models import Study

MORE_OFTEN = 1.2
"""By how much more often than the target run a proxy may repeat text without a word."""


def is_matched(study: Study, name: str, supply: Mapping[str, int], here: Mapping[str, int]) -> bool:
    """Whether a domain's repetition is matched: as the file says, else where the real corpus is not what is here."""
    if study.proxies.match_repetition is not None:
        return study.proxies.match_repetition
    return study.domains[name].supply is not None or supply[name] != here[name]


def pools_of(study: Study, supply: Mapping[str, int], here: Mapping[str, int], tokens: int) -> dict[str, int]:
    """Tokens of each domain that a proxy of so many tokens reads, where that is less than what is here.

    `supply` is training tokens of the whole corpora, `here` of what is tokenised.
    """
    real = study.real_supply(supply)
    pools = {}
    for name, count in here.items():
        pool = round(real[name] * tokens / study.target_run_tokens)
        if is_matched(study, name, supply, here) and pool < count:
            pools[name] = max(pool, study.model.context)
    return pools


def epochs_of(
    mixture: Mapping[str, float], tokens: int, pools: Mapping[str, int], here: Mapping[str, int]
) -> dict[str, float]:
    """How often a run of so many tokens reads each domain of its mixture: all that is here, or its pool."""
    return {name: share * tokens / max(pools.get(name, here[name]), 1) for name, share in mixture.items()}


def doubts(
    study: Study,
    mixture: Mapping[str, float],
    epochs: Mapping[str, float],
    pools: Mapping[str, int],
    real: Mapping[str, int],
) -> Iterator[str]:
    """What a proxy's repetition means: shares that no target run may have, and text that is short for the proxy."""
    for name, share in mixture.items():
        cap, of_target = study.domains[name].max_epochs, share * study.target_run_tokens / max(real[name], 1)
        part_is_here = study.domains[name].supply is not None or study.domains[name].sample is not None
        if name in pools and epochs[name] > cap * (1 + 1e-9):
            yield (
                f"repeats {name} {epochs[name]:.1f} times, as the target run would; above its max_epochs {cap:g}, "
                "so that share cannot be recommended"
            )
        elif name not in pools and part_is_here and epochs[name] > max(1.0, MORE_OFTEN * of_target):
            yield (
                f"repeats {name} {epochs[name]:.1f} times, and the target run would {of_target:.2g} times: read more "
                "of it (sample), or add text"
            )
