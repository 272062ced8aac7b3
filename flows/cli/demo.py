"""`mixlaw demo`: a whole study on text that is already on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import Workers
from flows.demo.run import run_demo


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the texts and the study.")] = Path("mixlaw-demo"),
    workers: Workers = None,
) -> None:
    """Run a whole study on text of this machine, in 5 to 8 minutes.

    General text is the documentation of installed packages, target text the Python code of the standard library.
    """
    run_demo(out, workers)
