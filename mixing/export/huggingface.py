"""Hugging Face datasets: the arguments of `interleave_datasets`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixing.atomic import replace_files
from mixing.corpora.token_files import read_index
from mixing.errors import InputError
from mixing.export.data_format import DataFormat, Writer
from mixing.export.loader import DrawRequest, Draws, Loader
from mixing.export.parts import OnTokens, Part
from mixing.export.planning import Plan, StagePlan, Unit, items_of, passes
from mixing.export.rendering import common_dtype, shard_paths
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import count, json_text, parse_config, take, weight
from mixing.spec.model import MixSpec

ROW_UNITS: dict[Unit, str] = {"window": "packed_sequence", "document": "document"}


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
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
    repeats = passes(spec, stage, unit, random=True)
    if repeats is not None:
        arguments["passes"] = list(repeats.values())
    if stage.folders is not None:
        arguments["folders"] = list(stage.folders.values())
    elif spec.data_root is not None and all(spec.domains[name].shards for name in stage.weights):
        arguments["shards"] = {name: shard_paths(spec, stage, name) for name in stage.weights}
    dtype = common_dtype(spec, stage)
    if dtype is not None:
        arguments["dtype"] = dtype
    limit = "" if rows is None else f".take({rows})"
    kind = "packed sequences of one length" if unit == "window" else "whole documents, packed afterwards"
    return RenderedFile(
        json_text(arguments),
        (
            f"interleave_datasets(datasets, probabilities=..., seed={stage.seed}, "
            f'stopping_strategy="all_exhausted"){limit}',
            f"with the values of {{file}}; the rows of each dataset must be {kind}",
        ),
        arguments,
    )


def read(text: str) -> Reading:
    """Inverse of `render`; a YAML of the same arguments will do."""
    data = parse_config(text)
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
    row_unit = data.get("row_unit")
    if row_unit is not None and str(row_unit) not in units:
        raise InputError(f"row_unit: {str(row_unit)[:40]!r} is neither {' nor '.join(units)}", "Correct it")
    if len({str(name) for name in names}) < len(names):
        raise InputError("datasets: names one dataset twice", "Add up its probabilities")
    unit: Unit = units.get(str(row_unit), "window")
    assumed = "rows are taken to be packed windows; if they are documents: unit document (--unit document)"
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
        assumed="" if row_unit is not None else assumed,
    )


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """Write rows of `input_ids` (int32); with `Part.take` also the columns that Axolotl wants of tokenised data."""
    import pyarrow as pa
    from datasets.arrow_writer import ArrowWriter

    with ArrowWriter(path=str(folder / _file(part)), features=_features(part)) as writer:
        done = 0
        for tokens, bounds in part.blocks():
            ends = pa.array(bounds.astype("int32"))
            ids = pa.ListArray.from_arrays(ends, pa.array(tokens))
            columns = {"input_ids": ids}
            if part.take is not None:
                mask = pa.ListArray.from_arrays(ends, pa.array(np.ones_like(tokens, dtype="int8")))
                columns |= {"attention_mask": mask, "labels": ids}
            writer.write_table(pa.table(columns))
            done += len(tokens)
            on_tokens(done)
        writer.finalize()


def join(folder: Path, parts: Sequence[Part]) -> None:
    """Write the files that `Dataset.save_to_disk` puts beside the data."""
    from datasets import DatasetInfo

    files = [_file(part) for part in parts if part.rows]
    for part in parts:
        if not part.rows:
            (folder / _file(part)).unlink(missing_ok=True)
    DatasetInfo(features=_features(parts[0])).write_to_directory(str(folder))
    state: dict[str, Any] = {
        "_data_files": [{"filename": file} for file in files],
        "_fingerprint": hashlib.sha256(
            json.dumps([files, [part.rows for part in parts]]).encode()
        ).hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    replace_files({folder / "state.json": (json.dumps(state, indent=2, sort_keys=True) + "\n").encode()})


def _features(part: Part) -> Any:
    from datasets import Features, List, Value

    ids = List(Value("int32"))
    if part.take is None:
        return Features({"input_ids": ids})
    return Features({"input_ids": ids, "attention_mask": List(Value("int8")), "labels": ids})


def _file(part: Part) -> str:
    return f"data-{part.number:05d}.arrow"


def draw(request: DrawRequest) -> Draws:
    """Draw the first `items` rows."""
    mix = json.loads(request.file.read_text(encoding="utf-8"))
    stream = interleaved(mix).take(min(request.items, mix.get("rows", request.items)))
    items = [(row["domain"], row["tokens"]) for row in stream]
    return Draws.of(request.names, items)


def interleaved(mix: dict[str, Any]) -> Any:
    """The stream of an exported file; each row has its `domain`, and `tokens` as their number."""
    from datasets import IterableDataset, interleave_datasets

    repeats = mix.get("passes") or [1] * len(mix["datasets"])
    sources = [
        IterableDataset.from_generator(_rows, gen_kwargs={"mix": mix, "place": place, "repeats": count})
        for place, count in enumerate(repeats)
    ]
    return interleave_datasets(
        sources,
        probabilities=mix["probabilities"],
        seed=mix["seed"],
        stopping_strategy=mix["stopping_strategy"],
    )


def _rows(mix: dict[str, Any], place: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Rows of one dataset, shuffled anew in every pass."""
    rows, size = _arrow(mix["folders"][place]) if "folders" in mix else _store(mix, place)
    for epoch in range(repeats):
        for index in np.random.default_rng([mix["seed"], place, epoch]).permutation(size):
            yield {"domain": mix["datasets"][place], "tokens": len(rows(int(index)))}


def _arrow(folder: str) -> tuple[Callable[[int], Any], int]:
    from datasets import load_from_disk

    table = load_from_disk(folder).with_format("numpy")
    return lambda index: table[index]["input_ids"], len(table)


def _store(mix: dict[str, Any], place: int) -> tuple[Callable[[int], Any], int]:
    """Rows of the token store, each a slice of one of its files."""
    files, bounds = [], []
    for prefix in mix["shards"][mix["datasets"][place]]:
        index = read_index(Path(f"{prefix}.idx"))
        files.append(np.memmap(f"{prefix}.bin", index.dtype, "r"))
        length = mix.get("sequence_length")
        packed = mix["row_unit"] == "packed_sequence"
        bounds.append(np.arange(0, index.tokens + 1, length) if packed else index.bounds)
    ends = np.cumsum([len(bound) - 1 for bound in bounds])

    def row(index: int) -> Any:
        which = int(np.searchsorted(ends, index, side="right"))
        at = index - (int(ends[which - 1]) if which else 0)
        return files[which][bounds[which][at] : bounds[which][at + 1]]

    return row, int(ends[-1])


ARROW = DataFormat("arrow", Writer("datasets", "datasets>=5", write, join, documents=True))
HUGGINGFACE = Target(
    name="huggingface",
    aliases=("hf", "datasets"),
    filename="interleave_datasets.json",
    units=("window", "document"),
    weighs="row",
    repetition="none: repeats silently",
    data=ARROW,
    store_too=True,
    random=True,
    verified="datasets 5.2.0",
    render=render,
    read=read,
    loader=Loader("datasets", "datasets", "datasets>=5", draw),
)
