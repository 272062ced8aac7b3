"""The export: a mix spec as a trainer's own file.

Unit conversion, caps, rounding and stages are settled by `planning.plan`, so that all targets agree; a target then
only renders.
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
from mixing.export.data_format import OWN, STORE
from mixing.export.planning import Plan, Unit, apportion, items_of, plan
from mixing.export.registry import target_named
from mixing.export.rendering import absolute_prefix
from mixing.export.target import RenderedFile, Target
from mixing.spec.components import Shard
from mixing.spec.model import MixSpec
from mixing.spec.shares import SHOWN, shares_text
from mixing.spec.yaml_file import load_spec


@dataclass(frozen=True)
class ExportedFile:
    """A rendered file; `path` is None where nothing was written. `start` says how the trainer is started.

    `settings` are the values that a loader needs beside the file (see `target.RenderedFile`).
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


@dataclass(frozen=True, repr=False)
class Export:
    """A mix in a trainer's files. `plan` has, per stage, the token shares asked for and the weights written.

    `data` is empty for a target that reads the token store itself.
    """

    target: str
    plan: Plan
    files: tuple[ExportedFile, ...]
    notes: tuple[str, ...]
    data: tuple[DomainData, ...] = ()

    def __repr__(self) -> str:
        paths = [str(file.path) for file in self.files if file.path is not None]
        lines = [f"Export to {self.target}: {', '.join(paths) or f'{len(self.files)} file(s), not written'}"]
        lines += [
            f"  from token {s.first_token:,}: {shares_text(s.shares)}" for s in self.plan.stages[:SHOWN]
        ]
        if self.notes:
            lines.append(f"  {len(self.notes)} note(s), see .notes")
        return "\n".join(lines)


def export(
    spec: MixSpec | Path | str,
    to: str,
    out: Path | str | None = None,
    *,
    unit: Unit | None = None,
    data_root: str | None = None,
    data: str | None = None,
) -> Export:
    """Render `spec` for the target `to`, and write it where `out` is given.

    Args:
        spec: a mix spec, or the path of one.
        to: name of the target, or an alias.
        out: a file, or a folder that gets the target's usual file name; a target without stages gets one file per
            stage, `NAME.stage-1.json` and so on. None: nothing is written.
        unit: windows or documents, where the target draws both.
        data_root: replaces the spec's, for token files that were moved or are trained on elsewhere.
        data: absolute folder of data in the trainer's own format (a folder per domain); by default, where the
            trainer cannot read the token store, it is the target's name in the spec's `data_root`.

    Raises InputError for what cannot be exported (then nothing is written), MixlawError where writing fails.

    Example:
        >>> spec = load_spec("mix.yaml")
        >>> export(spec, to="megatron", out="blend.json").files[0].path
        PosixPath('blend.json')
    """
    target = target_named(to)
    if isinstance(spec, str | Path):
        spec = load_spec(spec)
    if not isinstance(spec, MixSpec):
        raise InputError(
            f"spec: a {type(spec).__name__}, not a mix spec",
            "Give a MixSpec (decision.to_spec(NAME)) or its path",
        )
    drawn = unit or target.units[0]
    if drawn not in target.units:
        raise InputError(
            f"{target.name} draws {target.units[0]}s, not {drawn}s",
            f"Leave out unit, or give {target.units[0]}",
        )
    if data_root is not None:
        spec = spec.with_data_root(data_root)
    planned = plan(
        spec,
        drawn,
        staged=target.staged,
        data=_data_folder(spec, target, data),
        own_folders=target.unweighted,
        multiple=target.align(spec) if target.align else 1,
    )
    files, notes = _write(spec, target, planned, Path(out) if out is not None else None)
    reads_store = target.data == STORE or (target.store_too and data is None)
    missing = _missing_shards(spec, planned) if reads_store else []
    own_data = () if reads_store or target.data == OWN else _data(spec, target, planned)
    missing += _missing_data(target, planned, own_data) if data is None else []
    return Export(target.name, planned, files, (*planned.notes, *notes, *missing), own_data)


def _write(
    spec: MixSpec, target: Target, planned: Plan, out: Path | None
) -> tuple[tuple[ExportedFile, ...], list[str]]:
    """Render all files, and write them where `out` is given; the files, and the renderer's notes, each once."""
    groups = [planned.stages] if target.staged else [(stage,) for stage in planned.stages]
    rendered = [target.render(spec, planned, group) for group in groups]
    paths = _paths(out, target.filename, len(rendered))
    if out is not None:
        replace_files({path: file.text.encode() for path, file in zip(paths, rendered, strict=True) if path})
    files = tuple(
        ExportedFile(file.text, path, _start(file, str(path or target.filename)), file.settings)
        for path, file in zip(paths, rendered, strict=True)
    )
    return files, list(dict.fromkeys(note for file in rendered for note in file.notes))


def _data_folder(spec: MixSpec, target: Target, data: str | None) -> str | None:
    if target.data in (STORE, OWN):
        return None
    if data is not None:
        if not data.startswith("/"):
            raise InputError(f"data: {data!r} is not an absolute path", "Give an absolute folder")
        return data
    if target.store_too or spec.data_root is None:
        return None
    return f"{spec.data_root.rstrip('/')}/{target.name}"


def _data(spec: MixSpec, target: Target, planned: Plan) -> tuple[DomainData, ...]:
    data: dict[str, DomainData] = {}
    for stage in planned.stages:
        items = items_of(spec, stage, planned.unit) if target.unweighted else None
        rows = apportion(stage.weights, items) if items else {}
        for name, path in (stage.folders or {}).items():
            data.setdefault(path, DomainData(name, stage.number, path, stage.shards[name], rows.get(name)))
    return tuple(data.values())


def _missing_data(target: Target, planned: Plan, data: Sequence[DomainData]) -> list[str]:
    """A note for folders that are not here: right for a trainer elsewhere, wrong where nobody wrote them."""
    names = dict.fromkeys(item.domain for item in data if not Path(item.folder).is_dir())
    if not names:
        return []
    how = (
        "write them with `mixlaw export --data DIR`"
        if target.is_written(planned.unit)
        else "write them with its own tools"
    )
    folders = [item.folder for item in data if item.domain in names]
    return [
        f"{target.name} reads a folder of {target.data} data per domain; not there yet: {', '.join(names)} "
        f"(e.g. {folders[0]}); {how}"
    ]


def _start(file: RenderedFile, path: str) -> tuple[str, ...]:
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
    missing = [
        shard.prefix for shard in shards if not os.path.isfile(f"{absolute_prefix(spec, shard.prefix)}.bin")
    ]
    if not missing:
        return []
    return [
        f"{len(missing)} of {len(shards)} token files are not on this machine, "
        f"e.g. {absolute_prefix(spec, missing[0])}.bin"
    ]
