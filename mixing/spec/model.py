"""The mix spec: which share of which tokens to train on, and how we know."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from mixing.amounts import format_amount
from mixing.errors import InputError
from mixing.spec.components import Count, Domain, Provenance, SpecComponent, SpecDecision, Stage
from mixing.spec.shares import shares_text
from mixing.spec.validation import check_consistency, first_problem

VERSION = 1
"""Version of the file format; `mixspec` in the file."""


class MixSpec(SpecComponent):
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
        check_consistency(
            domains=self.domains,
            stages=self.stages,
            total_tokens=self.total_tokens,
            sequence_length=self.sequence_length,
            global_batch_tokens=self.global_batch_tokens,
            data_root=self.data_root,
        )
        return self

    def __repr__(self) -> str:
        mix = shares_text({name: domain.share for name, domain in self.domains.items()})
        staged = f" in {len(self.stages)} stages" if len(self.stages) > 1 else ""
        lines = [f"MixSpec {self.name}: {format_amount(self.total_tokens)} tokens{staged}", f"  {mix}"]
        if self.decision is not None:
            ratio = self.decision.critical_ratio
            decided = "decided" if ratio is None else f"critical ratio {ratio:.3f}"
            lines.append(f"  {decided} from {self.decision.n_runs} runs, law {self.decision.law}")
        return "\n".join(lines)

    __str__ = __repr__

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
            raise InputError(first_problem(error), "Give an absolute folder") from error
