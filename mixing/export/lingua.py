"""lingua: `data.sources`, weights of documents in folders of jsonl chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixing.export.data_format import TEXT
from mixing.export.planning import Plan, StagePlan, items_of
from mixing.export.rendering import data_folder, last_step, refuse_text
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import count, parse_config, take, weight, yaml_text
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """`root_dir` and `sources`: a folder of `*.chunk.*.jsonl` and a weight for every domain.

    lingua draws a document, then packs: weights are converted from token shares.
    """
    (stage,) = stages
    roots = {name: data_folder(stage, name) for name in stage.weights}
    root = next(iter(roots.values())).rpartition("/")[0]
    refuse_text([root], "${", "which lingua would fill in")
    data: dict[str, Any] = {
        "root_dir": root,
        "sources": {roots[name].removeprefix(f"{root}/"): value for name, value in stage.weights.items()},
        "seed": stage.seed,
    }
    if spec.sequence_length:
        data["seq_len"] = spec.sequence_length
    last = last_step(spec, stage)
    values = {**({"steps": last} if last else {}), "data": data}
    return RenderedFile(
        yaml_text(values),
        ("python -m lingua.stool config=CONFIG.yaml, with these values of {file}",),
        {"seed": stage.seed, "items": items_of(spec, stage, "document")},
    )


def read(text: str) -> Reading:
    """Inverse of `render`; reads lingua's own configurations too. Names are those of the folders."""
    data = take(parse_config(text), "data", dict)
    root = str(data.get("root_dir", "")).rstrip("/")
    entries = tuple(
        Entry(name, (f"{root}/{name}",), weight(value, f"data.sources.{name}"))
        for name, value in take(data, "sources", dict).items()
    )
    return Reading(
        "document",
        (FileStage(0, entries),),
        sequence_length=count(data, "seq_len"),
        seed=count(data, "seed", 0),
    )


LINGUA = Target(
    name="lingua",
    filename="lingua_data.yaml",
    units=("document",),
    weighs="document",
    repetition="none: loops silently",
    data=TEXT,
    random=True,
    render=render,
    read=read,
)
