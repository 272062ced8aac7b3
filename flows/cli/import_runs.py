"""`mixlaw import-runs`: a runs table out of other trainers' logs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.importers.logs import import_runs as read
from mixing.atomic import replace_files
from mixing.errors import InputError

Logs = Annotated[Path, typer.Argument(metavar="LOGS", help="The folder that the logs of the map are in.")]
Map = Annotated[
    Path,
    typer.Option(
        "--map", metavar="FILE", help="A YAML file: runs, shares, tokens, metrics (docs/runs-table.md)."
    ),
]
Out = Annotated[Path, typer.Option(help="Write the table to this file: .parquet or .csv.")]


def import_runs(logs: Logs, map_file: Map, out: Out = Path("runs.parquet")) -> None:
    """Write a runs table out of other trainers' logs."""
    if out.suffix not in (".parquet", ".csv"):
        raise InputError(f"--out {out}: not .parquet or .csv", "Name such a file")
    if not logs.is_dir():
        raise InputError(f"{logs}: no such folder", "Give the folder that the logs of the map are in")
    table = read(logs, map_file)
    for warning in table.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    rows = table.to_frame()
    rows = rows.select(name for name in rows.columns if rows[name].count())
    if out.suffix == ".csv":
        replace_files({out: rows.write_csv().encode()})
    else:
        import io

        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        replace_files({out: buffer.getvalue()})
    print(f"wrote {out}: {table}")
