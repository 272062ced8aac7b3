"""What a study run ended with: its runs, the analysis, and where it was published."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from flows.pipeline.analysis import Analysis
from flows.pipeline.confirmation import Confirmation
from flows.pipeline.observations import Observations, observe
from flows.pipeline.plan import Kind, Plan
from flows.pipeline.publication import Publication
from flows.pipeline.workspace import Workspace
from mixing.errors import MixlawError

if TYPE_CHECKING:
    from mixing.spec.model import MixSpec
    from proxies.data.token_store import TokenStore


@dataclass(frozen=True)
class StudyRun:
    """One run of the study that is over: its id in the run store, what it is for, why it failed (empty: it is done).

    `name` is for people only. `target_share` is None for a base model that was given.
    """

    run: str
    kind: Kind
    name: str
    target_share: float | None = None
    failure: str = ""


@dataclass
class StudyResult:
    """What a study run ended with.

    `runs` are the base, the proxies and the confirmation run, in the order of training; `trained` counts those that
    were trained now; `unpublished` is why MLflow does not have the results; `note` says what made a refresh run the
    study again.
    """

    workspace: Workspace
    plan: Plan
    store: TokenStore
    runs: list[StudyRun]
    analysis: Analysis
    base: str
    trained: int = 0
    confirmation: Confirmation | None = None
    spec: MixSpec | None = None
    publication: Publication | None = None
    unpublished: MixlawError | None = None
    note: str = ""

    @property
    def names(self) -> dict[str, str]:
        """The names of the finished runs by their ids."""
        return {run.run: run.name for run in self.runs if not run.failure}

    @property
    def failures(self) -> dict[str, str]:
        """Why runs failed, by their names."""
        return {run.name: run.failure for run in self.runs if run.failure}

    @cached_property
    def observations(self) -> Observations:
        return observe(self.workspace, self.analysis, self.base, self.confirmation)

    @property
    def identity(self) -> str:
        """Identifies this study run: the same question on the same data has the same, 16 hex digits."""
        text = json.dumps([self.workspace.study.identity, self.store.fingerprints], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
