"""The study file: the whole question, typed and checked, with errors that name the file and the key."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from flows.settings.home import RESERVED
from mixing.amounts import parse_tokens
from mixing.errors import InputError
from mixing.strict_yaml import read_yaml

if TYPE_CHECKING:
    from mixing.corpora.documents import Source


def _whole_tokens(value: object) -> object:
    """Token counts are often written 2e6 (which YAML 1.1 reads as text) or 2M."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    tokens = parse_tokens(value) if isinstance(value, str) else None
    return int(tokens) if tokens is not None and tokens.is_integer() else value


Tokens = Annotated[int, BeforeValidator(_whole_tokens), Field(gt=0)]
"""A number of tokens: 500000, 500_000, 5e5, 0.5M."""

Rate = Annotated[float, Field(gt=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DomainPart(_Part):
    """One named source: text, or token ids (then for all domains the tokenizer they are of is given)."""

    role: Literal["general", "target"]
    """general: what the base model knows and must not forget (replay). target: the new domain."""
    paths: tuple[str, ...] = ()
    """Folders, files or globs (.jsonl, .jsonl.gz, .jsonl.zst, .parquet, text), relative to the study file."""
    text_field: str = "text"
    tokens: tuple[str, ...] = ()
    """Instead of paths: megatron://PREFIX (of .bin and .idx) or olmo://FILE.npy; globs too."""
    token_dtype: Literal["uint8", "uint16", "uint32", "uint64"] | None = None
    """Of olmo:// files, which do not say it; Megatron's do."""
    max_epochs: float = Field(default=4.0, gt=0)
    weight: float | None = Field(default=None, gt=0)
    """Share within its role, for several sources of one role (normalised); default: by tokens."""

    @field_validator("paths", "tokens", mode="before")
    @classmethod
    def _one_path(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _text_or_ids(self) -> DomainPart:
        if bool(self.paths) == bool(self.tokens):
            raise ValueError("give either paths (text) or tokens (ids: megatron://PREFIX, olmo://FILE.npy)")
        kinds = {self.token_kind(address) for address in self.tokens}
        if len(kinds) > 1:
            raise ValueError("tokens are of one kind: all megatron:// or all olmo://")
        if kinds == {"olmo"} and self.token_dtype is None:
            raise ValueError("olmo:// files do not say their type: add token_dtype (uint16, uint32, ...)")
        if kinds != {"olmo"} and self.token_dtype is not None:
            raise ValueError("token_dtype is for olmo:// files only")
        return self

    @staticmethod
    def token_kind(address: str) -> Literal["megatron", "olmo"]:
        scheme, _, path = address.partition("://")
        if path and scheme == "megatron":
            return "megatron"
        if path and scheme == "olmo":
            return "olmo"
        raise ValueError(f"{address!r} is neither megatron://PREFIX nor olmo://FILE.npy")


class HeldoutPart(_Part):
    fraction: float = Field(default=0.05, gt=0, le=0.5)
    windows: int = Field(default=64, ge=2)


class TrainTokenizer(_Part):
    vocab_size: int = Field(default=4096, ge=264, le=1 << 20)


class TokenizerPart(_Part):
    """Train a byte-level BPE on the study's own text, load a `tokenizer.json`, or say what given ids are."""

    train: TrainTokenizer | None = None
    file: str | None = None
    eos: str | None = None
    """The token of `file` that ends a document; default: what its tokenizer_config.json says, or a usual name."""
    vocab_size: int | None = Field(default=None, ge=2, le=1 << 31)
    eos_id: int | None = Field(default=None, ge=0)
    """For a study whose domains are all ids, without a tokenizer's file."""

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


class ModelPart(_Part):
    depth: int = Field(ge=1, le=64)
    context: int = Field(ge=8, le=1 << 16)


class BasePart(_Part):
    """The model before continual pre-training: pretrained here on the general text, or a given checkpoint."""

    tokens: Tokens | None = None
    learning_rate: Rate = 2e-3
    warmup_steps: int = Field(default=50, ge=0)
    batch_tokens: Tokens | None = None
    checkpoint: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> BasePart:
        if (self.tokens is None) == (self.checkpoint is None):
            raise ValueError("give either tokens (pretrain it here) or checkpoint (a weights.pt of ours)")
        return self


class ProxiesPart(_Part):
    tokens: Tokens
    target_shares: tuple[float, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    learning_rate: Rate = 1e-3
    batch_tokens: Tokens = 2048
    warmup_steps: int = Field(default=20, ge=0)
    weight_decay: float = Field(default=0.1, ge=0, lt=1)
    """Of the base too."""
    checkpoints: int = Field(default=10, ge=8, le=64)
    """Token budgets, log-spaced, at which the held-out losses are taken."""

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
            # A proxy starts from the base and reads the study's one stream: its seed changes nothing in it.
            raise ValueError("one seed only: proxies of another seed would repeat the same run")
        return value


class DecisionPart(_Part):
    tolerance: float = Field(ge=0)
    """Nats per token of general loss that may be lost."""
    level: float = Field(default=0.9, gt=0.5, lt=1)
    tokens: Tokens | None = None
    """The continual-pre-training budget that is asked about; default: that of the proxies."""
    general: dict[str, float] | None = None
    target: dict[str, float] | None = None
    """Weights of the validation sets within each role; default: as the sources are mixed."""


class SpecPart(_Part):
    """What the mix spec is written for: the target run."""

    total_tokens: Tokens | None = None
    """Default: the budget that the decision is about."""
    sequence_length: int = Field(default=2048, ge=1)
    global_batch_tokens: Tokens = 524288


class RunnerPart(_Part):
    """Where the proxies train. It changes no run and no answer."""

    kind: Literal["local", "prefect", "dask", "ray"] = "local"
    """local: processes of this machine. prefect: the workers of a deployment. dask, ray: a cluster."""
    address: str | None = None
    """Of Dask's scheduler, such as tcp://scheduler:8786 (required), or of the Ray cluster (default: auto)."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"kind": value} if isinstance(value, str) else value

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


NOT_IN_IDENTITY = {"runner"}
"""Keys that change neither the question nor a run."""


class Study(_Part):
    """A study file. `Study.load` is the way in; relative paths in it are relative to its folder."""

    study: str
    seed: int = Field(default=0, ge=0)
    domains: dict[str, DomainPart]
    heldout: HeldoutPart = HeldoutPart()
    tokenizer: TokenizerPart = TokenizerPart(train=TrainTokenizer())
    model: ModelPart
    base: BasePart
    proxies: ProxiesPart
    decision: DecisionPart
    confirm: bool = True
    spec: SpecPart | None = None
    runner: RunnerPart = RunnerPart()

    _file: Path = PrivateAttr(default=Path("study.yaml"))

    @field_validator("study")
    @classmethod
    def _name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", value) or value in RESERVED:
            raise ValueError(
                f"{value!r} is not a name: use small letters, digits, - and _ (it names a folder)"
            )
        return value

    @field_validator("domains")
    @classmethod
    def _domains(cls, value: dict[str, DomainPart]) -> dict[str, DomainPart]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
                raise ValueError(f"{name!r} is not a name: use letters, digits, - and _")
        for role in ("general", "target"):
            parts = [part for part in value.values() if part.role == role]
            if not parts:
                raise ValueError(f"no domain has role {role}: a study needs general (replay) and target text")
            if len({part.weight is None for part in parts}) > 1:
                raise ValueError(f"give every {role} domain a weight, or none of them")
        return value

    @model_validator(mode="after")
    def _whole_windows(self) -> Study:
        for part, batch in (("proxies", self.proxies.batch_tokens), ("base", self.base.batch_tokens)):
            if batch is not None and batch % self.model.context:
                raise ValueError(
                    f"{part}.batch_tokens is {batch}, no multiple of model.context {self.model.context}"
                )
        return self

    @model_validator(mode="after")
    def _tokenizer_of_ids(self) -> Study:
        ids = next((name for name, part in self.domains.items() if part.tokens), None)
        text = next((name for name, part in self.domains.items() if part.paths), None)
        if ids is not None and self.tokenizer.train is not None:
            raise ValueError(
                f"domains.{ids}.tokens are ids: give the tokenizer they are of (tokenizer: {{file: ...}}), "
                "or vocab_size and eos_id where all domains are ids"
            )
        if text is not None and self.tokenizer.vocab_size is not None:
            raise ValueError(f"domains.{text} is text: tokenizer needs a file or train, not only vocab_size")
        return self

    @model_validator(mode="after")
    def _target_run(self) -> Study:
        """Found here, not when the mix is written down after all the training."""
        if self.spec is None:
            return self
        length, batch = self.spec.sequence_length, self.spec.global_batch_tokens
        total = self.target_run_tokens
        if batch % length:
            raise ValueError(
                f"spec.global_batch_tokens {batch} is no multiple of spec.sequence_length {length}"
            )
        if batch > total:
            raise ValueError(f"spec.global_batch_tokens {batch} is more than the run's {total} tokens")
        return self

    @model_validator(mode="after")
    def _decision_names(self) -> Study:
        for role in ("general", "target"):
            weights = getattr(self.decision, role)
            for name, weight in (weights or {}).items():
                if name not in self.domains:
                    near = _nearest(name, self.domains)
                    raise ValueError(f"decision.{role} names {name!r}, which is not a domain{near}")
                if not math.isfinite(weight) or weight <= 0:
                    raise ValueError(f"decision.{role}.{name} is {weight:g}: weights are above 0")
        return self

    @classmethod
    def load(cls, path: Path | str) -> Study:
        """Read and check a study file.

        Raises InputError, one line that names the file and the key, for a file that is missing or not YAML,
        a key that is unknown (with the nearest valid one), repeated or missing, or a value out of range.
        """
        path = Path(path)
        document = _read_yaml(path)
        try:
            study = cls.model_validate(document)
        except ValidationError as error:
            raise _first_line(path, error) from None
        study._file = path.absolute()
        return study

    @property
    def file(self) -> Path:
        return self._file

    @property
    def identity(self) -> str:
        """Hash of what the file asks (not of its comments or order of keys), 16 hex characters."""
        document = self.model_dump(mode="json", exclude=NOT_IN_IDENTITY)
        content = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def asked_tokens(self) -> int:
        """The continual-pre-training budget that the decision is about."""
        return self.decision.tokens or self.proxies.tokens

    @property
    def target_run_tokens(self) -> int:
        """Tokens of the run that the mix spec is written for."""
        return (self.spec and self.spec.total_tokens) or self.asked_tokens

    def path(self, relative: str) -> Path:
        """A path of the file, resolved from the file's folder."""
        return (self.file.parent / Path(relative).expanduser()).absolute()

    def names(self, role: str) -> tuple[str, ...]:
        """Domains of one role, in the file's order."""
        return tuple(name for name, part in self.domains.items() if part.role == role)

    def composition(self, role: str, supply: dict[str, int]) -> dict[str, float]:
        """Shares within a role (they sum to 1): the given weights, or in proportion to `supply` tokens.

        They are fixed for the whole study, so that one number, the target share, describes a mixture.
        """
        names = self.names(role)
        weights = {name: self.domains[name].weight or float(supply[name]) for name in names}
        total = math.fsum(weights.values())
        shares = {name: round(weights[name] / total, 6) for name in names}
        shares[names[0]] += 1 - math.fsum(shares.values())
        return shares

    def sources(self) -> tuple[Source, ...]:
        """The corpora as `mixing.corpora.documents` reads them. Raises InputError for a file that is not there."""
        from flows.study.corpora import sources_of

        return sources_of(self)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such study file", "Write one with: mixlaw init DIR") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})", "A study file is YAML text") from None
    document = read_yaml(text, str(path), aliases=True)
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a study file", "It starts with a line such as  study: my-study")
    return document


def _nearest(key: str, valid: Any) -> str:
    close = difflib.get_close_matches(key, [str(name) for name in valid], n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


def _valid_keys(location: tuple[int | str, ...]) -> list[str]:
    """Keys that are allowed next to the last one of `location`."""
    model: type[BaseModel] | None = Study
    for step in location[:-1]:
        if model is None or not isinstance(step, str):
            continue
        # A step that names no field is a free key (a domain's name) of the field before it.
        if step in model.model_fields:
            model = next(_models(model.model_fields[step].annotation), model)
    return list(model.model_fields) if model else []


def _first_line(path: Path, error: ValidationError) -> InputError:
    """The first fault as one line; a misspelt key is named before the key that is then missing."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    fault = faults[0]
    where = ".".join(str(step) for step in fault["loc"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    key = str(fault["loc"][-1]) if fault["loc"] else ""
    if fault["type"] == "extra_forbidden":
        valid = _valid_keys(fault["loc"])
        near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
        return InputError(
            f"{path}: {where}: unknown key{more}",
            f"Did you mean {near[0]}?" if near else f"Valid here: {', '.join(valid)}",
        )
    if fault["type"] == "missing":
        return InputError(
            f"{path}: {where}: missing{more}", "Add it; `mixlaw init` writes a commented example"
        )
    message = fault["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list, such as [a, b]")
    return InputError(f"{path}: {where + ': ' if where else ''}{message}{more}", "Correct it and run again")
