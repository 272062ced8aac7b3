"""ArrayRecord, for Grain and MaxText: every record a `tf.train.Example` with one window of ids.

MaxText reads them with `tokenize_train_data=False` from the column that `train_data_columns` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixing.export.parts import Format, OnTokens, Part

COLUMN = "text"
"""MaxText's default for `train_data_columns`, whether it holds text or ids."""
OPTIONS = "group_size:1"
"""One record per group, so that any record is read by itself."""


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """One file of as many records as the part has windows."""
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


def join(folder: Path, parts: Sequence[Part]) -> None:
    """Nothing: readers take all files of a folder."""


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
        made = file.message_type.add() if parent is None else parent.nested_type.add()
        made.name = name
        return made

    def add(
        owner: Any, name: str, number: int, kind: Any, type_name: str = "", repeated: bool = False
    ) -> Any:
        label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
        made = owner.field.add(name=name, number=number, type=kind, label=label)
        if type_name:
            made.type_name = f".mixlaw.{type_name}"
        return made

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


ARRAY_RECORD = Format("array_record", "array_record", "array_record", write, join)
