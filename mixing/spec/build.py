"""A mix spec out of a decision and what the token store knows of its domains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mixing.decision.record import DecisionRecord
from mixing.errors import InputError, MixlawError
from mixing.spec.components import (
    Domain,
    PredictedLoss,
    Provenance,
    Shard,
    SpecBaseline,
    SpecDecision,
    Stage,
    package_versions,
)
from mixing.spec.model import MixSpec
from mixing.spec.shares import exceeds_cap
from mixing.spec.validation import first_problem


@dataclass(frozen=True)
class DomainFacts:
    """One domain of a token store: its training split, and the held-out shards for validation.

    `tokens` and `documents` count the training split; `shards` carry their own token counts.
    """

    role: Literal["general", "target"]
    tokens: int
    documents: int
    shards: tuple[Shard, ...]
    heldout_shards: tuple[Shard, ...] = ()
    max_epochs: float = 4.0
    tokenizer: str | None = None
    tokenizer_hash: str | None = None
    dtype: Literal["uint16", "int32"] | None = None


def build_spec(
    decision: DecisionRecord,
    domains: Mapping[str, DomainFacts] | None,
    *,
    name: str,
    total_tokens: int | None = None,
    seed: int = 0,
    sequence_length: int | None = None,
    global_batch_tokens: int | None = None,
    data_root: Path | None = None,
    provenance: Provenance | None = None,
) -> MixSpec:
    """The mix spec of a decision, in one stage of `total_tokens` (default: the budget that was asked about).

    `domains` is None where only a runs table is known: the spec then has shares but no files. A domain read
    more often than its cap at this budget is a warning in the spec (the export refuses it).

    Raises MixlawError for a "not yet" decision, InputError where decision and domains do not fit together.
    """
    if not decision.has_answer or not decision.shares:
        raise MixlawError(
            "the decision is 'not yet': there is no mix to write down",
            "Train the runs it asks for, then decide again",
        )
    if not name.strip():
        raise InputError("the mix spec has no name", 'Give it one, e.g. "my-mix"')
    budget = decision.question.tokens if total_tokens is None else total_tokens
    unknown = [] if domains is None else [key for key in decision.shares if key not in domains]
    if unknown:
        raise InputError(
            f"the decision has a share for {unknown[0]!r}, which is not a domain of the token store",
            "Use the domain names of the study in the runs table's share.* columns",
        )
    # The spec is written once and read for years: exact 1 spares every reader a renormalisation.
    total = math.fsum(decision.shares.values())
    shares = {key: share / total for key, share in decision.shares.items()}
    facts: dict[str, DomainFacts | None] = dict.fromkeys(shares) if domains is None else {**domains}
    try:
        entries = {
            key: _domain(key, fact, shares.get(key, 0.0), budget, decision) for key, fact in facts.items()
        }
        over = [
            f"{key}: {entry.epochs:.2f} epochs at {budget} tokens, more than its cap of {entry.max_epochs:g}"
            for key, entry in entries.items()
            if entry.epochs is not None and exceeds_cap(entry.epochs, entry.max_epochs)
        ]
        return MixSpec(
            name=name,
            domains=entries,
            stages=(Stage(from_token=0, shares={key: shares.get(key, 0.0) for key in entries}),),
            total_tokens=budget,
            sequence_length=sequence_length,
            global_batch_tokens=global_batch_tokens,
            seed=seed,
            data_root=None if data_root is None else data_root.absolute().as_posix(),
            decision=_spec_decision(decision, over),
            provenance=provenance or Provenance(versions=package_versions()),
        )
    except ValidationError as error:
        raise InputError(f"mix spec {name!r}: {first_problem(error)}", "Correct the study's value") from error


def _domain(
    key: str, facts: DomainFacts | None, share: float, budget: int, decision: DecisionRecord
) -> Domain:
    if facts is None:
        return Domain(
            role="target" if key in decision.question.target_domains else "general",
            share=share,
        )
    if facts.tokens <= 0 or facts.documents <= 0:
        raise InputError(
            f"domain {key!r} has no training tokens", "Give it text, or leave it out of the study"
        )
    return Domain(
        role=facts.role,
        share=share,
        tokens=facts.tokens,
        documents=facts.documents,
        mean_tokens_per_document=facts.tokens / facts.documents,
        max_epochs=facts.max_epochs,
        epochs=share * budget / facts.tokens,
        shards=facts.shards,
        heldout_shards=facts.heldout_shards,
        tokenizer=facts.tokenizer,
        tokenizer_hash=facts.tokenizer_hash,
        dtype=facts.dtype,
    )


def _spec_decision(decision: DecisionRecord, warnings: list[str]) -> SpecDecision:
    return SpecDecision(
        law=decision.law,
        tokens=decision.question.tokens,
        critical_ratio=decision.critical_ratio,
        interval=decision.interval,
        level=decision.question.level,
        status="bound" if decision.status == "bound" else "decided",
        safe_ratio=decision.safe_ratio,
        confidence=None if decision.safe_ratio is None else decision.question.confidence,
        binding=decision.binding,
        tolerance=decision.question.tolerance,
        general=dict(decision.question.general),
        target=dict(decision.question.target),
        predicted={key: PredictedLoss(**asdict(value)) for key, value in decision.by_role.items()},
        baselines=tuple(SpecBaseline(**asdict(baseline)) for baseline in decision.baselines),
        n_runs=decision.n_runs,
        warnings=(*decision.warnings, *warnings),
    )
