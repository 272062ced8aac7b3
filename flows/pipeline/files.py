"""Files of a study: its finished runs as a runs table, and JSON that is whole or not there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mixing.atomic import replace_files
from mixing.runs.heldout import windows_file, with_sampling_errors
from mixing.runs.table import RunTable, make_table


def runs_table(runs_dir: Path, run_ids: Sequence[str]) -> RunTable:
    """The table of these finished runs (base rows included), with sampling errors where their windows tell them."""
    frames = [pl.read_parquet(losses_file(runs_dir, run), glob=False) for run in run_ids]
    frame = pl.concat(frames, how="diagonal_relaxed")
    return make_table(with_sampling_errors(frame, runs_dir, run_ids), str(runs_dir))


def tables_of(runs_dir: Path, run_ids: Sequence[str]) -> list[Path]:
    """The files that the table of these runs is made of."""
    windows = (windows_file(runs_dir, run) for run in run_ids)
    return [*(losses_file(runs_dir, run) for run in run_ids), *(path for path in windows if path.exists())]


def losses_file(runs_dir: Path, run: str) -> Path:
    return runs_dir / run / "losses.parquet"


def write_json(path: Path, value: Any) -> None:
    """Write `value` (a JSON text as it is, anything else dumped) to `path`, whole or not at all."""
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
    replace_files({path: (text.rstrip("\n") + "\n").encode()})
