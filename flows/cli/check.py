"""`mixlaw check`: the trainer's own loader on an exported file, and its shares against the spec's."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.mix_spec import load_mix
from flows.cli.options import DataRoot, Json, Spec, Unit, drawn_unit
from flows.reports import tables
from flows.reports.exports import check_json, print_check
from flows.reports.progress import bar
from mixing.errors import MixlawError
from mixing.export import checking

To = Annotated[
    str, typer.Option("--to", metavar="TARGET", help="The trainer; `mixlaw export --list` shows them all.")
]
File = Annotated[Path | None, typer.Option(help="What export wrote with --out (default: export it now).")]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The folder of data that export was given as --data.")
]
Items = Annotated[int, typer.Option(min=1, help="Windows or documents to draw in each stage.")]


def check(
    spec: Spec,
    to: To,
    file: File = None,
    unit: Unit = None,
    data: Data = None,
    data_root: DataRoot = None,
    items: Items = 2000,
    as_json: Json = False,
) -> None:
    """Compare what the trainer's own loader draws with the mix spec.

    It opens the exported file with the trainer's own loader, draws from every stage, and ends with status 1 where a
    domain's share of the tokens is off.
    """
    drawn = drawn_unit(unit)
    mix = load_mix(spec, data_root)
    with tempfile.TemporaryDirectory(prefix="mixlaw-check-") as work, bar("loader") as report, _silent():
        result = checking.check(
            mix,
            to,
            Path(work),
            file=file,
            unit=drawn,
            data=None if data is None else str(data.absolute()),
            items=items,
            on_progress=report,
        )
    if as_json:
        tables.print_json(check_json(result))
    else:
        print_check(result, tables.console())
    if not result.met:
        stage, line = next((s, x) for s in result.stages for x in s.lines if not x.met)
        raise MixlawError(
            f"stage {stage.number}: {line.domain} is {line.realised:.4f} of the tokens drawn, "
            f"not {line.asked:.4f} +- {line.tolerance:.4f}",
            "Export the spec again, and check that the data is what was exported",
        )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drop what a loader prints on stdout, which is for results, and the warnings it gives."""
    sys.stdout.flush()
    stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(nowhere)
