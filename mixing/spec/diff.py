"""Differences between two mix specs, as data and in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mixing.spec.components import SpecDecision
from mixing.spec.model import MixSpec

SAME_SHARE = 1e-9
"""Shares closer than this are equal (a round trip through text may move the last digit)."""

DECIDED = {
    "law": "law",
    "binding": "limited by",
    "tolerance": "tolerance",
    "n_runs": "runs",
    "tokens": "asked at tokens",
    "level": "level of intervals",
}


@dataclass(frozen=True)
class Difference:
    """One thing that differs: a dotted field, its value in each spec (None where absent), and a sentence."""

    field: str
    first: Any
    second: Any
    words: str


def differences(first: MixSpec, second: MixSpec) -> list[Difference]:
    """Differences from `first` to `second`: the mix, then the run, the data, the decision, and provenance."""
    changes = [
        *_mix(first, second),
        *_stages(first, second),
        *_run(first, second),
        *_data(first, second),
        *_decision(first.decision, second.decision),
    ]
    if first.provenance != second.provenance:
        changes.append(_fields("provenance", first.provenance, second.provenance))
    return changes


def moved_share(first: MixSpec, second: MixSpec) -> float:
    """Part of the training tokens that come from another domain (total variation distance), 0 to 1."""
    names = {*first.domains, *second.domains}
    shares = [{name: domain.share for name, domain in spec.domains.items()} for spec in (first, second)]
    return sum(abs(shares[0].get(name, 0.0) - shares[1].get(name, 0.0)) for name in names) / 2


def _mix(first: MixSpec, second: MixSpec) -> Iterable[Difference]:
    for name in dict.fromkeys([*first.domains, *second.domains]):
        old, new = first.domains.get(name), second.domains.get(name)
        times = [None if name not in spec.domains else spec.epochs_of(name) for spec in (first, second)]
        if old is None or new is None:
            share = (old or new).share  # type: ignore[union-attr]
            verb = "leaves" if new is None else "is new"
            yield Difference(
                f"domains.{name}",
                None if old is None else old.share,
                None if new is None else new.share,
                f"{name} {verb}, with {share:.2%} of the tokens",
            )
            continue
        if abs(old.share - new.share) > SAME_SHARE:
            words = (
                f"{name}: {old.share:.2%} -> {new.share:.2%} of the tokens ({_points(new.share - old.share)})"
            )
            reads = [_reads(spec, name) for spec in (first, second)]
            yield Difference(f"domains.{name}.share", old.share, new.share, f"{words}; {' -> '.join(reads)}")
        elif times[0] and times[1] and abs(times[0] / times[1] - 1) > 1e-6:
            words = f"{name}: read {times[0]:.3g} -> {times[1]:.3g} times, at the same share"
            yield Difference(f"domains.{name}.epochs", times[0], times[1], words)
        if old.max_epochs != new.max_epochs:
            words = f"{name}: may be read {old.max_epochs:g} -> {new.max_epochs:g} times"
            yield Difference(f"domains.{name}.max_epochs", old.max_epochs, new.max_epochs, words)
        if old.role != new.role:
            words = f"{name}: {old.role} -> {new.role}"
            yield Difference(f"domains.{name}.role", old.role, new.role, words)


def _points(change: float) -> str:
    return f"{100 * change:+.2g} points"


def _reads(spec: MixSpec, name: str) -> str:
    domain = spec.domains[name]
    text = f"{domain.share * spec.total_tokens:,.0f} tokens"
    epochs = spec.epochs_of(name)
    return text if epochs is None else f"{text} ({epochs:.3g} epochs)"


def _stages(first: MixSpec, second: MixSpec) -> Iterable[Difference]:
    old, new = first.stages, second.stages
    if len(old) == len(new) == 1:
        return
    starts = [[stage.from_token for stage in stages] for stages in (old, new)]
    if starts[0] != starts[1]:
        texts = [f"{len(start)} stage{'s' * (len(start) > 1)} from {_list(start)}" for start in starts]
        yield Difference("stages", starts[0], starts[1], " -> ".join(texts))
    if len(old) != len(new):
        for index, stage in enumerate(new):
            mix = ", ".join(f"{name} {share:.2%}" for name, share in stage.shares.items() if share)
            words = f"stage {index + 1}, from token {stage.from_token:,}: {mix}"
            yield Difference(f"stages.{index}", None, stage.model_dump(), words)
        return
    for index, (before, after) in enumerate(zip(old, new, strict=True)):
        for name in dict.fromkeys([*before.shares, *after.shares]):
            shares = before.shares.get(name, 0.0), after.shares.get(name, 0.0)
            if abs(shares[0] - shares[1]) > SAME_SHARE:
                words = f"stage {index + 1}: {name} {shares[0]:.2%} -> {shares[1]:.2%}"
                yield Difference(f"stages.{index}.shares.{name}", *shares, words)


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)


def _run(first: MixSpec, second: MixSpec) -> Iterable[Difference]:
    labels = {
        "total_tokens": "training tokens",
        "sequence_length": "sequence length",
        "global_batch_tokens": "tokens per global batch",
        "seed": "seed",
        "name": "name",
        "data_root": "folder of the data",
    }
    for field, label in labels.items():
        old, new = getattr(first, field), getattr(second, field)
        if old != new:
            words = f"{label}: {_value(old)} -> {_value(new)}"
            if field == "total_tokens":
                words += f" ({new / old:.3g} times)"
            yield Difference(field, old, new, words)


def _value(value: Any) -> str:
    if value is None:
        return "not given"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _data(first: MixSpec, second: MixSpec) -> Iterable[Difference]:
    for name, old in first.domains.items():
        new = second.domains.get(name)
        if new is None:
            continue
        for field, label in (
            ("tokens", "tokens there"),
            ("documents", "documents there"),
            ("dtype", "dtype"),
        ):
            before, after = getattr(old, field), getattr(new, field)
            if before != after:
                words = f"{name}: {_value(before)} -> {_value(after)} {label}"
                yield Difference(f"domains.{name}.{field}", before, after, words)
        if old.tokenizer_hash != new.tokenizer_hash:
            yield Difference(
                f"domains.{name}.tokenizer_hash",
                old.tokenizer_hash,
                new.tokenizer_hash,
                f"{name}: another tokenizer, so its tokens are not comparable"
                if old.tokenizer_hash and new.tokenizer_hash
                else f"{name}: its tokenizer is known {'before' if old.tokenizer_hash else 'now'} only",
            )
        for field in ("shards", "heldout_shards"):
            before, after = ({shard.prefix for shard in getattr(domain, field)} for domain in (old, new))
            if before != after:
                # The same files may be named from another folder; moved ones have other folders and equal names.
                before = {f"{first.data_root}/{prefix}" for prefix in before}
                after = {f"{second.data_root}/{prefix}" for prefix in after}
            if before != after:
                what = "training" if field == "shards" else "held-out"
                words = (
                    f"{name}: {len(after - before)} {what} files added, {len(before - after)} removed, "
                    f"{len(before & after)} kept"
                )
                yield Difference(f"domains.{name}.{field}", len(before), len(after), words)


def _decision(old: SpecDecision | None, new: SpecDecision | None) -> Iterable[Difference]:
    if old is None or new is None:
        if old is not new:
            words = "decision: " + ("given -> none" if new is None else "none -> given")
            yield Difference("decision", old is not None, new is not None, words)
        return
    for field in DECIDED:
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            words = f"decision: {DECIDED[field]} {_value(before)} -> {_value(after)}"
            yield Difference(f"decision.{field}", before, after, words)
    if old.critical_ratio != new.critical_ratio or old.interval != new.interval:
        texts = [_ratio(decision) for decision in (old, new)]
        words = f"decision: critical ratio {texts[0]} -> {texts[1]}{_overlap(old.interval, new.interval)}"
        yield Difference("decision.critical_ratio", old.critical_ratio, new.critical_ratio, words)
    for name in dict.fromkeys([*old.predicted, *new.predicted]):
        before, after = old.predicted.get(name), new.predicted.get(name)
        if before is None or after is None:
            words = f"decision: loss on {name} is predicted {'only before' if after is None else 'now'}"
            yield Difference(f"decision.predicted.{name}", before is not None, after is not None, words)
        elif before != after:
            words = (
                f"decision: loss on {name} {before.loss:.4f} -> {after.loss:.4f} "
                f"({after.loss - before.loss:+.4f} nats){_overlap(before.interval, after.interval)}"
            )
            yield Difference(f"decision.predicted.{name}.loss", before.loss, after.loss, words)
    if old.warnings != new.warnings:
        yield Difference(
            "decision.warnings",
            list(old.warnings),
            list(new.warnings),
            f"decision: {len(old.warnings)} -> {len(new.warnings)} warnings",
        )


def _ratio(decision: SpecDecision) -> str:
    if decision.critical_ratio is None:
        return "none"
    low, high = decision.interval or (None, None)
    return f"{decision.critical_ratio:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")


def _overlap(first: tuple[float, float] | None, second: tuple[float, float] | None) -> str:
    if first is None or second is None:
        return ""
    apart = first[1] < second[0] or second[1] < first[0]
    return ", intervals apart" if apart else ", intervals overlap"


def _fields(field: str, first: Any, second: Any) -> Difference:
    changed = [key for key in type(first).model_fields if getattr(first, key) != getattr(second, key)]
    return Difference(
        field,
        {key: getattr(first, key) for key in changed},
        {key: getattr(second, key) for key in changed},
        f"{field}: other {', '.join(key.replace('_', ' ') for key in changed)}",
    )
