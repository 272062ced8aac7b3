"""Arrow, for Hugging Face datasets: folders that `datasets.load_from_disk` reads, one file per part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mixing.atomic import replace_files
from proxies.writers.part import Format, OnTokens, Part

COLUMN = "input_ids"


def write(part: Part, folder: Path, on_tokens: OnTokens) -> None:
    """Rows of `input_ids` (int32)."""
    from datasets.arrow_writer import ArrowWriter

    # No hash of every row: it only finds duplicate keys, and there are none.
    with ArrowWriter(path=str(folder / _file(part)), features=_features()) as writer:
        done = 0
        for tokens, bounds in part.blocks():
            column = pa.ListArray.from_arrays(pa.array(bounds.astype("int32")), pa.array(tokens))
            writer.write_table(pa.table({COLUMN: column}))
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
    DatasetInfo(features=_features()).write_to_directory(str(folder))
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


def _features() -> Any:
    from datasets import Features, List, Value

    return Features({COLUMN: List(Value("int32"))})


def _file(part: Part) -> str:
    return f"data-{part.number:05d}.arrow"


ARROW = Format("arrow", "datasets", "datasets>=5", write, join, documents=True)
