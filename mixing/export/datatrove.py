"""Plain JSON: all that the conversion knows, for datatrove's readers and for scripts of one's own."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from mixing.export.data_format import STORE
from mixing.export.loader import DrawRequest, Draws, Loader
from mixing.export.planning import Plan, StagePlan, apportion, document_mean, document_weights, items_of
from mixing.export.rendering import TOKEN_BYTES, common_dtype, shard_paths, without_none
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import count, json_rows, parse_json, take, weight
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """Per domain the token share, the same for documents, the number of windows, epochs, cap, and files.

    The files are raw little-endian tokens, the bytes of datatrove's `.ds`.
    """
    (stage,) = stages
    total = items_of(spec, stage, "window")
    windows = apportion(stage.shares, total) if total else {}
    means = {name: mean for name in stage.shares if (mean := document_mean(spec, name)) is not None}
    documents = document_weights(stage.shares, means) if len(means) == len(stage.shares) else {}
    domains: list[dict[str, Any]] = []
    for name, share in stage.shares.items():
        entry: dict[str, Any] = {"name": name, "share": share}
        if documents:
            entry["document_weight"] = documents[name]
        if windows:
            entry["windows"] = windows[name]
        if name in stage.epochs:
            entry["epochs"] = stage.epochs[name]
        entry["max_epochs"] = spec.domains[name].max_epochs
        if spec.data_root is not None and spec.domains[name].shards:
            entry["files"] = shard_paths(spec, stage, name, ".bin")
        domains.append(entry)
    dtype = common_dtype(spec, stage)
    values = {
        "stage": stage.number,
        "from_token": stage.first_token,
        "tokens": stage.tokens,
        "sequence_length": spec.sequence_length,
        "global_batch_tokens": spec.global_batch_tokens,
        "seed": stage.seed,
        "dtype": dtype,
        "token_size": TOKEN_BYTES.get(dtype or ""),
        "domains": domains,
    }
    values = without_none(values)
    return RenderedFile(
        json_rows(values),
        ("DatatroveFileDataset(file, seq_len, token_size=...), drawing `windows` of each domain of {file}",),
        {key: value for key, value in values.items() if key != "domains"},
    )


def read(text: str) -> Reading:
    """Inverse of `render`."""
    data = parse_json(text)
    entries = []
    for index, domain in enumerate(take(data, "domains", list)):
        name, share = take(domain, "name", str), take(domain, "share", (int, float))
        files = take(domain, "files", list) if "files" in domain else []
        cap = domain.get("max_epochs")
        entries.append(
            Entry(
                name=name,
                paths=tuple(str(path).removesuffix(".bin") for path in files),
                weight=weight(share, f"domains.{index}.share"),
                max_epochs=None if cap is None else weight(cap, f"domains.{index}.max_epochs"),
            )
        )
    return Reading(
        "window",
        (FileStage(0, tuple(entries)),),
        total_tokens=count(data, "tokens"),
        sequence_length=count(data, "sequence_length"),
        global_batch_tokens=count(data, "global_batch_tokens"),
        seed=count(data, "seed", 0),
        dtype=data.get("dtype"),
    )


def draw(request: DrawRequest) -> Draws:
    """Draw as many windows of every domain as the file asks for: the whole run."""
    from datatrove.utils.dataset import DatatroveFileDataset

    mix = json.loads(request.file.read_text(encoding="utf-8"))
    items = []
    for domain in mix["domains"]:
        files = [
            # Its windows have one token more than it is asked for.
            DatatroveFileDataset(file, seq_len=mix["sequence_length"] - 1, token_size=mix["token_size"])
            for file in domain["files"]
        ]
        ends = list(accumulate(len(file) for file in files))
        for window in range(domain["windows"]):
            place = window % ends[-1]
            which = bisect_right(ends, place)
            sample = files[which][place - (ends[which - 1] if which else 0)]
            items.append((domain["name"], len(sample["input_ids"])))
    return Draws.of(request.names, items)


DATATROVE = Target(
    name="datatrove",
    aliases=("json",),
    filename="mix.json",
    units=("window",),
    weighs="token share",
    repetition="none: the script's own",
    data=STORE,
    verified="datatrove 0.10.1",
    render=render,
    read=read,
    loader=Loader("datatrove", "datatrove", "datatrove>=0.10", draw),
)
