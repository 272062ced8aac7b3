"""The runs of a study and their cost, before any is spent.

A plan is a function of the study and of the corpora's token counts alone: never of how many workers train it
or of what is already trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from flows.pipeline.repetition import doubts, epochs_of, pools_of
from flows.study.models import Study
from flows.study.parts import whole_batches
from mixing.amounts import format_amount
from mixing.corpora.sampling import BYTES_PER_TOKEN
from mixing.decision.constraints import ratio_range
from mixing.errors import InputError
from mixing.mixture import mixture_at

Kind = Literal["base", "proxy", "confirmation"]
RunKey = tuple[Kind, float | None, int]
"""Kind, target share (None for a confirmation run) and seed: which run of a study it is."""

MIN_INTERIOR = 3
"""Target shares strictly between 0 and 1 that the ratio law needs."""


@dataclass(frozen=True)
class PlannedRun:
    """One run: what it is for, its mixture (empty for a confirmation run, whose share is decided later), its tokens.

    `name` is for people only: nothing is ever read out of it. `epochs` is how often each domain's training text is
    read; `over` names the domains beyond their cap. Of the domains in `pools` only so many tokens are read.
    """

    kind: Kind
    name: str
    target_share: float | None
    seed: int
    mixture: dict[str, float]
    tokens: int
    epochs: dict[str, float] = field(default_factory=dict)
    over: tuple[str, ...] = ()
    pools: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> RunKey:
        return self.kind, self.target_share if self.kind != "confirmation" else None, self.seed


@dataclass(frozen=True)
class Plan:
    """The runs in the order of training.

    `supply` is training tokens by domain that proxies may read, guessed from bytes where `estimated`; `real_supply` is
    that of the real corpora.
    """

    runs: tuple[PlannedRun, ...]
    supply: dict[str, int]
    estimated: bool
    warnings: tuple[str, ...]
    real_supply: dict[str, int] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return sum(run.tokens for run in self.runs)

    def of_kind(self, kind: Kind) -> tuple[PlannedRun, ...]:
        return tuple(run for run in self.runs if run.kind == kind)


def mixture(study: Study, supply: dict[str, int], target_share: float) -> dict[str, float]:
    """Token shares by domain at one target share; domains of share 0 are left out."""
    composition = study.whole_composition(study.real_supply(supply))
    shares = mixture_at(target_share, composition, study.names("target"))
    return {name: shares[name] for name in study.domains if shares[name] > 0}


def proxy_name(target_share: float, seed: int) -> str:
    """How screens, logs and Prefect call a proxy."""
    return f"proxy target={target_share:g} seed={seed}"


def confirmation_name(target_share: float) -> str:
    """How screens, logs and Prefect call the confirmation run once its share is decided."""
    return f"confirmation target={target_share:g}"


def make_plan(
    study: Study, supply: dict[str, int], estimated: bool = False, here: dict[str, int] | None = None
) -> Plan:
    """The base (unless a checkpoint is given), a proxy per target share and seed, the confirmation run.

    `supply` is training tokens of the whole corpora, `here` those that the proxies read (default: the same).
    """
    here = supply if here is None else here

    def run(kind: Kind, name: str, share: float | None, seed: int, tokens: int) -> PlannedRun:
        shares = mixture(study, supply, share) if share is not None else {}
        pools = pools_of(study, supply, here, tokens) if kind != "base" else {}
        epochs = epochs_of(shares, tokens, pools, here)
        # A pool is read as often as its size says: its cap is the target run's.
        caps = {domain: study.domains[domain].max_epochs for domain in shares if domain not in pools}
        over = tuple(domain for domain, cap in caps.items() if epochs[domain] > cap * (1 + 1e-9))
        return PlannedRun(kind, name, share, seed, shares, tokens, epochs, over, pools)

    runs = []
    batch = study.proxies.batch_tokens
    if study.base.tokens is not None:
        base_tokens = whole_batches(study.base.tokens, study.base.batch_tokens or batch)
        runs.append(run("base", "base", 0.0, study.seed, base_tokens))
    tokens = study.proxies.trained_tokens
    for seed in study.proxies.seeds:
        runs += [
            run("proxy", proxy_name(share, seed), share, seed, tokens)
            for share in study.proxies.target_shares
        ]
    if study.confirm:
        # At the budget that is asked about, so that it tests the very prediction.
        budget = whole_batches(study.asked_tokens, batch)
        runs.append(run("confirmation", "confirmation", None, study.proxies.seeds[0], budget))
    real = study.real_supply(supply)
    warnings = _warnings(study, runs, estimated)
    for proxy in (run for run in runs if run.kind == "proxy"):
        found = doubts(study, proxy.mixture, proxy.epochs, proxy.pools, real)
        warnings += [f"{proxy.name}: {doubt}" for doubt in found]
    return Plan(tuple(runs), dict(here), estimated, tuple(warnings), real)


ESTIMATE_ERROR = 2.0
"""By how much more tokens there may be than are guessed from bytes."""


def check_target_run(study: Study, supply: dict[str, int], estimated: bool = False) -> None:
    """Raises InputError where the run that the mix is for is so long that its text would be repeated beyond every
    `max_epochs`, whatever the mixture: all that is trained for would end without one.

    `supply` is training tokens by domain; where it is `estimated`, only what no error of the estimate explains is
    refused.
    """
    real = study.real_supply(supply)
    _check_supply(study, supply, estimated)
    tokens, leeway = study.target_run_tokens, ESTIMATE_ERROR if estimated else 1.0
    composition = study.whole_composition(real)
    caps = {name: leeway * study.domains[name].max_epochs * count / tokens for name, count in real.items()}
    low, high = ratio_range(caps, composition, study.names("target"))
    if low <= high:
        return
    amounts = ", ".join(
        f"{name} {format_amount(study.domains[name].max_epochs * count)} "
        f"({study.domains[name].max_epochs:g} x {format_amount(count)})"
        for name, count in real.items()
    )
    key = "spec.total_tokens" if study.spec and study.spec.total_tokens else "the budget asked about"
    scarce = min(real, key=lambda name: caps[name] / max(composition[name], 1e-9))
    guess = " (estimated)" if estimated else ""
    raise InputError(
        f"{study.file.name}: the caps leave no mixture: {key} is {format_amount(tokens)} tokens, and max_epochs allow "
        f"to read{guess} {amounts}; most of all {scarce} is short",
        "Where the real corpora hold more than is here, state it as domains.<name>.supply; else add text, raise "
        "max_epochs, or lower the tokens of the run",
    )


def _check_supply(study: Study, supply: dict[str, int], estimated: bool) -> None:
    for name, tokens in supply.items():
        stated = study.domains[name].supply
        if stated is not None and not estimated and stated < tokens * (1 - SUPPLY_ERROR):
            raise InputError(
                f"{study.file.name}: domains.{name}.supply is {stated:,} tokens, and its files here hold {tokens:,}",
                "supply is what the whole corpus holds; correct it, or leave it out",
            )


SUPPLY_ERROR = 0.1
"""Part of the tokens at hand by which a stated supply may be below them: it is counted with other tokenizers too."""


def _warnings(study: Study, runs: list[PlannedRun], estimated: bool) -> list[str]:
    """What makes the plan fail, or its answer weak."""
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
    times = (study.decision.tokens or 0) / study.proxies.tokens
    if times > 2:
        warnings.append(f"decision.tokens is {times:.1f} times the proxies' tokens: extrapolated")
    return warnings


def estimated_supply(heldout_fraction: float, bytes_by_domain: dict[str, int]) -> dict[str, int]:
    """Training tokens guessed from bytes, for a plan before the text is tokenised."""
    return {
        name: math.ceil(size * (1 - heldout_fraction) / BYTES_PER_TOKEN)
        for name, size in bytes_by_domain.items()
    }
