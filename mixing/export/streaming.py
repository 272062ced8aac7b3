"""MosaicML Streaming and LLM Foundry: a `train_loader` over MDS folders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from mixing.atomic import replace_files
from mixing.errors import InputError
from mixing.export.data_format import DataFormat, Writer
from mixing.export.loader import DrawRequest, Draws, Loader
from mixing.export.parts import OnTokens, Part
from mixing.export.planning import Plan, StagePlan, items_of
from mixing.export.rendering import data_folder, last_step, refuse_text, without_none
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import count, parse_config, take, weight, yaml_text
from mixing.spec.model import MixSpec


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """YAML of `train_loader.dataset.streams`: a `local` folder and a `proportion` for every domain.

    A proportion is of samples: token shares where the MDS files hold packed `tokens`, documents where they hold
    `text`. `proportion` excludes `repeat` and `choose`; `epoch_size` counts samples.
    """
    (stage,) = stages
    streams = {
        name: {"local": data_folder(stage, name), "proportion": share}
        for name, share in stage.weights.items()
    }
    refuse_text(list((stage.folders or {}).values()), "${", "which LLM Foundry would fill in", streams)
    dataset: dict[str, Any] = without_none(
        {
            "max_seq_len": spec.sequence_length,
            "shuffle": True,
            "shuffle_seed": stage.seed,
            "epoch_size": items_of(spec, stage, plan.unit),
            "streams": streams,
        }
    )
    settings = {key: value for key, value in dataset.items() if key != "streams"}
    last = last_step(spec, stage)
    return RenderedFile(
        yaml_text({"train_loader": {"name": "text", "dataset": dataset}}),
        (
            "composer scripts/train/train.py CONFIG.yaml, with train_loader from {file}"
            + (f" and max_duration: {last}ba" if last else ""),
        ),
        settings,
    )


def read(text: str) -> Reading:
    """Inverse of `render`; reads LLM Foundry's own configurations too.

    The file does not say whether samples are windows; windows are assumed. Numbers of samples (`choose`, of every
    stream) are weights too.
    """
    data = parse_config(text)
    dataset = take(take(data, "train_loader", dict), "dataset", dict)
    streams = take(dataset, "streams", (dict, list))
    named = list(streams.items()) if isinstance(streams, dict) else [(None, stream) for stream in streams]
    kinds = {_weighed_by(stream, name or str(index)) for index, (name, stream) in enumerate(named)}
    if len(kinds) > 1:
        raise InputError(
            f"streams: are weighed by {' and by '.join(sorted(kinds))}", "One kind for all is a mix"
        )
    entries = tuple(
        Entry(
            name,
            (_stream_folder(stream),),
            weight(stream[_weighed_by(stream, name or "")], f"streams.{name or index}"),
        )
        for index, (name, stream) in enumerate(named)
    )
    size, length = dataset.get("epoch_size"), count(dataset, "max_seq_len") or count(data, "max_seq_len")
    rows = count(dataset, "epoch_size") if isinstance(size, int) else None
    batch = data.get("global_train_batch_size")
    return Reading(
        "window",
        (FileStage(0, entries),),
        total_tokens=rows * length if rows and length else None,
        sequence_length=length,
        global_batch_tokens=batch * length if isinstance(batch, int) and batch > 0 and length else None,
        seed=count(dataset, "shuffle_seed", 0),
        assumed="samples are taken to be packed windows; if they are documents: unit document (--unit document)",
        notes=("choose is read as a weight",) if kinds == {"choose"} else (),
    )


def _weighed_by(stream: Any, name: str) -> str:
    """`proportion` or `choose`; `repeat` depends on sizes that are not in the file."""
    for kind in ("proportion", "choose"):
        if isinstance(stream, dict) and stream.get(kind) is not None:
            return kind
    raise InputError(
        f"streams.{name}.proportion: is missing; the stream's share then depends on its size, which the file does "
        "not say",
        "Give every stream a proportion",
    )


def _stream_folder(stream: dict[str, Any]) -> str:
    path = str(stream.get("local") or take(stream, "remote", str))
    split = stream.get("split")
    return f"{path.rstrip('/')}/{split}" if split and split != "train" else path


MDS_COLUMNS = {"tokens": "ndarray:int32"}
SHARD_BYTES = 1 << 26
"""Bytes of an MDS shard."""
EMPTY_INDEX = b'{"shards": [], "version": 2}\n'


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """Write a folder of MDS shards, samples with one window of `tokens` (int32), and their index."""
    if not part.rows:
        return
    from streaming import MDSWriter

    with MDSWriter(out=str(folder / _folder(part)), columns=MDS_COLUMNS, size_limit=SHARD_BYTES) as writer:
        done = 0
        for tokens, bounds in part.blocks():
            for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
                writer.write({"tokens": tokens[start:end]})
            done += len(tokens)
            on_tokens(done)


def join(folder: Path, parts: Sequence[Part]) -> None:
    """Write the index of all parts, in their order."""
    from streaming.base.util import merge_index

    (folder / "index.json").unlink(missing_ok=True)
    indexes = [str(folder / _folder(part) / "index.json") for part in parts if part.rows]
    if indexes:
        merge_index(indexes, str(folder))
    else:
        replace_files({folder / "index.json": EMPTY_INDEX})


def _folder(part: Part) -> str:
    return f"part-{part.number:05d}"


def draw(request: DrawRequest) -> Draws:
    """Draw the first `items` samples of an epoch."""
    dataset, names = dataset_of(request)
    samples = islice(iter(dataset), min(request.items, dataset.epoch_size))
    items = [(names[sample["stream"]], len(sample["tokens"])) for sample in samples]
    return Draws.of(request.names, items)


def dataset_of(request: DrawRequest) -> tuple[Any, list[str]]:
    """The dataset, whose samples say their `stream`, and the streams' names."""
    from streaming import Stream, StreamingDataset

    class Labelled(StreamingDataset):  # type: ignore[misc]
        """Samples that name their stream."""

        def get_item(self, sample_id: int, retry: int = 7) -> Any:
            shard, _ = self.spanner[sample_id]
            return {**super().get_item(sample_id, retry), "stream": int(self.stream_per_shard[shard])}

    with open(request.file, encoding="utf-8") as file:
        dataset = dict(yaml.safe_load(file)["train_loader"]["dataset"])
    streams = dataset.pop("streams")
    dataset.pop("max_seq_len", None)
    members = [Stream(**stream) for stream in streams.values()]
    return Labelled(streams=members, batch_size=1, **dataset), list(streams)


MDS = DataFormat("mds", Writer("streaming", "mosaicml-streaming==0.13.0", write, join, alone=True))
STREAMING = Target(
    name="streaming",
    aliases=("llm-foundry", "mosaicml"),
    filename="train_loader.yaml",
    units=("window", "document"),
    weighs="MDS sample",
    repetition="none: repeats silently",
    data=MDS,
    verified="mosaicml-streaming 0.13.0",
    render=render,
    read=read,
    loader=Loader("streaming", "mosaicml-streaming", "mosaicml-streaming==0.13.0", draw, alone=True),
)
