"""Shared by the trainers' renderers: paths of the data, lengths and steps of the run, unwritable names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mixing.errors import InputError
from mixing.export.planning import StagePlan
from mixing.spec.model import MixSpec

TOKEN_BYTES = {"uint16": 2, "int32": 4}
"""Bytes of a token by the dtype of the token files."""


def absolute_prefix(spec: MixSpec, prefix: str) -> str:
    """Absolute path of a shard, without extension. The spec's `data_root` must be known."""
    assert spec.data_root is not None
    return f"{spec.data_root.rstrip('/')}/{prefix}"


def shard_paths(spec: MixSpec, stage: StagePlan, name: str, suffix: str = "") -> list[str]:
    """Absolute paths of the token files that a stage reads of a domain; shards without tokens are left out.

    Raises InputError, naming the field, where the spec has no files.
    """
    if spec.data_root is None:
        raise InputError(
            "data_root: is missing: this target needs the token files", "Add the folder that has them"
        )
    shards = [shard for shard in stage.shards[name] if shard.tokens]
    if not shards:
        raise InputError(
            f"domains.{name}.shards: is empty: this target needs the domain's .bin/.idx prefixes",
            "Add its shards (prefix and tokens), or export the spec that `mixlaw run` wrote",
        )
    return [f"{absolute_prefix(spec, shard.prefix)}{suffix}" for shard in shards]


def data_folder(stage: StagePlan, name: str) -> str:
    """Absolute folder of a domain's data in the trainer's own format. InputError where none can be named."""
    if stage.folders is None:
        raise InputError(
            "data_root: is missing: this target needs the folder of its data",
            "Add data_root to the spec, or give the folder as data (mixlaw export --data DIR)",
        )
    return stage.folders[name]


def common_dtype(spec: MixSpec, stage: StagePlan) -> str | None:
    """The one dtype of the stage's token files; None where the spec does not say, or they differ."""
    dtypes = {spec.domains[name].dtype for name in stage.shares}
    return dtypes.pop() if len(dtypes) == 1 else None


def steps(spec: MixSpec, tokens: int) -> int | None:
    """Optimiser steps of `tokens`, which are whole batches; None where the batch is not known."""
    return tokens // spec.global_batch_tokens if spec.global_batch_tokens else None


def last_step(spec: MixSpec, stage: StagePlan) -> int | None:
    """Optimiser steps from the start of the run to the end of a stage; None where the batch is not known."""
    return steps(spec, stage.first_token + stage.tokens)


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the spec has."""
    return {key: value for key, value in values.items() if value is not None}


def run_length(spec: MixSpec, why: str, batch: bool = True) -> tuple[int, int]:
    """Sequence length and (unless not needed) tokens per global batch. InputError, with `why`, without them."""
    required = {"sequence_length": spec.sequence_length}
    if batch:
        required["global_batch_tokens"] = spec.global_batch_tokens
    for name, value in required.items():
        if value is None:
            raise InputError(f"{name}: is missing: {why}", "Add it to the spec")
    return spec.sequence_length or 1, spec.global_batch_tokens or 1


def refuse_text(texts: Sequence[str], forbidden: str, why: str, domains: Iterable[str] | None = None) -> None:
    """Raise InputError for the first of `domains`, or of the paths, that has `forbidden` in it."""
    for name in domains or ():
        if forbidden in name:
            raise InputError(
                f"domains.{name}: has {forbidden!r} in its name, {why}", "Rename the domain in the spec"
            )
    for text in texts:
        if forbidden in text:
            raise InputError(
                f"data: {text[:80]!r} has {forbidden!r} in it, {why}", "Move or link the data to a plain path"
            )
