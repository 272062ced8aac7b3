"""Runs tables as the command line names them: files, folders, studies, other systems; and how they are to be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import options_named
from flows.settings import home
from mixing.errors import InputError

if TYPE_CHECKING:
    from mixing.runs.table import RunTable

Decimal = Annotated[str, typer.Option(metavar="SIGN", help="Sign before decimals in text tables: . or ,")]
Metric = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METRIC",
        help="What the losses are: loss, perplexity, accuracy or bits_per_byte; of one set EVAL=METRIC, repeatable.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=VALUE", help="Read only runs with this value, e.g. lr=3e-4; repeatable."),
]
Pool = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Let runs differ in base, group, lr or schedule: what that does counts as scatter; repeatable.",
    ),
]


def read_tables(
    runs: Sequence[str],
    decimal: str = ".",
    metric: list[str] | None = None,
    where: list[str] | None = None,
    pool: list[str] | None = None,
) -> RunTable:
    """One table of all these sources. Raises InputError as `mixing.runs.read.read_runs` does, naming options."""
    from mixing.runs.read import read_runs

    with options_named():
        return read_runs(
            [source_of(run) for run in runs],
            decimal=decimal,
            metric=_metric(metric),
            where=dict(_pair(option, "where") for option in where or []),
            pool=pool or [],
        )


def source_of(named: str) -> str:
    """What `read_runs` reads under this name: a study's file or its name in the home stands for its finished runs.

    Raises InputError for a study that has none.
    """
    path = Path(named)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        from flows.pipeline.workspace import Workspace

        runs = Workspace.load(path).folder.runs
        if not runs.is_dir():
            raise InputError(f"{named}: the study has no runs at {runs}", "Run it first: mixlaw run")
        return str(runs)
    if not path.exists() and path.name == named and (runs := home.StudyFolder.of(named).runs).is_dir():
        return str(runs)
    return named


def _metric(options: list[str] | None) -> str | dict[str, str] | None:
    if not options:
        return None
    if len(options) == 1 and "=" not in options[0]:
        return options[0]
    return dict(_pair(option, "metric") for option in options)


def _pair(option: str, name: str) -> tuple[str, str]:
    key, _, value = option.rpartition("=")
    if not key or not value:
        raise InputError(f"--{name} {option}: no NAME=VALUE", f"Write --{name} NAME=VALUE")
    return key, value
