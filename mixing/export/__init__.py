"""Exports: the mix spec as a trainer's own file.

A target only renders; unit conversion, caps, rounding and stages are settled before it (`convert.plan`), so
that all targets agree. Adding one is a file here and a line in `TARGETS`.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from mixing.atomic import replace_files
from mixing.errors import InputError
from mixing.export.convert import Plan, Unit, plan
from mixing.export.huggingface import HuggingFace
from mixing.export.megatron import Megatron
from mixing.export.target import Target, absolute_prefix
from mixing.spec import MixSpec

TARGETS: dict[str, Target] = {target.name: target for target in (Megatron(), HuggingFace())}


@dataclass(frozen=True)
class ExportedFile:
    """A rendered file; `path` is None where nothing was written. `start` says how the trainer is started."""

    text: str
    path: Path | None
    start: tuple[str, ...]


@dataclass(frozen=True)
class Exported:
    """What an export gave. `plan` has, per stage, the token shares asked for and the weights written."""

    target: str
    plan: Plan
    files: tuple[ExportedFile, ...]
    notes: tuple[str, ...]


def targets() -> list[Target]:
    """All targets, in the order of `mixlaw export --list`."""
    return list(TARGETS.values())


def target_named(name: str) -> Target:
    """Raises InputError, listing the targets, for a name that is not one."""
    if name not in TARGETS:
        raise InputError(f"{name!r} is not an export target", f"Targets: {', '.join(TARGETS)}")
    return TARGETS[name]


def export(
    spec: MixSpec,
    to: str,
    out: Path | None = None,
    *,
    unit: Unit | None = None,
    data_root: str | None = None,
) -> Exported:
    """Render `spec` for the target `to`, and write it where `out` is given.

    `out` is a file, or a folder that gets the target's usual file name; a target without stages gets one file
    per stage, `NAME.stage-1.json` and so on. `unit` chooses windows or documents where the target draws both.
    `data_root` replaces the spec's, for token files that were moved or are trained on elsewhere.

    Raises InputError for what cannot be exported (then nothing is written), MixlawError where writing fails.
    """
    target = target_named(to)
    chosen = unit or target.units[0]
    if chosen not in target.units:
        raise InputError(
            f"{to} draws {target.units[0]}s, not {chosen}s", f"Leave out the unit, or use {target.units[0]}"
        )
    if data_root is not None:
        spec = spec.with_data_root(data_root)
    planned = plan(spec, chosen, target.takes_zero)
    groups = [planned.stages] if target.staged else [(stage,) for stage in planned.stages]
    rendered = [target.render(spec, planned, group) for group in groups]
    missing = _missing_shards(spec, planned)
    paths = _paths(out, target.filename, len(rendered))
    if out is not None:
        replace_files({path: file.text.encode() for path, file in zip(paths, rendered, strict=True) if path})
    files = tuple(
        ExportedFile(
            file.text,
            path,
            tuple(line.replace("{file}", shlex.quote(str(path or target.filename))) for line in file.start),
        )
        for path, file in zip(paths, rendered, strict=True)
    )
    return Exported(to, planned, files, (*planned.notes, *missing))


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
