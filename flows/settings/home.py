"""Where a study writes: the home, and the names of everything in a study's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mixing.errors import InputError

DEFAULT_HOME = ".mixlaw"

RESERVED = frozenset({"prefect", "mlartifacts", "slots"})
"""Folder names in the home that a study may not take."""


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """`MIXLAW_HOME`, or `.mixlaw` in the current folder; absolute.

    Raises InputError where that is a file, or no database could be in it.
    """
    return _checked(Path(environment.get("MIXLAW_HOME") or DEFAULT_HOME))


def home_of(file: Path, study: str, environment: Mapping[str, str] = os.environ) -> Path:
    """`MIXLAW_HOME`, or `.mixlaw` in the folder of the study file `file`; absolute.

    Where nothing of the study is there, but in the `.mixlaw` of the current folder, it is that. Raises as `home`.
    """
    beside, here = file.absolute().parent / DEFAULT_HOME, Path(DEFAULT_HOME).absolute()
    if environment.get("MIXLAW_HOME"):
        return home(environment)
    return _checked(here if (here / study).is_dir() and not (beside / study).is_dir() else beside)


def _checked(path: Path) -> Path:
    path = path.absolute()
    # In the address of an SQLite database a ? begins its options, and nothing can stand for it.
    if "?" in str(path) or not str(path).isprintable():
        raise InputError(
            f"MIXLAW_HOME: {str(path)!r} has a character that the address of a database cannot have",
            "Set MIXLAW_HOME to a folder without ? and control characters in its path",
        )
    if path.exists() and not path.is_dir():
        raise InputError(
            f"MIXLAW_HOME: {path} is not a folder", "Set it to one; it is made where there is none"
        )
    return path


@dataclass(frozen=True)
class StudyFolder:
    """What one study writes, by name. Nothing is created until it is written."""

    path: Path

    @classmethod
    def of(cls, study: str, root: Path | None = None) -> StudyFolder:
        return cls((root or home()) / study)

    @property
    def catalog(self) -> Path:
        return self.path / "catalog.json"

    @property
    def leakage(self) -> Path:
        """What of the held-out text recurs in training text."""
        return self.path / "leakage.json"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def tokens(self) -> Path:
        return self.path / "tokens"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def fits(self) -> Path:
        return self.path / "fits.json"

    @property
    def decision(self) -> Path:
        return self.path / "decision.json"

    @property
    def answer(self) -> Path:
        """The cached analysis; `fits.json` and `decision.json` are its parts for readers."""
        return self.path / "answer.json"

    @property
    def swarm_answer(self) -> Path:
        """The cached decision without the confirmation run, which was planned by it."""
        return self.path / "swarm-answer.json"

    @property
    def confirmation(self) -> Path:
        return self.path / "confirmation.json"

    @property
    def mixspec(self) -> Path:
        return self.path / "mixspec.yaml"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def log(self) -> Path:
        return self.path / "run.log"

    @property
    def owner(self) -> Path:
        """Which study file the folder belongs to."""
        return self.path / "study.json"

    @property
    def events(self) -> Path:
        """What happened, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def lock(self) -> Path:
        return self.path / "run.lock"
