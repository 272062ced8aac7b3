"""`mixlaw init`: a study file for folders of text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.study.template import write_study


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder with one sub-folder of text per domain.")
    ],
    out: Annotated[Path, typer.Option(help="The study file to write.")] = Path("study.yaml"),
) -> None:
    """Write a commented study file for folders of text."""
    reason, guesses = write_study(folder, out)
    print(f"wrote {out}; roles are guessed: {reason}")
    for guess in guesses:
        print(f"guessed from the files, check it: {guess}")
    print(f"check it, then: mixlaw plan {out}")
