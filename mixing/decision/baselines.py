"""Mixtures that people commonly take without any law: a decision is scored against them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

REPLAY = {"replay 0%": 1.0, "replay 5%": 0.95, "replay 25%": 0.75, "replay 50%": 0.5}
"""Target shares of common replay rules, where one ratio is decided."""
TEMPERATURE = 0.3
"""q ~ n^0.3, as mT5 and XLM-R sample languages."""


def usual_ratios(target_domains: tuple[str, ...], natural: Mapping[str, float]) -> dict[str, float]:
    """Target shares by the baseline's name, where one ratio is decided; `natural` shares, of any sum, or none."""
    ratios = dict(REPLAY)
    if natural:
        total = sum(natural.values())
        ratios["natural shares"] = sum(natural.get(domain, 0.0) for domain in target_domains) / total
    return ratios


def unimax(supply: Mapping[str, float], budget: float, max_epochs: Mapping[str, float]) -> dict[str, float]:
    """Even shares, but no source read more than its epochs: the smallest first, the rest share what is left."""
    left, count = float(budget), len(supply)
    tokens: dict[str, float] = {}
    for name in sorted(supply, key=lambda n: supply[n] * max_epochs[n]):
        tokens[name] = min(left / count, supply[name] * max_epochs[name])
        left -= tokens[name]
        count -= 1
    total = sum(tokens.values())
    return {name: tokens[name] / total for name in supply}


def tempered(natural: Mapping[str, float], power: float = TEMPERATURE) -> dict[str, float]:
    """Natural shares raised to a power and normalised; absent sources stay absent."""
    raised = {name: float(share) ** power if share > 0 else 0.0 for name, share in natural.items()}
    total = sum(raised.values())
    return {name: value / total for name, value in raised.items()}


def uniform(domains: tuple[str, ...]) -> dict[str, float]:
    return {name: 1 / len(domains) for name in domains}


def replayed(
    natural: Mapping[str, float], target_domains: tuple[str, ...], replay: float
) -> dict[str, float]:
    """`replay` of general text, the rest target, each in its natural proportions."""
    out = {}
    for names, share in (
        ([n for n in natural if n in target_domains], 1 - replay),
        ([n for n in natural if n not in target_domains], replay),
    ):
        total = sum(natural[n] for n in names)
        for name in names:
            out[name] = share * (natural[name] / total if total > 0 else 1 / len(names))
    return {name: out[name] for name in natural}


def usual(
    domains: tuple[str, ...],
    target_domains: tuple[str, ...],
    natural: Mapping[str, float],
    natural_known: bool,
    supply: Mapping[str, float] | None,
    budget: float,
    max_epochs: Mapping[str, float],
) -> dict[str, dict[str, float]]:
    """The baselines by name. `natural` are the corpora's shares if known, else the mean trained mixture."""
    natural = {d: float(natural.get(d, 0.0)) for d in domains}
    mixes = {
        "natural shares" if natural_known else "mean trained mixture": natural,
        "uniform": uniform(domains),
    }
    if natural_known:
        mixes["temperature 0.3"] = tempered(natural)
    if supply:
        mixes["UniMax"] = unimax({d: supply.get(d, 0.0) for d in domains}, budget, max_epochs)
    if 0 < len(target_domains) < len(domains):
        for replay in (0.05, 0.25):
            mixes[f"replay {replay:.0%}"] = replayed(natural, target_domains, replay)
    return {name: mix for name, mix in mixes.items() if np.isfinite(list(mix.values())).all()}
