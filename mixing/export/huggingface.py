"""Hugging Face datasets: the arguments of `interleave_datasets`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixing.errors import InputError
from mixing.export.planning import Plan, StagePlan, Unit, items_of, passes
from mixing.export.target import Entry, FileStage, Reading, Rendered, Target, common_dtype, shard_paths
from mixing.export.text import count, json_text, parse_json, take, weight
from mixing.spec.model import MixSpec

ROW_UNITS: dict[Unit, str] = {"window": "packed_sequence", "document": "document"}


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> Rendered:
    """JSON with `datasets` (domain names), `probabilities`, `seed`, `stopping_strategy` and `row_unit`.

    `interleave_datasets` draws rows: probabilities are token shares only where every row is a packed sequence
    of one length; for rows that are documents they are converted. `rows` is the budget in rows, and `passes`
    how often each dataset is repeated before it is interleaved, so that the stream does not end early. `shards`
    are token files, `folders` Arrow data, whichever there is.
    """
    (stage,) = stages
    unit = plan.unit
    arguments: dict[str, Any] = {
        "datasets": list(stage.weights),
        "probabilities": list(stage.weights.values()),
        "seed": stage.seed,
        # Ends when every dataset has; `all_exhausted_without_replacement` would forget the probabilities.
        "stopping_strategy": "all_exhausted",
        "row_unit": ROW_UNITS[unit],
    }
    if unit == "window" and spec.sequence_length:
        arguments["sequence_length"] = spec.sequence_length
    rows = items_of(spec, stage, unit)
    if rows is not None:
        arguments["rows"] = rows
    needed = passes(spec, stage, unit, random=True)
    if needed is not None:
        arguments["passes"] = list(needed.values())
    if stage.folders is not None:
        arguments["folders"] = list(stage.folders.values())
    elif spec.data_root is not None and all(spec.domains[name].shards for name in stage.weights):
        arguments["shards"] = {name: shard_paths(spec, stage, name) for name in stage.weights}
    dtype = common_dtype(spec, stage)
    if dtype is not None:
        arguments["dtype"] = dtype
    taken = "" if rows is None else f".take({rows})"
    kind = "packed sequences of one length" if unit == "window" else "whole documents, packed afterwards"
    return Rendered(
        json_text(arguments),
        (
            f"interleave_datasets(datasets, probabilities=..., seed={stage.seed}, "
            f'stopping_strategy="all_exhausted"){taken}',
            f"with the values of {{file}}; the rows of each dataset must be {kind}",
        ),
        arguments,
    )


def read(text: str) -> Reading:
    """Inverse of `render`."""
    data = parse_json(text)
    names, weights = take(data, "datasets", list), take(data, "probabilities", list)
    shards = data.get("shards") or {}
    if not isinstance(shards, dict) or not all(isinstance(paths, list) for paths in shards.values()):
        raise InputError("shards: is not a list of paths for each dataset", "Give the file that mixlaw wrote")
    folders = [str(path) for path in take(data, "folders", list)] if data.get("folders") else []
    if folders and len(folders) != len(names):
        raise InputError(f"folders: {len(folders)} for {len(names)} datasets")
    if len(names) != len(weights):
        raise InputError(f"probabilities: {len(weights)} for {len(names)} datasets")
    units: dict[str, Unit] = {label: unit for unit, label in ROW_UNITS.items()}
    unit = units.get(str(data.get("row_unit", "packed_sequence")), "window")
    entries = tuple(
        Entry(
            str(name),
            (folders[index],) if folders else tuple(map(str, shards.get(str(name), ()))),
            weight(value, f"probabilities.{index}"),
        )
        for index, (name, value) in enumerate(zip(names, weights, strict=True))
    )
    rows, length = count(data, "rows"), count(data, "sequence_length")
    return Reading(
        unit,
        (FileStage(0, entries),),
        total_tokens=rows * length if unit == "window" and rows and length else None,
        sequence_length=length,
        seed=count(data, "seed", 0),
        dtype=data.get("dtype"),
    )


HUGGINGFACE = Target(
    name="huggingface",
    aliases=("hf", "datasets"),
    filename="interleave_datasets.json",
    units=("window", "document"),
    weighs="row",
    repetition="none: repeats silently",
    data="arrow",
    store_too=True,
    random=True,
    verified="datasets 5.2.0",
    render=render,
    read=read,
)
