"""What a trainer's format says of itself, and what it does: turn planned stages into text, and read it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mixing.errors import InputError
from mixing.export.planning import Plan, StagePlan, Unit
from mixing.spec.model import MixSpec

GOLDEN_ONLY = "golden file only"
"""`Target.verified` where no test of ours runs the trainer's own loader."""

DataFormat = Literal[
    "store",
    "ds",
    "mds",
    "litdata",
    "array_record",
    "arrow",
    "levanter",
    "text",
    "webdataset",
    "own",
]
"""What a trainer reads. "store": our token files as they are; "own": datasets that the user configures; the others
lie in a folder per domain. "levanter", "text" and "webdataset" are the trainer's or the user's to write."""

NOT_WRITTEN = ("levanter", "text", "webdataset")
"""Formats that `export --data` does not write, only points at."""


@dataclass(frozen=True)
class Rendered:
    """The text of one file, what the trainer must be told beside it, and how it is started.

    `settings` are the values that have no place in the file (requested tokens, dtype, seed, ...), for a loader
    that is called from Python. `start` are lines for people; in them, `{file}` stands for the path the file is
    written to.
    """

    text: str
    start: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One weighted item of a trainer's file: the name it has there, or None, and the paths it reads."""

    name: str | None
    paths: tuple[str, ...]
    weight: float
    max_epochs: float | None = None


@dataclass(frozen=True)
class FileStage:
    """The items from optimiser step `first_step` (0-based) on; a file of one stage starts at 0."""

    first_step: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Reading:
    """What a trainer's file says: weights of `unit`, per stage, and whatever else it carries (else None).

    `total_tokens` are those of the file's stages, or from the start of the run where `cumulative`.
    """

    unit: Unit
    stages: tuple[FileStage, ...]
    total_tokens: int | None = None
    sequence_length: int | None = None
    global_batch_tokens: int | None = None
    seed: int | None = None
    dtype: str | None = None
    cumulative: bool = False


@dataclass(frozen=True)
class Target:
    """A trainer's format.

    `units` are what it can draw, its usual one first, and `weighs` says it in the trainer's words; `staged`: one
    file holds all stages; `repetition`: what the trainer itself does when a domain runs out; `random`: items are
    drawn by chance, so that shares scatter; `exact`: it has no weights, so its data is written with the wanted
    number of items; `data`: what it reads (`store_too`: the token store will do as well);
    `verified`: the loader (and version) that our tests read its files with, or `GOLDEN_ONLY`.

    `render` writes one file for the given stages: all of the plan where `staged`, else one. `read` is the
    inverse, as far as the file carries it; None where it carries too little. `align` gives the number of tokens
    that starts of later stages must be multiples of, where that is more than a global batch.
    """

    name: str
    filename: str
    units: tuple[Unit, ...]
    weighs: str
    repetition: str
    data: DataFormat
    render: Callable[[MixSpec, Plan, Sequence[StagePlan]], Rendered]
    read: Callable[[str], Reading] | None = None
    align: Callable[[MixSpec], int] | None = None
    staged: bool = False
    random: bool = False
    exact: bool = False
    store_too: bool = False
    aliases: tuple[str, ...] = ()
    verified: str = GOLDEN_ONLY


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
            "data_root: is missing: this target needs the token files", "Add the folder they lie in"
        )
    shards = [shard for shard in stage.shards[name] if shard.tokens]
    if not shards:
        raise InputError(
            f"domains.{name}.shards: is empty: this target needs the domain's .bin/.idx prefixes",
            "Add its shards (prefix and tokens), or export the spec that `mixlaw run` wrote",
        )
    return [f"{absolute_prefix(spec, shard.prefix)}{suffix}" for shard in shards]


def folder(stage: StagePlan, name: str) -> str:
    """Absolute folder of a domain's data in the trainer's own format. InputError where none can be named."""
    if stage.folders is None:
        raise InputError(
            "data_root: is missing: this target needs the folder of its data", "Give --data DIR, or add it"
        )
    return stage.folders[name]


def common_dtype(spec: MixSpec, stage: StagePlan) -> str | None:
    """The one dtype of the stage's token files; None where the spec does not say, or they differ."""
    dtypes = {spec.domains[name].dtype for name in stage.shares}
    return dtypes.pop() if len(dtypes) == 1 else None


def steps(spec: MixSpec, tokens: int) -> int | None:
    """Optimiser steps of `tokens`, which are whole batches; None where the batch is not known."""
    return tokens // spec.global_batch_tokens if spec.global_batch_tokens else None


def run_length(spec: MixSpec, why: str, batch: bool = True) -> tuple[int, int]:
    """Sequence length and (unless not needed) tokens per global batch. InputError, with `why`, without them."""
    needed = {"sequence_length": spec.sequence_length}
    if batch:
        needed["global_batch_tokens"] = spec.global_batch_tokens
    for name, value in needed.items():
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
