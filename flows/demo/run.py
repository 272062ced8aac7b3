"""The demo: an ordinary study on text that is already on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from flows.demo.text import collect
from flows.orchestration import server as prefect_server
from flows.orchestration.local_run import run_study
from flows.reports import tables
from flows.reports.progress import board
from flows.reports.study import closing
from flows.settings.environment import set_defaults
from flows.settings.home import DEFAULT_HOME
from mixing.atomic import replace_files
from mixing.errors import MixlawError


def run_demo(out: Path, workers: int | None = None) -> None:
    """Collect the texts into `out`, put the study file next to them, and run it as `mixlaw run` would."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MixlawError(
            f"{out}: cannot be written ({error.strerror})", "Name a folder with --out"
        ) from error
    study = out / "study.yaml"
    if not study.exists():
        replace_files({study: example("code/study.yaml").read_bytes()})
    root = Path(os.environ.get("MIXLAW_HOME") or out / DEFAULT_HOME).absolute()
    # The first start of the server takes as long as collecting the texts.
    set_defaults(root)
    prefect_server.start(root)
    with board() as progress:
        row = progress.row("text of this machine", 1.0)
        collect(out / "corpora", row.set)
        row.finish()
    result = run_study(study, root, workers)
    closing(result, tables.console())
    if result.unpublished is not None:
        raise result.unpublished


def example(name: str) -> Path:
    """The path of an example: inside the package `flows` in a wheel, beside it in a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "examples", package.parent / "examples"):
        if (folder / name).exists():
            return folder / name
    raise MixlawError(f"examples/{name} is not installed", "Install mixlaw again")
