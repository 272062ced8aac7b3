"""Where the results of a study run are in MLflow."""

from __future__ import annotations

from dataclasses import dataclass

CHAMPION, CHALLENGER = "champion", "challenger"
"""Aliases of a registered mix: the version in use, and one that a person may put in its place."""


@dataclass(frozen=True)
class Publication:
    """`version` is that of the registered mix; None where nothing is decided.

    `new_version` says that it was added now, `alias` is the version's (champion, challenger, or empty), and
    `verdict` why a new version has it. `run` and `experiment` are MLflow's ids.
    """

    uri: str
    experiment: str
    run: str
    version: str | None
    new_version: bool
    alias: str = ""
    verdict: str = ""
