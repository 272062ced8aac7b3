"""The parts of a study file, typed and checked each by itself.

Each key has one description here. The commented template of `mixlaw init`, the table in docs/study.md and the JSON
Schema for editors are written from it; its first sentence is the comment in the template.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from mixing.amounts import TOKENS_PATTERN, parse_tokens


def whole_batches(tokens: int, batch_tokens: int) -> int:
    """The nearest number of tokens that is a whole number of batches, at least one."""
    return max(1, round(tokens / batch_tokens)) * batch_tokens


def _whole_tokens(value: object) -> object:
    """Token counts are often written 2e6 (which YAML 1.1 reads as text) or 2M."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    tokens = parse_tokens(value) if isinstance(value, str) else None
    return int(tokens) if tokens is not None and tokens.is_integer() else value


def several(value: object) -> object:
    """A list, where one text is given."""
    return (value,) if isinstance(value, str) else value


TOKENS_SCHEMA = {
    "anyOf": [
        {"type": "integer", "exclusiveMinimum": 0},
        {"type": "string", "pattern": TOKENS_PATTERN},
    ]
}

Tokens = Annotated[
    int, BeforeValidator(_whole_tokens), Field(gt=0), WithJsonSchema(TOKENS_SCHEMA, mode="validation")
]
"""A number of tokens: 500000, 500_000, 5e5, 0.5M."""

Paths = Annotated[tuple[str, ...], BeforeValidator(several, json_schema_input_type=str | tuple[str, ...])]
"""One text, or a list of them."""

Rate = Annotated[float, Field(gt=0, lt=1)]
Weights = dict[str, float]


class StudyPart(BaseModel):
    """Unknown keys are refused, values cannot change, and infinities are no numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class HeldoutPart(StudyPart):
    """Documents that are never trained on; losses are measured on them."""

    fraction: float = Field(
        default=0.05, gt=0, le=0.5, description="Fraction of the documents, chosen by the hash of their text."
    )
    windows: Annotated[int, Field(ge=2)] | Literal["auto"] = Field(
        default=64,
        description="Windows of model.context tokens per domain on which the losses are measured, or auto. "
        "auto: as many as 15 % of a proxy's training time pays for at the last budget, and as much again at all "
        "earlier ones together; at least 64 each time, and a third of the held-out text is left to the confirmation.",
    )


class TrainTokenizer(StudyPart):
    """A byte-level BPE, trained on the study's own text."""

    vocab_size: int = Field(
        default=4096,
        ge=264,
        le=1 << 20,
        description="Train a byte-level BPE of this many token ids on the study's own text.",
    )


class TokenizerPart(StudyPart):
    """One of `train`, `file`, or `vocab_size` with `eos_id`."""

    train: TrainTokenizer | None = Field(
        default=None, description="Train a byte-level BPE on the study's own text."
    )
    file: str | None = Field(default=None, description="A tokenizer.json to use instead.")
    eos: str | None = Field(
        default=None,
        description="Token of `file` that ends a document. Default: the one in the tokenizer_config.json "
        "beside it, or a usual name such as `<|endoftext|>` or `</s>`.",
    )
    vocab_size: int | None = Field(
        default=None,
        ge=2,
        le=1 << 31,
        description="Number of token ids, where all domains are ids and there is no tokenizer file.",
    )
    eos_id: int | None = Field(
        default=None, ge=0, description="With `vocab_size`: the id that ends a document."
    )

    @model_validator(mode="after")
    def _one_of(self) -> TokenizerPart:
        if [self.train, self.file, self.vocab_size].count(None) != 2:
            raise ValueError(
                "give one of train: {vocab_size: ...}, file: ..., or (for ids) vocab_size: ... with eos_id: ..."
            )
        if (self.vocab_size is None) != (self.eos_id is None):
            raise ValueError("vocab_size and eos_id go together")
        if self.vocab_size is not None and self.eos_id is not None and self.eos_id >= self.vocab_size:
            raise ValueError(f"eos_id {self.eos_id} is not below vocab_size {self.vocab_size}")
        if self.eos is not None and self.file is None:
            raise ValueError("eos names a token of file")
        return self


class ModelPart(StudyPart):
    """The proxy: a small Llama-style decoder."""

    depth: int = Field(ge=1, le=64, description="Layers; the width follows (32 x depth).")
    context: int = Field(ge=8, le=1 << 16, description="Tokens per window.")


class BasePart(StudyPart):
    """The model before continual pre-training: `tokens` or `checkpoint`."""

    tokens: Tokens | None = Field(
        default=None, description="Pretrain it here, on this many tokens of the general text."
    )
    learning_rate: Rate = Field(default=2e-3, description="Learning rate, constant after the warm-up.")
    warmup_steps: int = Field(default=50, ge=0, description="Optimiser steps of linear warm-up.")
    batch_tokens: Tokens | None = Field(
        default=None,
        description="Tokens per optimiser step, a multiple of model.context. Default: that of the proxies.",
    )
    checkpoint: str | None = Field(
        default=None, description="Instead of `tokens`, the weights.pt of an earlier study's base run."
    )

    @model_validator(mode="after")
    def _one_of(self) -> BasePart:
        if (self.tokens is None) == (self.checkpoint is None):
            raise ValueError("give either tokens (pretrain it here) or checkpoint (a weights.pt of ours)")
        return self


class ProxiesPart(StudyPart):
    """Continual pre-training of that base, once per target share."""

    tokens: Tokens = Field(description="Training tokens of each proxy.")
    target_shares: tuple[float, ...] = Field(
        min_length=1,
        description="Token shares of the target domains, from 0 to 1. At least three strictly between 0 and 1; "
        "five or six are better.",
    )
    seeds: tuple[int, ...] = Field(
        default=(0,),
        min_length=1,
        description="Seed of the stream of text that all proxies read, as a list of one whole number. "
        "Several are refused: proxies are compared on one stream.",
    )
    learning_rate: Rate = Field(
        default=1e-3,
        description="Learning rate, constant after the warm-up. So every checkpoint is a valid budget.",
    )
    batch_tokens: Tokens = Field(
        default=2048, description="Tokens per optimiser step, a multiple of model.context."
    )
    warmup_steps: int = Field(default=20, ge=0, description="Optimiser steps of linear warm-up.")
    weight_decay: float = Field(default=0.1, ge=0, lt=1, description="Weight decay of proxies and base.")
    match_repetition: bool | None = Field(
        default=None,
        description="Repeat a domain's text in a proxy as often as the run of `spec` will: the proxy then reads "
        "less of it. Default: for the domains that state a `supply` or of which a sample is read.",
    )
    checkpoints: int = Field(
        default=10,
        ge=8,
        le=64,
        description="Token budgets, log-spaced, at which the held-out losses are measured.",
    )

    @property
    def trained_tokens(self) -> int:
        """What each proxy trains on: `tokens`, as the nearest whole number of batches."""
        return whole_batches(self.tokens, self.batch_tokens)

    @field_validator("target_shares")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        for share in value:
            if not 0 <= share <= 1:
                raise ValueError(f"{share:g} is not a share: target shares are numbers from 0 to 1")
        if len(set(value)) != len(value):
            raise ValueError("a target share is given twice")
        return tuple(sorted(value))

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value) or min(value) < 0:
            raise ValueError("seeds are different whole numbers from 0")
        if len(value) > 1:
            # Runs of two streams differ by more than their mixtures, and no law tells the two apart.
            raise ValueError("one seed only: all proxies of a study read the same stream of text")
        return value


class DecisionPart(StudyPart):
    """The question: how much forgetting is tolerable, and at which budget."""

    tolerance: float = Field(
        ge=0, description="Tolerable forgetting: increase of the general loss, in nats per token."
    )
    allow_large_tolerance: bool = Field(
        default=False,
        description="Accept tolerances above 0.5 nats per token, 1.65 times the perplexity. Without it they are "
        "refused: most were meant as percent.",
    )
    level: float = Field(default=0.9, gt=0.5, lt=1, description="Confidence level of the intervals.")
    confidence: float = Field(
        default=0.9,
        gt=0.5,
        lt=1,
        description="Probability with which the recommended mix keeps every tolerance.",
    )
    turning_point: Literal["report", "require", "off"] = Field(
        default="report",
        description="Whether the general loss must have turned down at the budget (require), whether that is "
        "only shown (report), or not looked at (off).",
    )
    protect: Weights | None = Field(
        default=None,
        description="Tolerances of single validation sets, {name: nats}, in addition to that of the general loss.",
    )
    tokens: Tokens | None = Field(
        default=None,
        description="Continual pre-training budget that is asked about. At most 4 times the proxies'. "
        "Default: that of the proxies.",
    )
    general: Weights | None = Field(
        default=None,
        description="Weights of the general validation sets, {name: weight}. Default: as the domains are mixed.",
    )
    target: Weights | None = Field(
        default=None,
        description="Weights of the target validation sets, {name: weight}. Default: as the domains are mixed.",
    )


class SpecPart(StudyPart):
    """The run that the mix is for. Without it the mix spec has no sequence length and no batch size."""

    total_tokens: Tokens | None = Field(
        default=None,
        description="Training tokens of the target run, at least one batch. A domain is read "
        "share x total_tokens / its tokens times, at most max_epochs. Default: the budget asked about.",
    )
    sequence_length: int = Field(default=2048, ge=1, description="Tokens of one training sequence.")
    global_batch_tokens: Tokens = Field(
        default=524288, description="Tokens of one optimiser step, a multiple of sequence_length."
    )


class RunnerPart(StudyPart):
    """Where the proxies train. It changes no run and no answer.

    In short a word (`runner: prefect`), with an address a mapping (`runner: {kind: dask, address: ...}`).
    """

    kind: Literal["local", "prefect", "dask", "ray"] = Field(
        default="local",
        description="local: processes on this machine; prefect: workers of a deployment; dask, ray: a cluster.",
    )
    address: str | None = Field(
        default=None,
        description="Address of Dask's scheduler, such as tcp://scheduler:8786, or of the Ray cluster. "
        "Required for dask; for ray the default is auto.",
    )

    @model_validator(mode="after")
    def _address_of_a_cluster(self) -> RunnerPart:
        if self.kind == "dask" and not self.address:
            raise ValueError(
                "dask needs the address of its scheduler: {kind: dask, address: 'tcp://HOST:8786'}"
            )
        if self.kind == "prefect" and self.address is not None:
            raise ValueError("prefect takes no address here: its server is the one of PREFECT_API_URL")
        if self.kind == "local" and self.address is not None:
            raise ValueError("local takes no address: for a cluster, kind is dask or ray")
        if self.kind == "ray" and self.address is None:
            return self.model_copy(update={"address": "auto"})
        return self


def _runner(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


Runner = Annotated[
    RunnerPart,
    BeforeValidator(_runner, json_schema_input_type=Literal["local", "prefect", "dask", "ray"] | RunnerPart),
]
