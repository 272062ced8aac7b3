"""Arrow, for Hugging Face datasets: folders that `datasets.load_from_disk` reads, one file per part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mixing.atomic import replace_files
from mixing.export.parts import Format, OnTokens, Part


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """Rows of `input_ids` (int32); with `take` also the columns that Axolotl wants of tokenised data."""
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
    """What `Dataset.save_to_disk` writes beside its files."""
    from datasets import DatasetInfo

    files = [_file(part) for part in parts if part.rows]
    for part in parts:
        if not part.rows:
            (folder / _file(part)).unlink(missing_ok=True)
    DatasetInfo(features=_features(parts[0])).write_to_directory(str(folder))
    state = {
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


ARROW = Format("arrow", "datasets", "datasets>=5", write, join, documents=True)
