"""Everything an export decides before a trainer's format is known: units, caps, rounding, stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mixing.corpora.files import folder_name
from mixing.errors import InputError
from mixing.export.stages import divide_shards
from mixing.spec.components import Shard
from mixing.spec.model import MixSpec
from mixing.spec.shares import exceeds_cap

Unit = Literal["window", "document"]
"""The items that a trainer draws: packed windows of one length (a weight is a token share), or whole documents."""

LEAST_SHARE = 1e-18
"""Less than a token in the longest run a spec can describe: dropped like 0, and nothing underflows."""


@dataclass(frozen=True)
class StagePlan:
    """One stage, ready to be written in a trainer's format.

    `tokens` is the stage's length, in whole batches. `shares` are the token shares asked for, `weights` what
    the target must be given so that it reads them; both sum to 1 and have no zeros. `shards` are the token files
    that the stage reads of each domain, `folders` the folders with the domain's data in the trainer's own format
    (None where no place for them is known). `epochs` is how often the stage reads these shards, where their size
    is known.
    """

    number: int
    first_token: int
    tokens: int
    seed: int
    shares: dict[str, float]
    weights: dict[str, float]
    epochs: dict[str, float]
    shards: dict[str, tuple[Shard, ...]]
    folders: dict[str, str] | None


@dataclass(frozen=True)
class Plan:
    """All stages for one target, and notes for the user about the conversion."""

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


def plan(
    spec: MixSpec,
    unit: Unit,
    *,
    staged: bool = False,
    data: str | None = None,
    own_folders: bool = False,
    multiple: int = 1,
) -> Plan:
    """Convert, round and check a spec for a target that draws `unit`.

    `staged`: the trainer goes through the stages in one stream. Otherwise it starts every stage at sample 0 of a
    new one, so stages get shards of their own where the domains have enough of them. `data` is the folder of data
    in the trainer's own format, which `own_folders` keeps apart for every stage. Later stages start at multiples
    of `multiple` tokens.

    Raises InputError where a domain would be read more often than its `max_epochs`, where a per-document
    target needs a mean document length that the spec does not have, or where a stage is shorter than a batch.
    """
    starts = _rounded_starts(spec, multiple)
    lengths = [end - start for start, end in pairwise(starts)]
    shares = [_positive(stage.shares) for stage in spec.stages]
    _refuse_repetition(spec, shares, lengths)
    divided = unit == "window" and not staged
    shards = {name: _shards_per_stage(spec, name, shares, lengths, divided) for name in spec.domains}
    own = own_folders and len(lengths) > 1
    stages = []
    for index, tokens in enumerate(lengths):
        names = [name for name in spec.domains if name in shares[index]]
        stages.append(
            StagePlan(
                number=index + 1,
                first_token=starts[index],
                tokens=tokens,
                # Trainers start each stage at sample 0 of a new stream: with the same seed it would be the
                # same windows again.
                seed=spec.seed if staged else spec.seed + index,
                shares={name: shares[index][name] for name in names},
                weights=document_weights(
                    {name: shares[index][name] for name in names}, _document_means(spec, names)
                )
                if unit == "document"
                else {name: shares[index][name] for name in names},
                epochs={
                    name: shares[index][name] * tokens / size
                    for name in names
                    if (size := _size(spec, name, shards[name][index]))
                },
                shards={name: shards[name][index] for name in names},
                folders=None
                if data is None
                else {name: _folder(data, spec, name, shards[name][index], index, own) for name in names},
            )
        )
    return Plan(unit, tuple(stages), tuple(_notes(spec, stages, unit, staged)))


def _positive(shares: Mapping[str, float]) -> dict[str, float]:
    """Shares without zeros (no trainer needs them, and some refuse them), summing to 1."""
    positive = {name: share for name, share in shares.items() if share > LEAST_SHARE}
    total = math.fsum(positive.values())
    return {name: share / total for name, share in positive.items()}


def _rounded_starts(spec: MixSpec, multiple: int) -> list[int]:
    """First tokens of the stages, then the total: whole global batches (windows, where no batch is given)."""
    size = spec.global_batch_tokens or spec.sequence_length or 1
    step = math.lcm(size, multiple)
    starts = [(stage.from_token + step // 2) // step * step for stage in spec.stages]
    starts.append(spec.total_tokens // size * size)
    for index in range(len(spec.stages)):
        if starts[index] >= starts[index + 1]:
            what = "batch" if step == size else "block"
            raise InputError(
                f"stages.{index}: is shorter than one {what} of {step} tokens",
                "Lengthen the stage, or leave it out",
            )
    return starts


def _shards_per_stage(
    spec: MixSpec, name: str, shares: Sequence[Mapping[str, float]], lengths: Sequence[int], divided: bool
) -> list[tuple[Shard, ...]]:
    domain = spec.domains[name]
    demands = [stage.get(name, 0.0) * tokens for stage, tokens in zip(shares, lengths, strict=True)]
    own = divide_shards(domain.shards, demands, domain.max_epochs) if divided else None
    return own or [domain.shards] * len(lengths)


def _size(spec: MixSpec, name: str, shards: Sequence[Shard]) -> int | None:
    return sum(shard.tokens for shard in shards) or spec.domains[name].tokens


def _folder(data: str, spec: MixSpec, name: str, shards: tuple[Shard, ...], index: int, own: bool) -> str:
    own = own or len(shards) < len(spec.domains[name].shards)
    return "/".join([data.rstrip("/"), *([f"stage-{index + 1}"] if own else []), folder_name(name)])


def apportion(shares: Mapping[str, float], count: int) -> dict[str, int]:
    """Whole numbers that sum to `count` and are within 1 of the shares, by largest remainder."""
    exact = {name: share * count for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: count - sum(counts.values())]:
        counts[name] += 1
    return counts


def passes(spec: MixSpec, stage: StagePlan, unit: Unit, random: bool) -> dict[str, int] | None:
    """How often each domain must be gone through so that the stage does not run out of it; None if unknown.

    A loader that draws by chance may ask for more than its share: four standard deviations are added.
    """
    items = items_of(spec, stage, unit)
    if items is None or stage.epochs.keys() != stage.shares.keys():
        return None
    counts = {}
    for name, weight in stage.weights.items():
        if unit == "window":
            length = spec.sequence_length or 1
            available = sum(shard.tokens // length for shard in stage.shards[name])
            available = available or (spec.domains[name].tokens or 0) // length
        else:
            size = _size(spec, name, stage.shards[name]) or 0
            available = int(size / (document_mean(spec, name) or 1))
        demand = weight * items
        demand += 4 * math.sqrt(demand * (1 - weight)) if random else 1
        counts[name] = max(1, math.ceil(demand / max(1, available)))
    return counts


def items_of(spec: MixSpec, stage: StagePlan, unit: Unit) -> int | None:
    """Windows or documents of a stage, for a trainer that counts items. None if not known."""
    if unit == "window":
        return stage.tokens // spec.sequence_length if spec.sequence_length else None
    mean = math.fsum(weight * (document_mean(spec, name) or 0.0) for name, weight in stage.weights.items())
    return math.ceil(stage.tokens / mean)


def document_mean(spec: MixSpec, name: str) -> float | None:
    """Mean tokens per document of a domain, written or derived; None where the spec does not tell."""
    domain = spec.domains[name]
    if domain.mean_tokens_per_document is not None:
        return domain.mean_tokens_per_document
    return domain.tokens / domain.documents if domain.tokens and domain.documents else None


def _document_means(spec: MixSpec, names: Sequence[str]) -> dict[str, float]:
    means = {}
    for name in names:
        mean = document_mean(spec, name)
        if mean is None:
            raise InputError(
                f"domains.{name}.mean_tokens_per_document: is missing, and a per-document target needs it",
                "Fill it in (tokens / documents), or export for packed windows",
            )
        means[name] = mean
    return means


def _refuse_repetition(spec: MixSpec, shares: Sequence[Mapping[str, float]], lengths: Sequence[int]) -> None:
    limits = []
    for name, domain in spec.domains.items():
        if domain.tokens is None:
            continue
        epochs = math.fsum(
            stage.get(name, 0.0) * tokens / domain.tokens
            for stage, tokens in zip(shares, lengths, strict=True)
        )
        if exceeds_cap(epochs, domain.max_epochs):
            limits.append((domain.max_epochs / epochs, name, epochs))
    if limits:
        fraction, name, epochs = min(limits)
        others = f" (and {len(limits) - 1} more domains)" if len(limits) > 1 else ""
        fitting = int(fraction * sum(lengths))
        raise InputError(
            f"domains.{name}: {epochs:.2f} epochs, above its max_epochs of "
            f"{spec.domains[name].max_epochs:g}{others}: trainers repeat it silently, so nothing was written",
            f"Lower total_tokens to {fitting}, lower its share, raise max_epochs, or add text",
        )


def _notes(spec: MixSpec, stages: Sequence[StagePlan], unit: Unit, staged: bool) -> list[str]:
    notes = []
    total = sum(stage.tokens for stage in stages)
    if total != spec.total_tokens:
        whole = "global batches" if spec.global_batch_tokens else "windows"
        notes.append(f"total rounded from {spec.total_tokens} to {total} tokens: whole {whole}")
    for stage, original in zip(stages, spec.stages, strict=True):
        if stage.first_token != original.from_token:
            notes.append(
                f"stage {stage.number} starts at token {stage.first_token}, not {original.from_token}"
            )
    for name, domain in spec.domains.items():
        reads = [stage for stage in stages if name in stage.shares]
        if not reads:
            notes.append(f"{name}: share 0, left out")
        elif domain.tokens is None:
            notes.append(f"{name}: its tokens are not in the spec, so repetition was not checked")
        elif len(reads) > 1 and not staged:
            notes.append(_read_again(name, domain.tokens, unit, reads))
        notes += [
            f"{name}: less than one window of {spec.sequence_length} tokens in stage {stage.number}"
            for stage in reads
            if spec.sequence_length and stage.shares[name] * stage.tokens < spec.sequence_length
        ]
    return notes


def _read_again(name: str, size: int, unit: Unit, reads: Sequence[StagePlan]) -> str:
    first, second = reads[:2]
    if first.shards[name] != second.shards[name]:
        return f"{name}: every stage reads shards of its own, none of which another stage reads"
    again = min(1.0, first.shares[name] * first.tokens / size)
    why = "too few shards to give every stage its own, so they share them" if unit == "window" else "shared"
    return (
        f"{name}: {why} under different seeds: about {again:.0%} of what stage {second.number} reads "
        f"was read in stage {first.number}"
    )
