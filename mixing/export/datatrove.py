"""Plain JSON: all that the conversion knows, for datatrove's readers and for scripts of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixing.export.planning import Plan, StagePlan, apportion, document_mean, document_weights, items_of
from mixing.export.target import Entry, FileStage, Reading, Rendered, Target, common_dtype, shard_paths
from mixing.export.text import count, json_rows, parse_json, take, weight
from mixing.spec.model import MixSpec

TOKEN_SIZE = {"uint16": 2, "int32": 4}


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> Rendered:
    """Per domain the token share, the same for documents, the number of windows, epochs, cap, and files.

    The files are raw little-endian tokens, the bytes of datatrove's `.ds`.
    """
    (stage,) = stages
    total = items_of(spec, stage, "window")
    windows = apportion(stage.shares, total) if total else {}
    means = {name: document_mean(spec, name) for name in stage.shares}
    known = {name: mean for name, mean in means.items() if mean is not None}
    documents = document_weights(stage.shares, known) if len(known) == len(means) else {}
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
        "token_size": TOKEN_SIZE.get(dtype or ""),
        "domains": domains,
    }
    values = {key: value for key, value in values.items() if value is not None}
    return Rendered(
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


DATATROVE = Target(
    name="datatrove",
    aliases=("json",),
    filename="mix.json",
    units=("window",),
    weighs="token share",
    repetition="none: the script's own",
    data="store",
    verified="datatrove 0.10.1",
    render=render,
    read=read,
)
