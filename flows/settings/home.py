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
    """`MIXLAW_HOME`, or `.mixlaw` in the current folder; absolute. Raises InputError where that is a file."""
    path = Path(environment.get("MIXLAW_HOME") or DEFAULT_HOME).absolute()
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
    def events(self) -> Path:
        """What happened, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def lock(self) -> Path:
        return self.path / "run.lock"
