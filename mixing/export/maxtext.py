"""MaxText (Grain): the JSON of `grain_train_mixture_config_path`."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixing.errors import InputError
from mixing.export.data_format import DataFormat, Writer, leave_as_it_is
from mixing.export.loader import DrawRequest, Draws, Loader
from mixing.export.parts import OnTokens, Part
from mixing.export.planning import Plan, StagePlan, items_of, passes
from mixing.export.rendering import data_folder, last_step, without_none
from mixing.export.target import Entry, FileStage, Reading, RenderedFile, Target
from mixing.export.text import json_text, parse_json, take, weight
from mixing.spec.model import MixSpec

NOTICED = 5e-4
"""Difference between asked and realised share above which the user gets a note."""


def render(spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> RenderedFile:
    """Per domain a pattern of ArrayRecord files and a weight.

    Grain mixes records before MaxText packs them: weights are token shares only over pretokenised records of one
    length. The `;` form of `grain_train_files` would round weights to four decimals.
    """
    (stage,) = stages
    mix = {
        name: {"path": f"{glob.escape(data_folder(stage, name))}/*.array_record", "weight": share}
        for name, share in stage.weights.items()
    }
    repeats = passes(spec, stage, plan.unit, random=False)
    settings = {
        "tokenize_train_data": plan.unit == "document",
        "max_target_length": spec.sequence_length,
        # The mix ends with the first domain that does, so all are repeated as often as the one read most.
        "num_epoch": max(repeats.values()) if repeats else None,
        "data_shuffle_seed": stage.seed,
        "steps": last_step(spec, stage),
    }
    settings = without_none(settings)
    flags = " ".join(f"{key}={value}" for key, value in settings.items())
    return RenderedFile(
        json_text(mix),
        (
            "MaxText's train command with dataset_type=grain grain_file_type=arrayrecord "
            f"grain_train_mixture_config_path={{file}} {flags}",
        ),
        {**settings, "items": items_of(spec, stage, plan.unit)},
        tuple(_coarse(stage.weights)),
    )


def _coarse(weights: Mapping[str, float]) -> list[str]:
    """Grain cuts weights to whole hundredths of the smallest one."""
    scale = 100 / min(weights.values())
    whole = {name: int(value * scale) for name, value in weights.items()}
    total = sum(whole.values())
    return [
        f"{name}: Grain draws {whole[name] / total:.5g} instead of {value:.5g} "
        "(its weights are whole hundredths of the smallest)"
        for name, value in weights.items()
        if abs(whole[name] / total - value) > NOTICED
    ]


def read(text: str) -> Reading:
    """Inverse of `render`; reads `grain_train_files` of MaxText's own configurations and commands too.

    The file does not say whether records are windows; windows are assumed.
    """
    found = FILES.search(text)
    if found is not None:
        entries = _of_files(found[1] or found[2] or found[3])
    elif "grain_train_mixture_config_path" in text:
        raise InputError(
            "grain_train_mixture_config_path: the mix stands in the file that it names", "Give that file"
        )
    else:
        entries = tuple(
            Entry(name, (take(entry, "path", str),), weight(take(entry, "weight", (int, float, str)), name))
            for name, entry in parse_json(text).items()
        )
    return Reading(
        "window",
        (FileStage(0, entries),),
        assumed="records are taken to be packed windows; if they are documents: unit document (--unit document)",
    )


FILES = re.compile(r"""grain_train_files["']?\s*[:=]\s*(?:'([^'\n]*)'|"([^"\n]*)"|([^\s#]+))""")


def _of_files(text: str) -> tuple[Entry, ...]:
    """`PATTERN,WEIGHT;PATTERN,WEIGHT`, as MaxText reads it."""
    entries = []
    for part in text.split(";"):
        path, comma, value = part.strip().rpartition(",")
        if not comma:
            raise InputError(
                f"grain_train_files: {part[:60]!r} has no weight, and so the text is no mix",
                "Write PATTERN,WEIGHT;PATTERN,WEIGHT",
            )
        entries.append(Entry(None, (path.strip(),), weight(value, f"grain_train_files: {path}")))
    return tuple(entries)


COLUMN = "text"
"""MaxText's default for `train_data_columns`, whether it holds text or ids."""
OPTIONS = "group_size:1"
"""One record per group, so that any record is read by itself."""


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """Write one file of records, each a `tf.train.Example` with one window of ids."""
    if not part.rows:
        return
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(folder / f"part-{part.number:05d}.array_record"), OPTIONS)
    done = 0
    for tokens, bounds in part.blocks():
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            writer.write(example(tokens[start:end]))
        done += len(tokens)
        on_tokens(done)
    writer.close()


def example(ids: NDArray[np.integer]) -> bytes:
    """A serialised `tf.train.Example` with one feature of integers."""
    message = _message()()
    message.features.feature[COLUMN].int64_list.value.extend(ids.tolist())
    content: bytes = message.SerializeToString()
    return content


def ids_of(record: bytes) -> NDArray[np.int64]:
    """The inverse of `example`."""
    message = _message().FromString(record)
    return np.array(message.features.feature[COLUMN].int64_list.value, dtype=np.int64)


@cache
def _message() -> Any:
    """`tf.train.Example` as TensorFlow declares it (its fields of integers), without TensorFlow."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="mixlaw/example.proto", package="mixlaw", syntax="proto3")

    def message(name: str, parent: Any = None) -> Any:
        descriptor = file.message_type.add() if parent is None else parent.nested_type.add()
        descriptor.name = name
        return descriptor

    def add(
        owner: Any, name: str, number: int, kind: Any, type_name: str = "", repeated: bool = False
    ) -> Any:
        label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
        descriptor = owner.field.add(name=name, number=number, type=kind, label=label)
        if type_name:
            descriptor.type_name = f".mixlaw.{type_name}"
        return descriptor

    add(message("Int64List"), "value", 1, field.TYPE_INT64, repeated=True).options.packed = True
    feature = message("Feature")
    feature.oneof_decl.add(name="kind")
    add(feature, "int64_list", 3, field.TYPE_MESSAGE, "Int64List").oneof_index = 0
    features = message("Features")
    entry = message("FeatureEntry", features)
    entry.options.map_entry = True
    add(entry, "key", 1, field.TYPE_STRING)
    add(entry, "value", 2, field.TYPE_MESSAGE, "Feature")
    add(features, "feature", 1, field.TYPE_MESSAGE, "Features.FeatureEntry", repeated=True)
    add(message("Example"), "features", 1, field.TYPE_MESSAGE, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mixlaw.Example"))


def draw(request: DrawRequest) -> Draws:
    """Draw the first `items` records."""
    items = [
        (name, len(ids_of(record)))
        for name, record in islice(iter(mixed(request)), min(request.items, request.settings["items"]))
    ]
    return Draws.of(request.names, items)


def mixed(request: DrawRequest) -> Any:
    """The mixed stream of (domain, record)."""
    import grain

    mix = json.loads(request.file.read_text(encoding="utf-8"))
    sources = {}
    for name, entry in mix.items():
        files = sorted(glob.glob(entry["path"]))
        dataset = grain.MapDataset.source(grain.sources.ArrayRecordDataSource(files))
        dataset = dataset.shuffle(seed=request.settings.get("data_shuffle_seed", 0))
        dataset = dataset.repeat(request.settings.get("num_epoch", 1))
        sources[name] = dataset.map(lambda record, name=name: (name, record)).to_iter_dataset()
    total = sum(entry["weight"] for entry in mix.values())
    weights = {name: entry["weight"] / total for name, entry in mix.items()}
    return grain.IterDataset.mix(sources, weights)


ARRAY_RECORD = DataFormat("array_record", Writer("array_record", "array_record", write, leave_as_it_is))
MAXTEXT = Target(
    name="maxtext",
    aliases=("grain",),
    filename="grain_mixture.json",
    units=("window", "document"),
    weighs="ArrayRecord record",
    repetition="num_epoch, for all alike; ends with the first",
    data=ARRAY_RECORD,
    verified="grain 0.2.18",
    render=render,
    read=read,
    loader=Loader("grain", "grain", "grain==0.2.18 array_record==0.8.6", draw),
)
