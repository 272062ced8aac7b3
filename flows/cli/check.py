"""`check`: the trainer's own loader on an exported file, asked against realised shares."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mixing.errors import InputError, MixlawError

if TYPE_CHECKING:
    from mixing.export.checking import Check


def check(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="A mixspec.yaml, or models:/NAME@champion from MLflow.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help="The trainer; see export --list.")],
    file: Annotated[
        Path | None, typer.Option(help="What export was given with --out; default: exported afresh.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="As given to export.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="As given to export.")] = None,
    data_root: Annotated[str | None, typer.Option(help="As given to export.")] = None,
    items: Annotated[int, typer.Option(min=1, help="Windows or documents to draw of each stage.")] = 2000,
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")] = False,
) -> None:
    """Draw from an exported file with the trainer's own loader: asked against realised shares."""
    from flows.cli.mix import load_mix, moved
    from flows.reports import tables as output
    from flows.reports.progress import bar
    from mixing.export import checking as loaders

    if unit not in (None, "window", "document"):
        raise InputError(f"--unit {unit} is not a unit", "Units: window, document")
    mix = load_mix(spec)
    if data_root is not None:
        mix = moved(mix, data_root)
    with tempfile.TemporaryDirectory(prefix="mixlaw-check-") as work, bar("loader") as report, _aside():
        found = loaders.check(
            mix,
            to,
            Path(work),
            file=file,
            unit=unit,  # type: ignore[arg-type]
            data=None if data is None else str(data.absolute()),
            items=items,
            on_progress=report,
        )
    if as_json:
        output.print_json(_json(found))
    else:
        _print(found)
    if not found.met:
        stage, line = next((s, x) for s in found.stages for x in s.lines if not x.met)
        raise MixlawError(
            f"stage {stage.number}: {line.domain} is {line.realised:.4f} of the tokens drawn, "
            f"not {line.asked:.4f} +- {line.tolerance:.4f}",
            "Export the spec again, and check that the data is what was exported",
        )


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """What a loader prints on stdout, which is for results, and what it warns of are not the user's."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _print(found: Check) -> None:
    from flows.reports import tables as output

    kind = "drawn by chance" if found.random else "apportioned"
    console = output.console()
    for stage in found.stages:
        rows = [
            (
                line.domain,
                f"{line.asked:.4f}",
                f"{line.realised:.4f}",
                f"{line.realised - line.asked:+.4f}",
                f"{line.tolerance:.4f}",
                "yes" if line.met else "NO",
            )
            for line in stage.lines
        ]
        title = f"stage {stage.number}: {stage.items:,} {found.unit}s {kind}, read by {found.loader}"
        heads = ("domain", "asked", "realised", "difference", "tolerance", "met")
        console.print(output.table(title, heads, rows))


def _json(found: Check) -> dict[str, Any]:
    return {
        "target": found.target,
        "loader": found.loader,
        "unit": found.unit,
        "random": found.random,
        "met": found.met,
        "stages": [
            {
                "stage": stage.number,
                "items": stage.items,
                "domains": {line.domain: {**_numbers(line), "met": line.met} for line in stage.lines},
            }
            for stage in found.stages
        ],
    }


def _numbers(line: Any) -> dict[str, float]:
    return {key: value for key, value in asdict(line).items() if key != "domain"}
