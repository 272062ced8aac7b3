"""A folder of finished runs: `<run>/losses.parquet` beside `<run>/done.json`, as a study leaves them.

Where runs left the losses of single held-out windows too, increments get their sampling errors from these.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from mixing.errors import InputError
from mixing.runs.heldout import with_sampling_errors
from mixing.runs.readers.layout import DONE, Source, literal
from mixing.versions import RUNS, RUNS_OLDER, check_version, version_in

ANSWERED = "answered.json"
"""Beside the finished runs of a study: `{"runs": [...]}`, those that its newest answer was fitted on."""


@dataclass(frozen=True)
class FinishedRuns:
    """Every finished run; of a study's those that its answer was fitted on, in that order (not the confirmation)."""

    name: str = "finished runs"

    def recognises(self, source: Source) -> bool:
        return source.folder is not None

    def read(self, source: Source, decimal: str = ".") -> tuple[pl.DataFrame, list[str]]:
        folder = source.folder
        assert folder is not None
        runs, notes = _answered(folder, sorted(p.parent.name for p in folder.glob(f"*/{DONE}")))
        for run in runs:
            marker = folder / run / DONE
            # Finished runs of other trainers may come without a version.
            if (version := version_in(marker.read_bytes(), "version")) is not None:
                check_version(marker, version, RUNS, RUNS_OLDER)
        paths = [literal(folder / run / "losses.parquet") for run in runs]
        try:
            with duckdb.connect() as connection:
                # Rows stay in the order of the files, so that the study's own answer comes out to the digit.
                query = "SELECT * FROM read_parquet($paths, union_by_name => true)"
                frame: pl.DataFrame = connection.sql(query, params={"paths": paths}).pl()
        except duckdb.Error as error:
            raise InputError(
                f"{folder}: the losses.parquet of a finished run cannot be read ({str(error).splitlines()[0]})",
                "Delete that run's folder and train it again",
            ) from error
        return with_sampling_errors(frame, folder, runs), notes


def _answered(folder: Path, finished: list[str]) -> tuple[list[str], list[str]]:
    """The finished runs to read, and notes: those that the study's answer was fitted on, where it says so."""
    listing = folder / ANSWERED
    if not listing.exists():
        return finished, []
    hint = "Delete it to read every finished run, or run the study again"
    try:
        listed = json.loads(listing.read_bytes())["runs"]
        runs = [run for run in listed if run in finished]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{listing}: not a list of a study's runs ({error})", hint) from error
    if not runs:
        raise InputError(f"{listing}: none of the runs that it names is finished", hint)
    notes = []
    if others := [run for run in finished if run not in runs]:
        notes.append(
            f"{folder}: left out {_listed(others)}, which the study's answer was not fitted on "
            f"(of an earlier question; {ANSWERED} lists the others)"
        )
    if gone := [run for run in listed if run not in runs]:
        notes.append(f"{folder}: {_listed(gone)} of the study's answer not there; run the study again")
    return runs, notes


def _listed(runs: list[str]) -> str:
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    return f"{count} ({', '.join(runs[:3])}{', ...' if len(runs) > 3 else ''})"


FINISHED_RUNS = FinishedRuns()
