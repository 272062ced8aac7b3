"""Exports: the mix spec as a trainer's own file.

A target only renders (and reads back); unit conversion, caps, rounding and stages are settled before it
(`convert.plan`), so that all targets agree. Adding one is a file here and a line in `TARGETS`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixing.atomic import replace_files
from mixing.errors import InputError
from mixing.export.axolotl import AXOLOTL
from mixing.export.datatrove import DATATROVE
from mixing.export.energon import ENERGON
from mixing.export.gpt_neox import GPT_NEOX
from mixing.export.huggingface import HUGGINGFACE
from mixing.export.levanter import LEVANTER
from mixing.export.lingua import LINGUA
from mixing.export.litdata import LITDATA
from mixing.export.llama_factory import LLAMA_FACTORY
from mixing.export.maxtext import MAXTEXT
from mixing.export.megatron import MEGATRON
from mixing.export.nanotron import NANOTRON
from mixing.export.olmo_core import OLMO_CORE
from mixing.export.planning import Plan, Unit, apportion, items_of, plan
from mixing.export.streaming import STREAMING
from mixing.export.target import NOT_WRITTEN, Rendered, Target, absolute_prefix
from mixing.export.torchtitan import TORCHTITAN
from mixing.spec.components import Shard
from mixing.spec.model import MixSpec

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        MEGATRON,
        OLMO_CORE,
        HUGGINGFACE,
        MAXTEXT,
        LITDATA,
        STREAMING,
        NANOTRON,
        LEVANTER,
        GPT_NEOX,
        TORCHTITAN,
        LINGUA,
        LLAMA_FACTORY,
        ENERGON,
        AXOLOTL,
        DATATROVE,
    )
}


@dataclass(frozen=True)
class ExportedFile:
    """A rendered file; `path` is None where nothing was written. `start` says how the trainer is started.

    `settings` are the values that a loader needs beside the file (see `target.Rendered`).
    """

    text: str
    path: Path | None
    start: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DomainData:
    """Data that a target reads in its own format: the `shards` (token files) that belong into `folder`.

    `stage` is the number of the first stage that reads it. `rows` is the number of windows (or documents) to
    write where the target has no weights, going through the shards again where they hold fewer; None for all.
    """

    domain: str
    stage: int
    folder: str
    shards: tuple[Shard, ...]
    rows: int | None = None


@dataclass(frozen=True)
class Exported:
    """What an export gave. `plan` has, per stage, the token shares asked for and the weights written.

    `data` is empty for a target that reads the token store itself.
    """

    target: str
    plan: Plan
    files: tuple[ExportedFile, ...]
    notes: tuple[str, ...]
    data: tuple[DomainData, ...] = ()


def targets() -> list[Target]:
    """All targets, in the order of `mixlaw export --list`."""
    return list(TARGETS.values())


def target_named(name: str) -> Target:
    """The target of that name or alias. Raises InputError, listing the targets, where there is none."""
    for target in TARGETS.values():
        if name == target.name or name in target.aliases:
            return target
    raise InputError(f"{name!r} is not an export target", f"Targets: {', '.join(TARGETS)}")


def export(
    spec: MixSpec,
    to: str,
    out: Path | None = None,
    *,
    unit: Unit | None = None,
    data_root: str | None = None,
    data: str | None = None,
) -> Exported:
    """Render `spec` for the target `to` (a name or an alias), and write it where `out` is given.

    `out` is a file, or a folder that gets the target's usual file name; a target without stages gets one file
    per stage, `NAME.stage-1.json` and so on. `unit` chooses windows or documents where the target draws both.
    `data_root` replaces the spec's, for token files that were moved or are trained on elsewhere. `data` is the
    absolute folder of data in the trainer's own format (a folder per domain); by default, where the trainer
    cannot read the token store, it is the target's name in the spec's `data_root`.

    Raises InputError for what cannot be exported (then nothing is written), MixlawError where writing fails.
    """
    target = target_named(to)
    chosen = unit or target.units[0]
    if chosen not in target.units:
        raise InputError(
            f"{target.name} draws {target.units[0]}s, not {chosen}s",
            f"Leave out the unit, or use {target.units[0]}",
        )
    if data_root is not None:
        spec = spec.with_data_root(data_root)
    planned = plan(
        spec,
        chosen,
        staged=target.staged,
        data=_data_folder(spec, target, data),
        own_folders=target.exact,
        multiple=target.align(spec) if target.align else 1,
    )
    groups = [planned.stages] if target.staged else [(stage,) for stage in planned.stages]
    rendered = [target.render(spec, planned, group) for group in groups]
    notes = [*planned.notes, *dict.fromkeys(note for file in rendered for note in file.notes)]
    paths = _paths(out, target.filename, len(rendered))
    if out is not None:
        replace_files({path: file.text.encode() for path, file in zip(paths, rendered, strict=True) if path})
    files = tuple(
        ExportedFile(file.text, path, _start(file, str(path or target.filename)), file.settings)
        for path, file in zip(paths, rendered, strict=True)
    )
    reads_store = target.data == "store" or (target.store_too and data is None)
    missing = _missing_shards(spec, planned) if reads_store else []
    written = () if reads_store or target.data == "own" else _data(spec, target, planned)
    absent = _absent_data(target, planned, written) if data is None else []
    return Exported(target.name, planned, files, (*notes, *missing, *absent), written)


def _data_folder(spec: MixSpec, target: Target, data: str | None) -> str | None:
    if target.data in ("store", "own"):
        return None
    if data is not None:
        if not data.startswith("/"):
            raise InputError(f"data: {data!r} is not an absolute path", "Give an absolute folder")
        return data
    if target.store_too or spec.data_root is None:
        return None
    return f"{spec.data_root.rstrip('/')}/{target.name}"


def _data(spec: MixSpec, target: Target, planned: Plan) -> tuple[DomainData, ...]:
    found: dict[str, DomainData] = {}
    for stage in planned.stages:
        items = items_of(spec, stage, planned.unit) if target.exact else None
        rows = apportion(stage.weights, items) if items else {}
        for name, path in (stage.folders or {}).items():
            found.setdefault(path, DomainData(name, stage.number, path, stage.shards[name], rows.get(name)))
    return tuple(found.values())


def is_written(target: Target, unit: Unit) -> bool:
    """Whether `mixlaw export --data` writes the target's data, or only points at it."""
    return target.data not in NOT_WRITTEN and not (target.exact and unit == "document")


def _absent_data(target: Target, planned: Plan, data: Sequence[DomainData]) -> list[str]:
    """A note for folders that are not here: right for a trainer elsewhere, wrong where nobody wrote them."""
    names = dict.fromkeys(item.domain for item in data if not Path(item.folder).is_dir())
    if not names:
        return []
    how = (
        "write them with --data DIR" if is_written(target, planned.unit) else "write them with its own tools"
    )
    absent = [item.folder for item in data if item.domain in names]
    return [
        f"{target.name} reads a folder of {target.data} data per domain; not there yet: {', '.join(names)} "
        f"(e.g. {absent[0]}); {how}"
    ]


def _start(file: Rendered, path: str) -> tuple[str, ...]:
    return tuple(
        line.replace("{file}", shlex.quote(path)).replace("{file!r}", repr(path)) for line in file.start
    )


def _paths(out: Path | None, filename: str, count: int) -> list[Path | None]:
    if out is None:
        return [None] * count
    file = out / filename if out.is_dir() else out
    if count == 1:
        return [file]
    return [file.with_name(f"{file.stem}.stage-{number}{file.suffix}") for number in range(1, count + 1)]


def _missing_shards(spec: MixSpec, planned: Plan) -> list[str]:
    """A note for token files that are not here: right for a trainer elsewhere, wrong for a moved store."""
    if spec.data_root is None:
        return []
    names = dict.fromkeys(name for stage in planned.stages for name in stage.shares)
    shards = [shard for name in names for shard in spec.domains[name].shards]
    absent = [
        shard.prefix for shard in shards if not os.path.isfile(f"{absolute_prefix(spec, shard.prefix)}.bin")
    ]
    if not absent:
        return []
    return [
        f"{len(absent)} of {len(shards)} token files are not on this machine, "
        f"e.g. {absolute_prefix(spec, absent[0])}.bin"
    ]
