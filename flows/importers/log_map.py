"""The map of `mixlaw import-runs`: which log is which run, of what shares, and what its numbers mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from mixing.amounts import parse_tokens
from mixing.errors import InputError
from mixing.strict_yaml import read_yaml

Format = Literal["huggingface", "csv", "json", "wandb", "tensorboard", "megatron", "olmo-core", "mlflow"]


def _whole(value: object) -> object:
    number = parse_tokens(value) if isinstance(value, str) else value
    return int(number) if isinstance(number, float) and number.is_integer() else number


Count = Annotated[int, BeforeValidator(_whole), Field(gt=0)]


class MapPart(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


class Mix(MapPart):
    """A trainer's own mix file, read as `mixlaw spec import` does."""

    file: str
    trainer: str = Field(alias="from")


class LoggedRun(MapPart):
    """One run: its log, and its shares, either written here or read from its mix file."""

    log: str
    shares: dict[str, float] | None = None
    mix: Mix | None = None
    base: bool = False
    params: Count | None = None
    seed: int | None = None
    tokens_per_step: Count | None = None

    @model_validator(mode="after")
    def _one_mixture(self) -> LoggedRun:
        if (self.shares is not None) + (self.mix is not None) + self.base != 1:
            raise ValueError(
                "give one of shares: {DOMAIN: SHARE}, mix: {file: ..., from: TRAINER}, or base: true"
            )
        phased = [name for name in self.shares or {} if re.match(r"phase_?\d+_", name)]
        if phased:
            raise ValueError(
                f"{phased[0]!r} is a share of one phase: a run of several mixtures has no single one, and no law "
                "here is fitted on phases; give the runs of one phase each"
            )
        return self


class LogMap(MapPart):
    """What `import-runs` reads.

    `evals` is a regular expression over whole metric names with a group `eval`, the validation set. Tokens are
    `tokens_per_step` times the step, or the metric that `tokens` names. `step` names the column of steps.
    """

    runs: dict[str, LoggedRun] = Field(min_length=1)
    evals: str
    tokens_per_step: Count | None = None
    tokens: str | None = None
    step: str | None = None
    format: Format | None = None

    @field_validator("evals")
    @classmethod
    def _pattern(cls, value: str) -> str:
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from None
        if "eval" not in pattern.groupindex:
            raise ValueError("has no group (?P<eval>...) that names the validation set")
        return value

    @model_validator(mode="after")
    def _tokens_known(self) -> LogMap:
        lacking = [name for name, run in self.runs.items() if not (run.tokens_per_step or run.base)]
        if (self.tokens_per_step is None) == (self.tokens is None) and (lacking or self.tokens):
            raise ValueError(
                "give tokens_per_step: N (tokens of an optimiser step), or tokens: METRIC, one of them"
            )
        return self


def load_map(path: Path) -> LogMap:
    """The map in a YAML file. Raises InputError naming the file and the key."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror})", "Give a map (docs/runs-table.md)"
        ) from None
    document: Any = read_yaml(content, str(path))
    try:
        return LogMap.model_validate(document)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(step) for step in fault["loc"])
        reason = fault["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: {where}: {reason}", "See the map in docs/runs-table.md") from None
