"""The components of a mix spec: shards, domains, stages, the decision behind it, and its provenance."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mixing.decision.binding import Binding

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0, le=10**18)]
Interval = tuple[float, float]


class SpecComponent(BaseModel):
    # No docstring: the JSON Schema would repeat it. Immutable, and unknown fields are refused.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Shard(SpecComponent):
    """A token file of one split: `prefix` + `.bin` and `.idx`, relative to the spec's `data_root`."""

    prefix: str
    tokens: Annotated[int, Field(ge=0, le=10**18)]


class Domain(SpecComponent):
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


class Stage(SpecComponent):
    """Token shares from training token `from_token` until the next stage; a domain left out has share 0."""

    from_token: Annotated[int, Field(ge=0, le=10**18)]
    shares: dict[str, Share]


class PredictedLoss(SpecComponent):
    """Nats per token, with its interval, and the increment over the base model."""

    loss: float
    interval: Interval
    increment: float


class SpecBaseline(SpecComponent):
    """A common mix that the decision was compared with; `predicted` is keyed `general` and `target`.

    `within` is the probability that every tolerance holds there (null: unknown).
    """

    name: str
    shares: dict[str, float]
    predicted: dict[str, PredictedLoss]
    within: float | None = None


class SpecDecision(SpecComponent):
    """How the shares were chosen: the question, at `tokens`, and the answer that `mixlaw decide` printed.

    `tokens` is the budget that was asked about: the proxies' own, where the spec is for a longer run. The spec's shares
    are those of `safe_ratio`, which keeps the tolerance with probability `confidence`, where there is one; beside it
    `critical_ratio` is the best estimate. `status` is `bound` where that is only a lower bound: the largest trained.
    """

    law: str
    tokens: Count
    critical_ratio: float | None
    interval: Interval | None
    level: float
    status: Literal["decided", "bound"] = "decided"
    safe_ratio: float | None = None
    confidence: float | None = None
    binding: Binding
    tolerance: float
    general: dict[str, float]
    target: dict[str, float]
    predicted: dict[str, PredictedLoss]
    baselines: tuple[SpecBaseline, ...] = ()
    n_runs: int
    warnings: tuple[str, ...] = ()


class Provenance(SpecComponent):
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


def package_versions() -> dict[str, str]:
    """Versions of Mixlaw, torch (read from its metadata, never imported) and Python."""
    versions = {"python": platform.python_version()}
    for package in ("mixlaw", "torch"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return dict(sorted(versions.items()))
