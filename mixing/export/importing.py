"""A mix spec from a trainer's own file: the inverse of an export, as far as the file carries it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from mixing.amounts import format_amount
from mixing.corpora.files import folder_name
from mixing.corpora.token_files import read_index
from mixing.errors import InputError
from mixing.export.entry_names import entry_names, merged_entries
from mixing.export.planning import document_mean, shares_of_documents
from mixing.export.registry import target_named
from mixing.export.rendering import absolute_prefix
from mixing.export.target import Entry, Reading
from mixing.spec.components import Domain, Provenance, Shard, Stage, package_versions
from mixing.spec.model import MixSpec
from mixing.spec.shares import mean_shares
from mixing.spec.validation import first_problem

UNCHANGED = 1e-6
"""Shares that differ by less are those of the decision."""


@dataclass(frozen=True)
class ImportedMix:
    """The spec of a trainer's own files; `notes` say what in them is not used, or was taken to be so."""

    spec: MixSpec
    notes: tuple[str, ...] = ()


def import_spec(
    texts: Sequence[str],
    target: str,
    *,
    name: str,
    like: MixSpec | None = None,
    total_tokens: int | None = None,
    unit: str | None = None,
    document_tokens: Mapping[str, float] | None = None,
) -> ImportedMix:
    """The mix of `texts`, files of the target named `target`: one file, or one per stage in order.

    Args:
        name: name of the spec, and of the file in its provenance.
        like: a spec over the same domains, for all that the files do not say; its decision is kept only if its
            shares are those of the files. Without it domains are named as in the files, or after their paths, and
            counts come from the `.idx` files where these are on this machine.
        total_tokens: training tokens, where neither the files nor `like` say.
        unit: what the files' items are, window or document, where the files could mean either.
        document_tokens: mean tokens per document by domain, where the files weigh documents.

    Raises InputError for files that are not the target's, for domains that `like` does not have, and for values
    that are missing.
    """
    importer = target_named(target)
    if importer.read is None:
        raise InputError(f"{importer.name}: its files do not carry a mix", "Import from another target")
    if unit is not None and unit not in importer.units:
        raise InputError(f"{importer.name} does not draw {unit}s", f"Units: {', '.join(importer.units)}")
    readings = []
    for number, text in enumerate(texts, start=1):
        reading = importer.read(text)
        if unit is not None:
            # Items may have been counted as windows; the lengths of documents are not in the file.
            total = reading.total_tokens if unit == reading.unit else None
            reading = replace(reading, unit=unit, total_tokens=total, assumed="")
        if not reading.stages or any(
            not any(entry.weight > 0 for entry in stage.entries) for stage in reading.stages
        ):
            where = f"file {number}: " if len(texts) > 1 else ""
            raise InputError(f"{where}no item has a positive weight", "Give the trainer's own file")
        readings.append(reading)
    reading, starts = _joined(readings, like) if len(readings) > 1 else (readings[0], None)
    notes = [note for part in readings for note in (part.assumed, *part.notes) if note]
    if total_tokens and reading.total_tokens and total_tokens != reading.total_tokens:
        own, asked = format_amount(reading.total_tokens), format_amount(total_tokens)
        notes.append(f"the file's own run is {own} tokens long, not {asked}")
    means = dict(document_tokens or {})
    if like is not None:
        spec = _from_like(reading, starts, like, total_tokens, means)
    else:
        provenance = Provenance(imported=f"{importer.name}: {name}", versions=package_versions())
        spec, merged = _from_file(reading, starts, name, total_tokens, provenance, means, importer.units)
        notes += merged
    return ImportedMix(spec, tuple(dict.fromkeys(notes)))


def _joined(readings: Sequence[Reading], like: MixSpec | None) -> tuple[Reading, list[int]]:
    """One reading of a file per stage, and the tokens at which the stages start."""
    if any(len(reading.stages) > 1 for reading in readings):
        raise InputError("several files, and one of them has stages already", "Give that file alone")
    lengths = [reading.total_tokens for reading in readings]
    stated = [length for length in lengths if length is not None]
    total: int | None = None
    if len(stated) == len(lengths):
        ends = stated if readings[0].cumulative else list(accumulate(stated))
        starts, total = [0, *ends[:-1]], ends[-1]
    elif like is not None and len(like.stages) == len(readings):
        starts = [stage.from_token for stage in like.stages]
    else:
        raise InputError(
            "the files do not say where their stages start",
            "Give a spec with as many stages as like (--like SPEC)",
        )
    stages = tuple(reading.stages[0] for reading in readings)
    # Every stage has a seed of its own; the run's is the first one's.
    return replace(readings[0], stages=stages, total_tokens=total), starts


def _from_like(
    reading: Reading,
    starts: Sequence[int] | None,
    like: MixSpec,
    total_tokens: int | None,
    document_tokens: Mapping[str, float],
) -> MixSpec:
    owners = _owners(like)
    weights = []
    for stage in reading.stages:
        of_stage: dict[str, float] = {}
        for entry in stage.entries:
            owner = _owner(entry, owners)
            of_stage[owner] = of_stage.get(owner, 0.0) + entry.weight
        weights.append(of_stage)
    means = _means({name: document_mean(like, name) for name in like.domains}, document_tokens)
    total = total_tokens or reading.total_tokens or like.total_tokens
    batch = reading.global_batch_tokens or like.global_batch_tokens
    stages = _stages(reading, starts, weights, means, batch, ("document",))
    spec = _validated({**like.model_dump(), **_run(reading, like), **_shares(like.domains, stages, total)})
    unchanged = len(stages) == len(like.stages) and all(
        abs(stage.shares.get(name, 0.0) - old.shares.get(name, 0.0)) < UNCHANGED
        for stage, old in zip(stages, like.stages, strict=True)
        for name in like.domains
    )
    return spec if unchanged else spec.model_copy(update={"decision": None})


def _owners(like: MixSpec) -> dict[str, str]:
    """Domain by name, by the name of its folder, and by the path of every shard."""
    owners = {folder_name(name): name for name in like.domains}
    owners |= {name: name for name in like.domains}
    for name, domain in like.domains.items():
        for shard in domain.shards:
            owners[shard.prefix] = name
            if like.data_root is not None:
                owners[absolute_prefix(like, shard.prefix)] = name
    return owners


def _owner(entry: Entry, owners: Mapping[str, str]) -> str:
    keys = [] if entry.name is None else [entry.name, entry.name.rpartition("/")[2]]
    for path in entry.paths:
        # A folder may have a pattern after it; token files may be in another folder than the spec's.
        parts = PurePosixPath(path).parts
        parts = parts[:-1] if parts and "*" in parts[-1] else parts
        keys += [path, *("/".join(parts[start:]) for start in range(1, len(parts)))]
    for key in keys:
        if key in owners:
            return owners[key]
    raise InputError(
        f"{(entry.name or ' '.join(entry.paths))[:80]!r} is none of the domains or files of the spec `like`",
        "Give the spec that the file was exported from (--like SPEC), or leave it out",
    )


def _stages(
    reading: Reading,
    starts: Sequence[int] | None,
    weights: Sequence[Mapping[str, float]],
    means: Mapping[str, float | None],
    batch: int | None,
    units: Sequence[str],
) -> list[Stage]:
    stages = []
    for number, (stage, values) in enumerate(zip(reading.stages, weights, strict=True)):
        shares = {name: value for name, value in values.items() if value > 0}
        if reading.unit == "document":
            known_means = {name: mean for name in shares if (mean := means.get(name)) is not None}
            missing = [name for name in shares if name not in known_means]
            if missing:
                others = f" (nor that of {len(missing) - 1} more)" if len(missing) > 1 else ""
                packed = ", or unit window (--unit window) if items are packed" if "window" in units else ""
                raise InputError(
                    f"{missing[0]}: the file weighs documents, and their mean length is not known{others}",
                    "Give the mean tokens per document of each (--mean-tokens NAME=N), or a spec with its counts "
                    f"as like (--like SPEC){packed}",
                )
            shares = shares_of_documents(shares, known_means)
        if stage.first_step and not batch:
            raise InputError(
                "the file's stages start at steps, and the tokens of a batch are not known",
                "Give a spec with its global_batch_tokens as like (--like SPEC)",
            )
        total = math.fsum(shares.values())
        stages.append(
            Stage(
                from_token=stage.first_step * (batch or 0) if starts is None else starts[number],
                shares={name: value / total for name, value in shares.items()},
            )
        )
    return stages


def _run(reading: Reading, like: MixSpec | None) -> dict[str, Any]:
    """Length, batch and seed of the run: the file's, else those of `like`."""
    run = {}
    for field in ("sequence_length", "global_batch_tokens", "seed"):
        value = getattr(reading, field)
        run[field] = getattr(like, field) if value is None and like is not None else value
    run["seed"] = run["seed"] or 0
    return run


def _shares(domains: Mapping[str, Domain], stages: Sequence[Stage], total: int) -> dict[str, Any]:
    """Stages, and the domains with the shares and epochs that follow from them."""
    starts = [stage.from_token for stage in stages]
    if starts[0] != 0 or any(first >= second for first, second in pairwise([*starts, total])):
        raise InputError(
            f"stages that start at {', '.join(map(str, starts))} do not fit into {total} tokens",
            "Give total_tokens (--tokens N), or a spec of that run as like (--like SPEC)",
        )
    means = mean_shares(stages, total, domains)
    return {
        "stages": [stage.model_dump() for stage in stages],
        "total_tokens": total,
        "domains": {
            name: domain.model_dump()
            | {
                "share": means[name],
                "epochs": means[name] * total / domain.tokens if domain.tokens else None,
            }
            for name, domain in domains.items()
        },
    }


def _from_file(
    reading: Reading,
    starts: Sequence[int] | None,
    name: str,
    total_tokens: int | None,
    provenance: Provenance,
    document_tokens: Mapping[str, float],
    units: Sequence[str],
) -> tuple[MixSpec, list[str]]:
    total = total_tokens or reading.total_tokens
    if total is None:
        raise InputError(
            "the file does not say how many tokens are trained on", "Give total_tokens (--tokens N)"
        )
    names = entry_names([entry for stage in reading.stages for entry in stage.entries])
    notes = merged_entries([stage.entries for stage in reading.stages], names)
    paths: dict[str, list[str]] = {}
    caps: dict[str, float] = {}
    weights: list[dict[str, float]] = []
    for stage in reading.stages:
        of_stage: dict[str, float] = {}
        for entry in stage.entries:
            domain = names[entry]
            of_stage[domain] = of_stage.get(domain, 0.0) + entry.weight
            paths.setdefault(domain, []).extend(path for path in entry.paths if path not in paths[domain])
            if entry.max_epochs:
                caps[domain] = entry.max_epochs
        weights.append(of_stage)
    root = _root([path for files in paths.values() for path in files])
    domains = {
        domain: _domain(files, root, caps.get(domain), reading.dtype) for domain, files in paths.items()
    }
    counted = {
        domain: entry.tokens / entry.documents if entry.tokens and entry.documents else None
        for domain, entry in domains.items()
    }
    means = _means(counted, document_tokens)
    stages = _stages(reading, starts, weights, means, reading.global_batch_tokens, units)
    has_files = any(domain.shards for domain in domains.values())
    spec = _validated(
        {
            "mixspec": 1,
            "name": name,
            "data_root": root if has_files else None,
            "provenance": provenance.model_dump(),
            **_run(reading, None),
            **_shares(domains, stages, total),
        }
    )
    return spec, notes


def _means(counted: Mapping[str, float | None], given: Mapping[str, float]) -> dict[str, float | None]:
    """Mean tokens per document: those that are given, else those counted. InputError for a name of no domain."""
    for name in given:
        if name not in counted:
            raise InputError(
                f"document_tokens: {name!r} is no domain of the file (--mean-tokens)",
                f"Its domains: {', '.join(list(counted)[:30])}",
            )
    return {**counted, **given}


def _root(paths: Sequence[str]) -> str | None:
    """The deepest folder that holds all files."""
    if not paths or not all(path.startswith("/") for path in paths):
        return None
    parts = [PurePosixPath(path).parent.parts for path in paths]
    common = parts[0]
    for other in parts[1:]:
        length = next(
            (at for at, pair in enumerate(zip(common, other, strict=False)) if pair[0] != pair[1]),
            min(len(common), len(other)),
        )
        common = common[:length]
    return PurePosixPath(*common).as_posix()


def _domain(paths: Sequence[str], root: str | None, cap: float | None, dtype: str | None) -> Domain:
    """Counts from the index files. Without all of them there are none, and so no files in the spec."""
    values: dict[str, Any] = {"role": "general", "share": 0.0}
    if cap is not None:
        values["max_epochs"] = cap
    if dtype in ("uint16", "int32"):
        values["dtype"] = dtype
    if root is not None and paths and all(Path(f"{path}.idx").is_file() for path in paths):
        indexes = [read_index(Path(f"{path}.idx")) for path in paths]
        tokens, documents = sum(index.tokens for index in indexes), sum(index.documents for index in indexes)
        if tokens and documents:
            values |= {
                "tokens": tokens,
                "documents": documents,
                "mean_tokens_per_document": tokens / documents,
                "shards": [
                    Shard(prefix=str(PurePosixPath(path).relative_to(root)), tokens=index.tokens)
                    for path, index in zip(paths, indexes, strict=True)
                ],
            }
            kinds = {index.dtype.name for index in indexes}
            if len(kinds) == 1 and kinds <= {"uint16", "int32"}:
                values["dtype"] = kinds.pop()
    return Domain.model_validate(values)


def _validated(values: dict[str, Any]) -> MixSpec:
    try:
        return MixSpec.model_validate(values)
    except ValidationError as error:
        raise InputError(first_problem(error), "The file cannot be written as a mix spec") from error
