"""Everything an export decides before a trainer's format is known: units, caps, rounding, stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mixing.errors import InputError
from mixing.spec import MixSpec, Shard
from mixing.spec_check import exceeds_cap

Unit = Literal["window", "document"]
"""What a trainer draws: packed windows of fixed length (a weight is a token share), or whole documents."""

LEAST_SHARE = 1e-18
"""Less than a token in the longest run a spec can describe: dropped like 0, and nothing underflows."""


@dataclass(frozen=True)
class StagePlan:
    """One stage, ready to be written in a trainer's format.

    `tokens` is the stage's length, in whole batches. `shares` are the token shares asked for, `weights` what
    the target must be given so that it reads them; both sum to 1. `epochs` is how often the stage reads each
    domain, where the domain's size is known.
    """

    number: int
    first_token: int
    tokens: int
    seed: int
    shares: dict[str, float]
    weights: dict[str, float]
    epochs: dict[str, float]


@dataclass(frozen=True)
class Plan:
    """All stages for one target, and what the user should know about the conversion."""

    unit: Unit
    stages: tuple[StagePlan, ...]
    notes: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """Length of the whole run, in whole batches."""
        return sum(stage.tokens for stage in self.stages)


def document_weights(
    shares: Mapping[str, float], mean_tokens_per_document: Mapping[str, float]
) -> dict[str, float]:
    """Chances of drawing a document that give these token shares: `p_i = (w_i/m_i) / sum_j (w_j/m_j)`."""
    per_document = {name: share / mean_tokens_per_document[name] for name, share in shares.items()}
    total = math.fsum(per_document.values())
    return {name: weight / total for name, weight in per_document.items()}


def shares_of_documents(
    weights: Mapping[str, float], mean_tokens_per_document: Mapping[str, float]
) -> dict[str, float]:
    """Token shares that drawing documents with these chances gives: the inverse of `document_weights`."""
    tokens = {name: weight * mean_tokens_per_document[name] for name, weight in weights.items()}
    total = math.fsum(tokens.values())
    return {name: count / total for name, count in tokens.items()}


def weight_per_shard(weight: float, shards: Sequence[Shard]) -> list[tuple[float, Shard]]:
    """Spread a domain's weight over its shards by their tokens, so that all are read equally often.

    Shards without tokens are left out: some loaders never return from one.
    """
    total = sum(shard.tokens for shard in shards)
    parts = [(weight * (shard.tokens / total), shard) for shard in shards if shard.tokens]
    return [(part, shard) for part, shard in parts if part > 0]


def plan(spec: MixSpec, unit: Unit, takes_zero: bool = False) -> Plan:
    """Convert, round and check a spec for a target that draws `unit`.

    Raises InputError where a domain would be read more often than its `max_epochs`, where a per-document
    target needs a mean document length that the spec does not have, or where a stage is shorter than a batch.
    """
    starts = _rounded_starts(spec)
    stages = []
    for index, stage in enumerate(spec.stages):
        tokens = starts[index + 1] - starts[index]
        kept = {
            name: stage.shares.get(name, 0.0)
            for name in spec.domains
            if takes_zero or stage.shares.get(name, 0.0) > LEAST_SHARE
        }
        total = math.fsum(kept.values())
        shares = {name: share / total for name, share in kept.items()}
        stages.append(
            StagePlan(
                number=index + 1,
                first_token=starts[index],
                tokens=tokens,
                # Trainers start each stage at sample 0 of a new stream: with the same seed it would be the
                # same windows again.
                seed=spec.seed + index,
                shares=shares,
                weights=document_weights(shares, _document_means(spec, shares))
                if unit == "document"
                else shares,
                epochs={
                    name: share * tokens / size
                    for name, share in shares.items()
                    if (size := spec.domains[name].tokens)
                },
            )
        )
    _refuse_repetition(spec, stages)
    return Plan(unit, tuple(stages), tuple(_notes(spec, stages)))


def _rounded_starts(spec: MixSpec) -> list[int]:
    """First tokens of the stages, then the total: whole global batches (windows, where no batch is given)."""
    size = spec.global_batch_tokens or spec.sequence_length or 1
    starts = [(stage.from_token + size // 2) // size * size for stage in spec.stages]
    starts.append(spec.total_tokens // size * size)
    for index in range(len(spec.stages)):
        if starts[index] >= starts[index + 1]:
            raise InputError(
                f"stages.{index}: is shorter than one batch of {size} tokens",
                "Lengthen the stage, or leave it out",
            )
    return starts


def document_mean(spec: MixSpec, name: str) -> float | None:
    """Mean tokens per document of a domain, written or derived; None where the spec does not tell."""
    domain = spec.domains[name]
    if domain.mean_tokens_per_document is not None:
        return domain.mean_tokens_per_document
    return domain.tokens / domain.documents if domain.tokens and domain.documents else None


def _document_means(spec: MixSpec, shares: Mapping[str, float]) -> dict[str, float]:
    means = {}
    for name in shares:
        mean = document_mean(spec, name)
        if mean is None:
            raise InputError(
                f"domains.{name}.mean_tokens_per_document: is missing, and a per-document target needs it",
                "Fill it in (tokens / documents), or export for packed windows",
            )
        means[name] = mean
    return means


def _refuse_repetition(spec: MixSpec, stages: Sequence[StagePlan]) -> None:
    limits = []
    for name, domain in spec.domains.items():
        epochs = math.fsum(stage.epochs.get(name, 0.0) for stage in stages)
        if exceeds_cap(epochs, domain.max_epochs):
            limits.append((domain.max_epochs / epochs, name, epochs))
    if limits:
        fraction, name, epochs = min(limits)
        others = f" (and {len(limits) - 1} more domains)" if len(limits) > 1 else ""
        fitting = int(fraction * sum(stage.tokens for stage in stages))
        raise InputError(
            f"domains.{name}: {epochs:.2f} epochs, above its max_epochs of "
            f"{spec.domains[name].max_epochs:g}{others}: trainers repeat it silently, so nothing was written",
            f"Lower total_tokens to {fitting}, lower its share, raise max_epochs, or add text",
        )


def _notes(spec: MixSpec, stages: Sequence[StagePlan]) -> list[str]:
    notes = []
    written = sum(stage.tokens for stage in stages)
    if written != spec.total_tokens:
        whole = "global batches" if spec.global_batch_tokens else "windows"
        notes.append(f"total rounded from {spec.total_tokens} to {written} tokens: whole {whole}")
    for stage, asked in zip(stages, spec.stages, strict=True):
        if stage.first_token != asked.from_token:
            notes.append(f"stage {stage.number} starts at token {stage.first_token}, not {asked.from_token}")
    for name, domain in spec.domains.items():
        reads = [stage for stage in stages if name in stage.shares]
        if not reads:
            notes.append(f"{name}: share 0, left out")
        elif domain.tokens is None:
            notes.append(f"{name}: its tokens are not in the spec, so repetition was not checked")
        elif len(reads) > 1:
            epochs = " + ".join(f"{stage.epochs[name]:.2f}" for stage in reads)
            notes.append(
                f"{name}: the stages read {epochs} epochs, each from a new shuffle: "
                "a later stage may read again what an earlier one read"
            )
        notes += [
            f"{name}: less than one window of {spec.sequence_length} tokens in stage {stage.number}"
            for stage in reads
            if spec.sequence_length and stage.shares[name] * stage.tokens < spec.sequence_length
        ]
    return notes
