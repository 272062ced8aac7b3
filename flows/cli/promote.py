"""`mixlaw promote`: which version of a registered mix is champion."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Json
from flows.reports import tables
from flows.reports.comparison import print_versions
from flows.settings import home
from flows.settings.environment import set_defaults, tracking_uri
from flows.tracking import registry
from mixing.errors import InputError

Name = Annotated[str, typer.Argument(metavar="NAME", help="The study; its mix is registered under its name.")]
Version = Annotated[
    int | None,
    typer.Argument(metavar="VERSION", min=1, help="The version to make champion (default: the challenger)."),
]
Back = Annotated[bool, typer.Option("--back", help="Roll back to the previous champion.")]
History = Annotated[bool, typer.Option("--history", help="Only show the versions and the champions so far.")]
Reason = Annotated[str, typer.Option(help="A reason to note in the history.")]


def promote(
    name: Name,
    version: Version = None,
    back: Back = False,
    history: History = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Make a version of a registered mix the champion, or roll back."""
    if back and version is not None:
        raise InputError("promote: --back and VERSION exclude each other", "Give one of them")
    root = home.home()
    set_defaults(root)
    uri = tracking_uri(root)
    turn = None
    if back:
        turn = registry.roll_back(name, uri, reason)
    elif not history:
        turn = registry.promote(name, uri, None if version is None else str(version), reason)
    now = registry.registry_status(name, uri)
    if as_json:
        tables.print_json(now.to_json())
        return
    if turn is not None:
        before = f", version {turn.before} was" if turn.before else ""
        print(f"models:/{name}@champion is version {turn.version}{before}")
    print_versions(now, tables.console())
