"""Everything that determines one run. The hash of a spec, its caps aside, is the run's identity."""

from __future__ import annotations

import hashlib
import json
import math
import re
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mixing.mixture import Mixture

HEAD_DIM = 32
LATER_FIELDS = ("final_windows", "heldout", "evals", "pools")
MIN_BUDGETS = 8
"""Fewer budgets can't show how a loss bends over tokens (a run of fewer steps takes every step)."""


class ProxySpec(BaseModel):
    """One run: a `base` model pretrained from scratch, or a `proxy` continued from a base on one mixture.

    A base run that names a `base` is an *adopted* one: a given checkpoint of ours (`base` is the sha256 of
    its weights.pt) that is not trained but evaluated on this study's held-out windows; its `tokens` is 0.

    Model size has one dial, `depth`: that many layers and heads of 32 dimensions, so the width is 32 x depth.
    Where a run is computed (device, threads, worker) is no part of it, so it can be resumed elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    """Raised when a change of trainer, model or sampler changes the losses of an unchanged spec."""
    kind: Literal["base", "proxy"]
    depth: int = Field(ge=1, le=64)
    context: int = Field(ge=2)
    """Tokens per window."""
    vocab_size: int = Field(ge=2)
    mixture: dict[str, float]
    """Token shares; a domain of `data` that is not named has share 0. Empty for an adopted base."""
    tokens: int = Field(ge=0)
    batch_tokens: int = Field(ge=1)
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0, allow_inf_nan=False)
    seed: int = Field(ge=0)
    """The replicate. It decides the initial weights of a base, and with `study_seed` the training stream."""
    study_seed: int = Field(ge=0)
    """Mixtures of one study seed and seed share slots, uniforms and candidate windows; all runs of a study
    seed are evaluated on the same held-out windows."""
    budgets: tuple[int, ...]
    """Token budgets at which the held-out losses are taken, ascending; the last one is `tokens`."""
    heldout_windows: int = Field(ge=2)
    """Held-out windows per domain (fewer where a domain has fewer)."""
    final_windows: int | None = Field(default=None, ge=2)
    """Held-out windows per domain at the last budget, of which those of earlier budgets are some; a third of the
    domain's held-out text is kept for a confirmation. None: `heldout_windows`, at all budgets."""
    heldout: Literal["swarm", "confirmation"] = "swarm"
    """Which held-out windows: those that the runs of a study share, or those of other documents, on which the base
    is measured too."""
    max_epochs: dict[str, float]
    """Most times that a domain may be read; 4 for a domain that is not named. A guard that refuses a run and
    changes nothing in it, so it is no part of the run's identity."""
    data: dict[str, str]
    """Fingerprint of the tokens of every domain of the study; each of them is evaluated."""
    evals: dict[str, str] = Field(default_factory=dict)
    """Fingerprints of the study's own validation sets; each is evaluated too, by every run on the same windows."""
    pools: dict[str, int] = Field(default_factory=dict)
    """Training windows that are read of a domain, where it has more: so that it is repeated as often as in the run
    that the mix is for. They are drawn once for a study, and `max_epochs` does not limit how often they are read."""
    base: str | None = None
    """Run id of the base run (proxy), or sha256 of given weights (adopted base)."""

    @field_validator("base")
    @classmethod
    def _hexadecimal(cls, base: str | None) -> str | None:
        # It names a folder.
        if base is not None and not re.fullmatch(r"[0-9a-f]{16}|[0-9a-f]{64}", base):
            raise ValueError(f"{base[:70]!r} is neither a run id nor a sha256")
        return base

    @field_validator("mixture")
    @classmethod
    def _normalised(cls, shares: dict[str, float]) -> dict[str, float]:
        return dict(sorted(Mixture.of(shares).as_dict().items())) if shares else {}

    @model_validator(mode="after")
    def _consistent(self) -> ProxySpec:
        if not self.data:
            raise ValueError("data: no domains")
        if both := sorted(set(self.evals) & set(self.data)):
            raise ValueError(f"evals: {', '.join(both)} is also a domain of data")
        if any(windows < 1 for windows in self.pools.values()):
            raise ValueError("pools: at least one window each")
        named = (("mixture", self.mixture), ("max_epochs", self.max_epochs), ("pools", self.pools))
        for field, names in named:
            if unknown := sorted(set(names) - set(self.data)):
                raise ValueError(f"{field}: {', '.join(unknown)} not among the domains of data")
        if self.adopted:
            if self.tokens or self.budgets or self.mixture:
                raise ValueError("an adopted base is not trained: tokens 0, no budgets, no mixture")
            return self
        if not self.mixture:
            raise ValueError("mixture: no domains")
        if self.kind == "base" and self.heldout != "swarm":
            raise ValueError("heldout: a base is measured on the windows of its study's swarm")
        if self.kind == "proxy" and self.base is None:
            raise ValueError("base: a proxy needs the run id of its base")
        if self.batch_tokens % self.context:
            raise ValueError(f"batch_tokens {self.batch_tokens} is no multiple of the context {self.context}")
        if not self.tokens or self.tokens % self.batch_tokens:
            raise ValueError(f"tokens {self.tokens} is no whole number of batches of {self.batch_tokens}")
        if any(budget % self.batch_tokens or budget <= 0 for budget in self.budgets):
            raise ValueError(f"budgets: each must be a whole number of batches of {self.batch_tokens} tokens")
        if list(self.budgets) != sorted(set(self.budgets)) or self.budgets[-1:] != (self.tokens,):
            raise ValueError("budgets: must ascend and end with tokens")
        if len(self.budgets) < min(MIN_BUDGETS, self.steps):
            raise ValueError(f"budgets: at least {MIN_BUDGETS} are needed")
        return self

    @property
    def adopted(self) -> bool:
        """Whether this is a given checkpoint that is evaluated, not trained."""
        return self.kind == "base" and self.base is not None

    @property
    def steps(self) -> int:
        return self.tokens // self.batch_tokens

    @property
    def batch_windows(self) -> int:
        return self.batch_tokens // self.context

    @property
    def width(self) -> int:
        return HEAD_DIM * self.depth

    @property
    def hidden(self) -> int:
        """Width of the SwiGLU layer: 8/3 of the model's, rounded up to a multiple of 32."""
        return 32 * math.ceil(8 * self.width / 3 / 32)

    @property
    def params(self) -> int:
        """Non-embedding parameters (the embedding is tied to the output head and not counted)."""
        layer = 4 * self.width**2 + 3 * self.width * self.hidden + 2 * self.width
        return self.depth * layer + self.width

    def epoch_cap(self, domain: str) -> float:
        return self.max_epochs.get(domain, 4.0)

    @cached_property
    def run_id(self) -> str:
        """16 hex digits: sha256 of the canonical JSON (sorted keys; shares of 0, caps and unused fields left out)."""
        fields = self.model_dump(mode="json", exclude={"max_epochs"})
        # Fields of later versions change the identity only where they are used: what was trained stays known.
        for name in LATER_FIELDS:
            if fields[name] == ProxySpec.model_fields[name].get_default(call_default_factory=True):
                del fields[name]
        fields["mixture"] = {name: share for name, share in self.mixture.items() if share > 0}
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def log_budgets(tokens: int, batch_tokens: int, n: int = 10) -> tuple[int, ...]:
    """`n` token budgets, log-spaced from 1/32 of the run to its end, each a whole number of batches.

    A run with fewer steps than that gives one budget per step.
    """
    steps = tokens // batch_tokens
    if steps <= n:
        return tuple(batch_tokens * step for step in range(1, steps + 1))
    first = max(1, round(steps / 32))
    chosen = np.unique(np.geomspace(first, steps, n).round().astype(int))
    # Short runs round several budgets onto one step: fill up with the earliest steps that are free.
    free = np.setdiff1d(np.arange(1, steps + 1), chosen)
    chosen = np.sort(np.concatenate([chosen, free[: n - len(chosen)]]))
    return tuple(int(step) * batch_tokens for step in chosen)
