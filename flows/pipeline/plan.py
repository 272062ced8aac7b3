"""The runs of a study and their cost, before any is spent.

A plan is a function of the study and of the corpora's token counts alone: never of how many workers train it
or of what is already trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from flows.study.models import Study

Kind = Literal["base", "proxy", "confirmation"]

BYTES_PER_TOKEN = 3.5
"""Of a byte-level BPE of some thousand entries on prose and code; used until the text is tokenised."""

MIN_INTERIOR = 3
"""Target shares strictly between 0 and 1 that the ratio law needs."""


@dataclass(frozen=True)
class PlannedRun:
    """One run: its mixture (empty for a confirmation run, whose share is decided later), tokens, and epochs.

    `epochs` is how often each domain's training text is read; `over` names the domains beyond their cap.
    """

    kind: Kind
    name: str
    target_share: float | None
    seed: int
    mixture: dict[str, float]
    tokens: int
    epochs: dict[str, float] = field(default_factory=dict)
    over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """`supply` is training tokens by domain; `estimated` says that they are guessed from bytes."""

    runs: tuple[PlannedRun, ...]
    supply: dict[str, int]
    estimated: bool
    warnings: tuple[str, ...]

    @property
    def tokens(self) -> int:
        return sum(run.tokens for run in self.runs)

    def of_kind(self, kind: Kind) -> tuple[PlannedRun, ...]:
        return tuple(run for run in self.runs if run.kind == kind)


def mixture(study: Study, supply: dict[str, int], target_share: float) -> dict[str, float]:
    """Token shares by domain at one target share; domains of share 0 are left out."""
    parts = {
        **{name: part * (1 - target_share) for name, part in study.composition("general", supply).items()},
        **{name: part * target_share for name, part in study.composition("target", supply).items()},
    }
    return {name: parts[name] for name in study.domains if parts[name] > 0}


def proxy_name(target_share: float, seed: int) -> str:
    return f"proxy target={target_share:g} seed={seed}"


def make_plan(study: Study, supply: dict[str, int], estimated: bool = False) -> Plan:
    """The base (unless a checkpoint is given), a proxy per target share and seed, the confirmation run."""

    def run(kind: Kind, name: str, share: float | None, seed: int, tokens: int) -> PlannedRun:
        shares = mixture(study, supply, share) if share is not None else {}
        epochs = {domain: part * tokens / max(supply[domain], 1) for domain, part in shares.items()}
        over = tuple(d for d, value in epochs.items() if value > study.domains[d].max_epochs * (1 + 1e-9))
        return PlannedRun(kind, name, share, seed, shares, tokens, epochs, over)

    runs = []
    batch = study.proxies.batch_tokens
    if study.base.tokens is not None:
        base_tokens = _whole(study.base.tokens, study.base.batch_tokens or batch)
        runs.append(run("base", "base", 0.0, study.seed, base_tokens))
    tokens = _whole(study.proxies.tokens, batch)
    for seed in study.proxies.seeds:
        runs += [
            run("proxy", proxy_name(share, seed), share, seed, tokens)
            for share in study.proxies.target_shares
        ]
    if study.confirm:
        # At the budget that is asked about, so that it tests the very prediction.
        asked = _whole(study.decision.tokens or study.proxies.tokens, batch)
        runs.append(run("confirmation", "confirmation", None, study.proxies.seeds[0], asked))

    warnings = [
        f"{planned.name}: reads {domain} {planned.epochs[domain]:.1f} times, above its max_epochs "
        f"{study.domains[domain].max_epochs:g}{' (estimated)' if estimated else ''}; a study run refuses that"
        for planned in runs
        for domain in planned.over
    ]
    interior = [share for share in study.proxies.target_shares if 0 < share < 1]
    if len(interior) < MIN_INTERIOR:
        warnings.append(
            f"{len(interior)} target shares between 0 and 1: the ratio law needs {MIN_INTERIOR}, and "
            "an honest interval more; the answer will be 'not yet'"
        )
    asked = study.decision.tokens or study.proxies.tokens
    if asked > 2 * study.proxies.tokens:
        warnings.append(
            f"decision.tokens is {asked / study.proxies.tokens:.1f} times the proxies' tokens: extrapolated"
        )
    return Plan(tuple(runs), dict(supply), estimated, tuple(warnings))


def _whole(tokens: int, batch: int) -> int:
    """The nearest whole number of batches."""
    return max(1, round(tokens / batch)) * batch


def estimated_supply(heldout_fraction: float, bytes_by_domain: dict[str, int]) -> dict[str, int]:
    """Training tokens guessed from bytes, for a plan before the text is tokenised."""
    return {
        name: math.ceil(size * (1 - heldout_fraction) / BYTES_PER_TOKEN)
        for name, size in bytes_by_domain.items()
    }
