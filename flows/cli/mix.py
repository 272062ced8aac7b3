"""`export` and `ui`: what is done with a chosen mix."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.reports.tables import print_json
from mixing.errors import InputError, MixlawError

if TYPE_CHECKING:
    from mixing.spec.model import MixSpec

FOR_TRAINING = "?workflowType=machine_learning"
"""Without it MLflow's pages are those for chat applications, which lack the model registry."""


def export(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="A mixspec.yaml, or models:/NAME@champion from MLflow.")
    ] = "",
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help="The trainer; see --list.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write here (a file or a folder), not to stdout.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="window or document, for targets that can draw either.")
    ] = None,
    data_root: Annotated[
        str | None, typer.Option(help="Where the token files lie for the trainer, if they were moved.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the tokens there in the trainer's own format, and point at them; at text, only point.",
        ),
    ] = None,
    list_targets: Annotated[bool, typer.Option("--list", help="List the targets.")] = False,
    json: Annotated[bool, typer.Option("--json", help="With --list: exactly one JSON object.")] = False,
) -> None:
    """A trainer's own file from a mix spec."""
    from flows.reports.exports import export_summary, export_text, targets_json, targets_table
    from mixing.export.export import export as render

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
    if unit not in (None, "window", "document"):
        raise InputError(f"--unit {unit} is not a unit", "Units: window, document")
    mix = load_mix(spec)
    if data_root is not None:
        mix = moved(mix, data_root)
    folder = None
    if data is not None:
        folder = str(data.absolute())
        write_tokens(mix, to, folder, unit)
    done = render(mix, to, out, unit=unit, data=folder)  # type: ignore[arg-type]
    if out is None:
        sys.stdout.write(export_text(done))
    print(export_summary(mix, done), file=sys.stderr)


def moved(mix: MixSpec, data_root: str) -> MixSpec:
    """The mix over token files in the folder given with --data-root. Raises InputError, naming the option."""
    try:
        return mix.with_data_root(data_root)
    except InputError as error:
        raise InputError(error.message.replace("data_root", "--data-root", 1), error.hint) from None


def write_tokens(mix: MixSpec, to: str, folder: str, unit: str | None) -> None:
    """The tokens of a mix below `folder`, in the target's own format; what is there already is kept.

    Text, and what trainers make of it, is not written: the user is told which folders are expected.

    Raises InputError for a target that reads the token store, and as `export` and `mixing.export.writing.write_data`.
    """
    from flows.reports.progress import bar
    from mixing.export.export import export as render
    from mixing.export.export import is_written, target_named
    from mixing.export.writing import format_named, jobs_of, write_data

    target = target_named(to)
    if target.data == "store":
        raise InputError(
            f"--data: {target.name} reads the token files as they are", "Leave it out; --data-root says where"
        )
    if target.data == "own":
        raise InputError(f"--data: {target.name}'s datasets are configured in its own code", "Leave it out")
    # Whatever is wrong with the mix or the installation is found before anything is written.
    planned = render(mix, to, unit=unit, data=folder)  # type: ignore[arg-type]
    if not is_written(target, planned.plan.unit):
        expected = [Path(item.folder).name for item in planned.data if not Path(item.folder).is_dir()]
        there = f"; not there yet: {', '.join(expected)}" if expected else ""
        print(f"{folder}: a folder of {target.data} data per domain is expected{there}", file=sys.stderr)
        return
    format_named(target.data)
    if planned.plan.unit == "window" and mix.sequence_length is None:
        raise InputError(
            "sequence_length: is missing, so there are no windows to write", "Add it to the spec"
        )
    length = mix.sequence_length if planned.plan.unit == "window" else None
    with bar(f"{target.data} data") as report:
        done = write_data(jobs_of(mix, planned), target.data, length, report)
    kept = f", {done.kept} were there" if done.kept else ""
    print(f"{folder}: {done.new} parts of {target.data} data written{kept}", file=sys.stderr)


def load_mix(spec: str) -> MixSpec:
    """The mix spec in a file, or of a chosen mix in MLflow (`models:/NAME@champion`).

    Raises InputError, MixlawError where MLflow is not installed.
    """
    from mixing.spec.yaml_file import load_spec

    if not spec.startswith("models:/"):
        return load_spec(Path(spec))
    if importlib.util.find_spec("mlflow") is None:
        raise MixlawError(
            f"{spec}: MLflow is not installed in this environment",
            "Give the mixspec.yaml: it is an artifact of the chosen mix",
        )
    from flows.settings import home

    root = home.home()
    home.set_defaults(root)
    from flows.tracking.client import fetch_spec

    with tempfile.TemporaryDirectory() as folder:
        return load_spec(fetch_spec(spec, home.tracking_uri(root), Path(folder)))


def ui(
    port: Annotated[
        int | None, typer.Option(help="Port on 127.0.0.1 (default: 5000, or the next free).")
    ] = None,
) -> None:
    """The MLflow UI on what is logged. Ctrl-C ends it."""
    from flows.settings import home

    root = home.home()
    uri = home.tracking_uri(root)
    if uri.startswith(("http://", "https://")):
        print(f"MLflow UI: {uri}  (MLFLOW_TRACKING_URI)")
        return
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise InputError(
            f"{root}: nothing is logged here yet",
            "Run a study first, or set MIXLAW_HOME to the home of one that has run",
        )
    home.set_defaults(root)
    chosen = _port(port)
    print(f"MLflow UI: http://127.0.0.1:{chosen}/#/experiments{FOR_TRAINING}  (Ctrl-C ends it)", flush=True)
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--default-artifact-root", (root / "mlartifacts").as_uri()]
    command += [
        "--host",
        "127.0.0.1",
        "--port",
        str(chosen),
        "--workers",
        "1",
        "--uvicorn-opts",
        "--log-level error",
    ]
    # In place of this process, so that signals and the exit status are MLflow's own.
    os.execve(sys.executable, command, environment)


def _port(asked: int | None) -> int:
    for port in [asked] if asked is not None else range(5000, 5020):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            except OverflowError:
                break
            return port
    raise InputError(f"port {asked or '5000 to 5019'} is taken", "Choose another: mixlaw ui --port 5050")
