"""What MLflow is to show of a study: plain records, and the tags by which they are found again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

RUN_TAG = "mixlaw.run"
KIND_TAG = "mixlaw.kind"
DIGEST_TAG = "mixlaw.digest"
STUDY_TAG = "mixlaw.study"
QUESTION_TAG = "mixlaw.question"
"""On a version of the mix: the identity of the newest study file that it answers."""
CORPORA_TAG = "mixlaw.corpora"
"""On a version that has a snapshot of its corpora."""
NEWEST_TAG = "mixlaw.newest"
"""On the experiment: the parent run of the newest study run, whose children are all of its runs."""
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"


@dataclass(frozen=True)
class Point:
    """A value of one metric at a token count."""

    metric: str
    tokens: int
    value: float


@dataclass(frozen=True)
class RunRecord:
    """One finished (or failed) run as MLflow shows it. `finished` is seconds since the epoch."""

    run: str
    name: str
    kind: Literal["base", "proxy", "confirmation"]
    params: Mapping[str, object]
    points: Sequence[Point]
    finished: float
    seconds: float
    failure: str = ""

    def digest(self) -> str:
        return digest_of(
            self.run, self.name, self.kind, sorted(self.params.items()), list(self.points), self.failure
        )


@dataclass(frozen=True)
class StudyRecord:
    """What the parent run shows: `note` is a page, `summary` a line; `started` is seconds since the epoch.

    `params` are of the question, which stays; `tags` and `metrics` of the answer, which newer code may change.
    `artifacts` maps a path in MLflow to a file. `question` is the identity of the study file.
    """

    name: str
    identity: str
    title: str
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    note: str
    summary: str
    started: float = 0.0
    question: str = ""
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def digest_of(*parts: object) -> str:
    """Identifies what was sent to MLflow, so that it is not sent again."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """The sha256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
