"""`mixlaw compare`: two mixes side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.mix_spec import load_mix
from flows.cli.options import Json
from flows.reports import tables
from flows.reports.comparison import print_comparison
from flows.tracking.comparison import compare as side_by_side

First = Annotated[
    str, typer.Argument(metavar="A", help="A mix spec: a file, or models:/NAME@champion in MLflow.")
]
Second = Annotated[
    str, typer.Argument(metavar="B", help="Another mix spec, such as models:/NAME@challenger.")
]


def compare(first: First, second: Second, as_json: Json = False) -> None:
    """Compare two mixes: shares, predicted losses, intervals, cost."""
    comparison = side_by_side(load_mix(first), load_mix(second), (first, second))
    if as_json:
        tables.print_json(comparison.to_json())
    else:
        print_comparison(comparison, tables.console())
