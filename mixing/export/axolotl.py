"""Axolotl: datasets that already hold the wanted number of rows, since it has no weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixing.errors import InputError
from mixing.export.huggingface import ARROW
from mixing.export.planning import Plan, StagePlan, apportion, items_of
from mixing.export.rendering import data_folder, last_step, run_length
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import count, parse_config, take, yaml_text
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """`datasets` of one folder per domain, and in a comment the rows each must hold.

    Axolotl concatenates and shuffles. Rows are pretokenised windows (`input_ids`, `attention_mask`, `labels`; no
    `type`), or documents with a `text` column.
    """
    (stage,) = stages
    if plan.unit == "window":
        run_length(spec, "rows cannot be counted without it", batch=False)
    items = items_of(spec, stage, plan.unit) or 0
    rows = apportion(stage.weights, items)
    nonzero = {name: number for name, number in rows.items() if number}
    datasets: list[dict[str, Any]] = []
    for name in nonzero:
        entry: dict[str, Any] = {"path": data_folder(stage, name), "ds_type": "arrow"}
        if plan.unit == "document":
            entry |= {"ds_type": "json", "type": "completion"}
        datasets.append(entry)
    values: dict[str, Any] = {
        "datasets": datasets,
        "shuffle_merged_datasets": True,
        "num_epochs": 1,
        "sample_packing": plan.unit == "document",
        "seed": stage.seed,
    }
    if spec.sequence_length:
        values["sequence_len"] = spec.sequence_length
    last = last_step(spec, stage)
    kind = "windows" if plan.unit == "window" else "documents"
    comments = (
        f"Rows that each folder must hold ({kind}; a domain read more than once holds them more than once):",
        *(f"{data_folder(stage, name)}: {number}" for name, number in nonzero.items()),
    )
    notes = tuple(f"{name}: not one row in stage {stage.number}" for name in rows if name not in nonzero)
    return RenderedFile(
        yaml_text(values, comments),
        (
            "axolotl train CONFIG.yml, with these values of {file}"
            + (f" and max_steps: {last}" if last else ""),
        ),
        {"rows": nonzero},
        notes,
    )


def read(text: str) -> Reading:
    """Inverse of `render`: weights are the numbers of rows in the comment."""
    rows: dict[str, int] = {}
    for line in text.splitlines():
        path, colon, number = line.removeprefix("# ").rpartition(": ")
        if line.startswith("# ") and colon and number.isdigit():
            rows[path] = int(number)
    data = parse_config(text)
    datasets = take(data, "datasets", list)
    paths = [take(dataset, "path", str) for dataset in datasets]
    uncounted = [path for path in paths if path not in rows]
    if uncounted:
        raise InputError(
            f"datasets: the rows of {uncounted[0]!r} are not given in a comment",
            "Axolotl has no weights, it draws all rows of all datasets: say their numbers in comments as mixlaw does "
            "(# /PATH: ROWS), or import from a trainer with weights",
        )
    documents = any("type" in dataset for dataset in datasets)
    length = count(data, "sequence_len")
    return Reading(
        "document" if documents else "window",
        (FileStage(0, tuple(Entry(None, (path,), rows[path]) for path in paths)),),
        total_tokens=sum(rows.values()) * length if length and not documents else None,
        sequence_length=length,
        seed=count(data, "seed", 0),
    )


AXOLOTL = Target(
    name="axolotl",
    filename="axolotl.yml",
    units=("window", "document"),
    weighs="none: rows as they are",
    repetition="the rows that are written",
    data=ARROW,
    unweighted=True,
    render=render,
    read=read,
)
