"""`mixlaw export`: a mix as a trainer's own file, and its tokens in the trainer's own format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.mix_spec import load_mix, note_missing_files
from flows.cli.options import DataRoot, DrawnUnit, Unit, drawn_unit
from flows.reports.exports import export_summary, export_text, targets_json, targets_table
from flows.reports.progress import bar
from flows.reports.tables import print_file, print_json
from mixing.errors import InputError
from mixing.export.data_format import OWN, STORE
from mixing.export.exporting import export as render
from mixing.export.registry import target_named
from mixing.export.writing import write_data, write_tasks, writer_of
from mixing.spec.model import MixSpec

Spec = Annotated[
    str, typer.Argument(metavar="SPEC", help="A mix spec: a file, or models:/NAME@champion in MLflow.")
]
To = Annotated[str, typer.Option("--to", metavar="TARGET", help="The trainer; --list shows them all.")]
Out = Annotated[Path | None, typer.Option(help="Write to this file or folder instead of stdout.")]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Write the tokens into this folder in the trainer's own format, and let the file point at them. "
        "Text is not written, only pointed at.",
    ),
]
List = Annotated[bool, typer.Option("--list", help="List the targets.")]
ListJson = Annotated[bool, typer.Option("--json", help="With --list: print exactly one JSON object.")]


def export(
    spec: Spec = "",
    to: To = "",
    out: Out = None,
    unit: Unit = None,
    data_root: DataRoot = None,
    data: Data = None,
    list_targets: List = False,
    json: ListJson = False,
) -> None:
    """Write a mix spec as a trainer's own file."""
    if list_targets:
        if json:
            print_json(targets_json())
        else:
            print(targets_table())
        return
    if json:
        raise InputError(
            "--json: export prints the trainer's own file", "Use it with --list, or leave it out"
        )
    if not spec:
        raise InputError(
            "export: no SPEC given", "Name a mixspec.yaml or models:/NAME@champion, and --to TARGET"
        )
    if not to:
        raise InputError("export: no --to TARGET given", "`mixlaw export --list` shows the targets")
    drawn = drawn_unit(unit)
    mix = load_mix(spec, data_root)
    note_missing_files(mix)
    folder = None if data is None else str(data.absolute())
    if folder is not None:
        _write_tokens(mix, to, folder, drawn)
    exported = render(mix, to, out, unit=drawn, data=folder)
    if out is None:
        print_file(export_text(exported))
    print(export_summary(mix, exported), file=sys.stderr)


def _write_tokens(mix: MixSpec, to: str, folder: str, unit: DrawnUnit) -> None:
    """Write the mix's tokens below `folder` in the target's own format; parts that are there already are kept.

    Text is not written: a line says which folders of it the target expects. Raises InputError for a target
    that reads token files as they are, and whatever `export` and `write_data` raise.
    """
    target = target_named(to)
    if target.data == STORE:
        raise InputError(
            f"--data: {target.name} reads the token files as they are", "Leave it out; --data-root says where"
        )
    if target.data == OWN:
        raise InputError(f"--data: {target.name}'s datasets are configured in its own code", "Leave it out")
    # A mix or an installation that cannot be used is found before anything is written.
    planned = render(mix, to, unit=unit, data=folder)
    if not target.is_written(planned.plan.unit):
        missing = [Path(item.folder).name for item in planned.data if not Path(item.folder).is_dir()]
        there = f"; not there yet: {', '.join(missing)}" if missing else ""
        print(f"{folder}: a folder of {target.data} data per domain is expected{there}", file=sys.stderr)
        return
    writer_of(target.data)
    if planned.plan.unit == "window" and mix.sequence_length is None:
        raise InputError(
            "sequence_length: is missing, so there are no windows to write", "Add it to the spec"
        )
    length = mix.sequence_length if planned.plan.unit == "window" else None
    with bar(f"{target.data} data") as report:
        written = write_data(write_tasks(mix, planned), target.data, length, report)
    existing = f", {written.existing} were there already" if written.existing else ""
    print(f"{folder}: {written.new} parts of {target.data} data written{existing}", file=sys.stderr)
