"""The study file as a whole: its keys, what must hold between them, and its identity.

The keys of each part, and how a key is described, are in `flows.study.parts`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, field_validator, model_validator

from flows.settings.home import RESERVED
from flows.study.buckets import with_buckets
from flows.study.corpus_parts import CorpusPart, DomainPart, EvalPart
from flows.study.names import is_name, normal_name
from flows.study.parts import (
    BasePart,
    DecisionPart,
    HeldoutPart,
    ModelPart,
    ProxiesPart,
    Runner,
    RunnerPart,
    SpecPart,
    StudyPart,
    TokenizerPart,
    TrainTokenizer,
)
from mixing.decision.constraints import Constraints
from mixing.errors import InputError

NOT_IN_IDENTITY = {"runner"}
"""Keys that change neither the question nor a run."""

LATER_KEYS = {
    "decision": ("confidence", "turning_point", "protect", "allow_large_tolerance"),
    "proxies": ("match_repetition",),
}
"""Keys by part of the file that are in the identity only where they are not at their default, so that a study file
written before there were such keys keeps its identity."""
LATER_KEYS_OF_DOMAINS = ("format", "encoding", "max_left_out", "sample", "supply", "split_by")
"""The same for the keys of each domain."""


class Study(StudyPart):
    """A study file. `flows.study.loading.load_study` reads one; relative paths in it are relative to its folder."""

    study: str = Field(
        description="Names the folder in MIXLAW_HOME, the experiment and the mix in MLflow. "
        "Lower-case letters, digits, `-` and `_`."
    )
    seed: int = Field(default=0, ge=0, description="Same seed, same data, same answer.")
    domains: dict[str, DomainPart] = Field(
        description="Named sources of text or of token ids: at least one general, one target."
    )
    evals: dict[str, EvalPart] = Field(
        default={},
        description="Validation sets of one's own, by name: fixed held-out text that is no domain. Every run is "
        "measured on them at every budget; `decision` may name them in `general`, `target` and `protect`.",
    )
    heldout: HeldoutPart = HeldoutPart()
    tokenizer: TokenizerPart = TokenizerPart(train=TrainTokenizer())
    model: ModelPart
    base: BasePart
    proxies: ProxiesPart
    decision: DecisionPart
    confirm: bool = Field(
        default=True,
        description="Train one more proxy at the decided mix: predicted against observed losses. "
        "It trains for the budget asked about.",
    )
    spec: SpecPart | None = None
    runner: Runner = RunnerPart()

    _file: Path = PrivateAttr(default=Path("study.yaml"))

    @classmethod
    def of(cls, document: dict[str, Any], file: Path) -> Study:
        """The study in `document`, as read from `file`. Raises pydantic's ValidationError."""
        study = cls.model_validate(with_buckets(_with_normal_names(document)))
        study._file = file.absolute()
        return study

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
            if not is_name(name):
                raise ValueError(f"{name!r} is not a name: use letters and digits of any script, - and _")
        for role in ("general", "target"):
            parts = [part for part in value.values() if part.role == role]
            if not parts:
                raise ValueError(f"no domain has role {role}: a study needs general (replay) and target text")
            if len({part.weight is None for part in parts}) > 1:
                raise ValueError(f"give every {role} domain a weight, or none of them")
        return value

    @field_validator("evals")
    @classmethod
    def _eval_names(cls, value: dict[str, EvalPart]) -> dict[str, EvalPart]:
        for name in value:
            if not is_name(name):
                raise ValueError(f"{name!r} is not a name: use letters and digits of any script, - and _")
        return value

    @model_validator(mode="after")
    def _evals_are_no_domains(self) -> Study:
        for name in self.evals:
            if name in self.domains:
                raise ValueError(
                    f"evals.{name} is the name of a domain too; call the validation set otherwise"
                )
        return self

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
        parts: dict[str, CorpusPart] = {f"domains.{name}": part for name, part in self.domains.items()}
        parts |= {f"evals.{name}": part for name, part in self.evals.items()}
        ids = next((name for name, part in parts.items() if part.tokens), None)
        text = next((name for name, part in parts.items() if part.paths), None)
        if ids is not None and self.tokenizer.train is not None:
            raise ValueError(
                f"{ids}.tokens are ids: give the tokenizer they are of (tokenizer: {{file: ...}}), "
                "or vocab_size and eos_id where all domains are ids"
            )
        if text is not None and self.tokenizer.vocab_size is not None:
            raise ValueError(f"{text} is text: tokenizer needs a file or train, not only vocab_size")
        return self

    @model_validator(mode="after")
    def _target_run(self) -> Study:
        # Checked here, before all the training, instead of when the mix spec is written.
        if self.spec is None:
            return self
        length, batch = self.spec.sequence_length, self.spec.global_batch_tokens
        if batch % length:
            raise ValueError(
                f"spec.global_batch_tokens {batch} is no multiple of spec.sequence_length {length}"
            )
        if batch > self.target_run_tokens:
            raise ValueError(
                f"spec.global_batch_tokens {batch} is more than the run's {self.target_run_tokens} tokens"
            )
        return self

    @model_validator(mode="after")
    def _decision_names(self) -> Study:
        for role, weights in (("general", self.decision.general), ("target", self.decision.target)):
            for name, weight in (weights or {}).items():
                if name not in self.validation_sets:
                    near = _nearest(name, self.validation_sets)
                    raise ValueError(f"decision.{role} names {name!r}, which is not a domain{near}")
                if not math.isfinite(weight) or weight <= 0:
                    raise ValueError(f"decision.{role}.{name} is {weight:g}: weights are above 0")
        return self

    @model_validator(mode="after")
    def _protected_sets(self) -> Study:
        for name, nats in (self.decision.protect or {}).items():
            if name not in self.validation_sets:
                near = _nearest(name, self.validation_sets)
                raise ValueError(f"decision.protect names {name!r}, which is not a domain{near}")
            if not 0 <= nats < math.inf:
                raise ValueError(f"decision.protect.{name} is {nats:g}: give nats of 0 or more")
        if Constraints(protect=self.decision.protect or {}).beyond_one_ratio():
            raise ValueError(
                "decision.protect: a study decides on one target share, which cannot yet protect a single set"
            )
        return self

    @property
    def file(self) -> Path:
        return self._file

    @property
    def identity(self) -> str:
        """Hash of what the file asks (not of its comments or order of keys), 16 hex characters."""
        document = self.model_dump(
            mode="json", exclude=NOT_IN_IDENTITY | ({"evals"} if not self.evals else set())
        )
        for part, keys in LATER_KEYS.items():
            fields = type(getattr(self, part)).model_fields
            for key in keys:
                if document[part][key] == fields[key].default:
                    del document[part][key]
        for name, domain in self.domains.items():
            for key in LATER_KEYS_OF_DOMAINS:
                if getattr(domain, key) == DomainPart.model_fields[key].default:
                    del document["domains"][name][key]
        content = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def asked_tokens(self) -> int:
        """The continual-pre-training budget that is asked about: `decision.tokens`, else what proxies train on."""
        return self.decision.tokens or self.proxies.trained_tokens

    @property
    def target_run_tokens(self) -> int:
        """Training tokens of the run that the mix spec is written for."""
        return (self.spec and self.spec.total_tokens) or self.asked_tokens

    def path(self, relative: str) -> Path:
        """A path of the file, resolved from the file's folder."""
        return (self.file.parent / Path(relative).expanduser()).absolute()

    @property
    def validation_sets(self) -> tuple[str, ...]:
        """What the runs are measured on: the domains, and the sets of the file's own."""
        return (*self.domains, *self.evals)

    def names(self, role: str) -> tuple[str, ...]:
        """Domains of one role, in the file's order."""
        return tuple(name for name, part in self.domains.items() if part.role == role)

    def real_supply(self, tokens: Mapping[str, int]) -> dict[str, int]:
        """Training tokens by domain of the real corpora: what the file says, else `tokens`, those at hand."""
        return {name: self.domains[name].supply or count for name, count in tokens.items()}

    def composition(self, role: str, supply: dict[str, int]) -> dict[str, float]:
        """Shares within a role (they sum to 1): the weights of the file, or in proportion to `supply` tokens.

        They are fixed for the whole study, so that one number, the target share, describes a mixture.
        """
        names = self.names(role)
        weights = {name: self.domains[name].weight or float(supply[name]) for name in names}
        total = math.fsum(weights.values())
        shares = {name: round(weights[name] / total, 6) for name in names}
        shares[names[0]] += 1 - math.fsum(shares.values())
        return shares

    def whole_composition(self, supply: dict[str, int]) -> dict[str, float]:
        """Each domain's share within its role, of both roles."""
        return {**self.composition("general", supply), **self.composition("target", supply)}


def _with_normal_names(value: Any) -> Any:
    """The document with its keys in Unicode's composed form, so that a name is the same wherever it was typed."""
    if not isinstance(value, dict):
        return value
    normal = {normal_name(str(key)): _with_normal_names(inner) for key, inner in value.items()}
    if len(normal) < len(value):
        twice = next(key for key in value if normal_name(key) != key)
        raise InputError(
            f"the key {twice!r} is given twice (as Unicode writes it in two ways)", "Keep one of them"
        )
    return normal


def _nearest(key: str, valid: Collection[str]) -> str:
    close = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
