"""The mix spec: which share of which tokens to train on, and how we know."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mixing.atomic import replace_files
from mixing.decision.result import Binding, Decision
from mixing.errors import InputError, MixlawError
from mixing.spec.validation import check_consistency, exceeds_cap
from mixing.spec.yaml_file import check_schema, problem, write_yaml
from mixing.strict_yaml import MAX_BYTES, read_yaml

VERSION = 1

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0, le=10**18)]
Interval = tuple[float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Shard(_Part):
    """A token file of one split: `prefix` + `.bin` and `.idx`, relative to the spec's `data_root`."""

    prefix: str
    tokens: Annotated[int, Field(ge=0, le=10**18)]


class Domain(_Part):
    """A source of text. Counts are of its training split, in tokens of its tokenizer (end-of-text included).

    `epochs` is how often the whole run reads the domain: share x total tokens / tokens. Counts, shards and
    tokenizer are null or empty in a spec decided from a bare runs table; fill them in before exporting.
    """

    role: Literal["general", "target"]
    share: Share
    tokens: Count | None = None
    documents: Count | None = None
    mean_tokens_per_document: Annotated[float, Field(gt=0)] | None = None
    max_epochs: Annotated[float, Field(gt=0)] = 4.0
    epochs: Annotated[float, Field(ge=0)] | None = None
    shards: tuple[Shard, ...] = ()
    heldout_shards: tuple[Shard, ...] = ()
    tokenizer: str | None = None
    tokenizer_hash: str | None = None
    dtype: Literal["uint16", "int32"] | None = None


class Stage(_Part):
    """Token shares from training token `from_token` until the next stage; a domain left out has share 0."""

    from_token: Annotated[int, Field(ge=0, le=10**18)]
    shares: dict[str, Share]


class PredictedLoss(_Part):
    """Nats per token, with its interval, and the increment over the base model."""

    loss: float
    interval: Interval
    increment: float


class SpecBaseline(_Part):
    name: str
    shares: dict[str, float]
    predicted: dict[str, PredictedLoss]


class SpecDecision(_Part):
    """How the shares were chosen: the question, at `tokens`, and the answer that `mixlaw decide` printed.

    `tokens` is the budget that was asked about: the proxies' own, where the spec is for a longer run.
    """

    law: str
    tokens: Count
    critical_ratio: float | None
    interval: Interval | None
    level: float
    binding: Binding
    tolerance: float
    general: dict[str, float]
    target: dict[str, float]
    predicted: dict[str, PredictedLoss]
    baselines: tuple[SpecBaseline, ...] = ()
    n_runs: int
    warnings: tuple[str, ...] = ()


class Provenance(_Part):
    """Where the numbers come from; `data` maps a domain to the fingerprint of its token store.

    `imported` names the target and the file that the mix was read from, where it was.
    """

    study: str | None = None
    imported: str | None = None
    study_hash: str | None = None
    data: dict[str, str] = {}
    versions: dict[str, str] = {}
    mlflow_run: str | None = None
    runs: tuple[str, ...] = ()


class MixSpec(_Part):
    """Token shares per domain and stage, the caps they respect, the decision behind them, and provenance.

    `sequence_length` and `global_batch_tokens` are in tokens; `data_root` is the absolute folder that shard
    prefixes are relative to. `decision` is null where nobody decided: a mix read from a trainer's file.
    """

    mixspec: Literal[1] = 1
    name: str
    domains: Annotated[dict[str, Domain], Field(min_length=1)]
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    total_tokens: Count
    sequence_length: Count | None = None
    global_batch_tokens: Count | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data_root: str | None = None
    decision: SpecDecision | None = None
    provenance: Provenance = Provenance()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        check_consistency(self)
        return self

    def epochs_of(self, name: str) -> float | None:
        """How often the run reads a domain: as the spec says, else from its share and tokens; None without those."""
        domain = self.domains[name]
        if domain.epochs is None and domain.tokens:
            return domain.share * self.total_tokens / domain.tokens
        return domain.epochs

    def with_data_root(self, data_root: str) -> MixSpec:
        """The same spec over token files in another folder. Raises InputError where it is not absolute."""
        try:
            return MixSpec.model_validate({**self.model_dump(), "data_root": data_root})
        except ValidationError as error:
            raise InputError(problem(error), "Give an absolute folder") from error


@dataclass(frozen=True)
class DomainFacts:
    """What a token store knows of one domain's training split (and the held-out shards, for validation).

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
    decision: Decision,
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
    if decision.status != "decided" or not decision.shares:
        raise MixlawError(
            "the decision is 'not yet': there is no mix to write down",
            "Train the runs it asks for, then decide again",
        )
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
            provenance=provenance or Provenance(versions=versions()),
        )
    except ValidationError as error:
        raise InputError(f"mix spec {name!r}: {problem(error)}", "Correct the study's value") from error


def _domain(key: str, facts: DomainFacts | None, share: float, budget: int, decision: Decision) -> Domain:
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


def _spec_decision(decision: Decision, warnings: list[str]) -> SpecDecision:
    return SpecDecision(
        law=decision.law,
        tokens=decision.question.tokens,
        critical_ratio=decision.critical_ratio,
        interval=decision.interval,
        level=decision.question.level,
        binding=decision.binding,
        tolerance=decision.question.tolerance,
        general=dict(decision.question.general),
        target=dict(decision.question.target),
        predicted={key: PredictedLoss(**asdict(value)) for key, value in decision.predicted.items()},
        baselines=tuple(SpecBaseline(**asdict(baseline)) for baseline in decision.baselines),
        n_runs=decision.n_runs,
        warnings=(*decision.warnings, *warnings),
    )


def versions() -> dict[str, str]:
    """Versions of Mixlaw, torch (read from its metadata, never imported) and Python."""
    found = {"python": platform.python_version()}
    for package in ("mixlaw", "torch"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return dict(sorted(found.items()))


def schema_text() -> str:
    """The JSON Schema of the mix spec, as shipped in `mixing/mixspec.schema.json`."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:mixlaw:mixspec:{VERSION}",
        **MixSpec.model_json_schema(),
    }
    # A file must say its version, although a MixSpec made in code may leave it out.
    schema["required"] = ["mixspec", *schema["required"]]
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def parse_spec(text: bytes, where: str) -> MixSpec:
    """A mix spec from YAML; `where` names the file in errors. Raises InputError naming file and field."""
    data = read_yaml(text, where)
    if not isinstance(data, dict) or "mixspec" not in data:
        raise InputError(
            f"{where}: mixspec: is missing, so this is not a mix spec", "Give the file `mixlaw run` wrote"
        )
    version = data["mixspec"]
    if isinstance(version, int) and version != VERSION:
        raise InputError(
            f"{where}: mixspec: version {str(version)[:20]} is unknown: this mixlaw reads {VERSION}",
            "Upgrade mixlaw (pip install --upgrade mixlaw), or write the spec again with this one",
        )
    check_schema(data, where)
    try:
        return MixSpec.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{where}: {problem(error)}", "Correct this field") from error


def load_spec(path: Path) -> MixSpec:
    """The mix spec in `path`. Raises InputError, naming file and field, for anything that is not one."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror or error}", "Give the path of a mix spec"
        ) from error
    return parse_spec(text, str(path))


def dump_spec(spec: MixSpec) -> str:
    """The YAML that `save_spec` writes."""
    return write_yaml(spec.model_dump(mode="json"))


def save_spec(spec: MixSpec, path: Path) -> None:
    """Write the spec as YAML, atomically. Raises MixlawError where the file cannot be written."""
    replace_files({path: dump_spec(spec).encode()})


if __name__ == "__main__":
    print(schema_text(), end="")
