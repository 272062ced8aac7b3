"""What a study run ended with: its runs, the answer, and where they were published."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from flows.pipeline.analysis import Answer, Confirmation, Observations, observations
from flows.pipeline.plan import Plan
from flows.pipeline.prepare import Job
from mixing.errors import MixlawError

if TYPE_CHECKING:
    from mixing.spec.model import MixSpec
    from proxies.data.token_store import TokenStore


@dataclass(frozen=True)
class Publication:
    """Where MLflow has it. `version` of the registered mix; None where there is no decision.

    `alias` is the version's (champion, challenger, or empty), `verdict` why a new one has it.
    """

    uri: str
    experiment: str
    run: str
    version: str | None
    new_version: bool
    alias: str = ""
    verdict: str = ""


@dataclass
class Outcome:
    """What a study run ended with.

    `names` maps the ids of finished runs to their names; `failures` a run's name to its reason, `failed_runs`
    to its id; `trained` counts the runs that were not done before; `unpublished` is why MLflow does
    not have the results, `note` what made it run again, where a refresh did.
    """

    job: Job
    plan: Plan
    store: TokenStore
    names: dict[str, str]
    given: Answer
    base: str
    trained: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    failed_runs: dict[str, str] = field(default_factory=dict)
    confirmation: Confirmation | None = None
    spec: MixSpec | None = None
    publication: Publication | None = None
    unpublished: MixlawError | None = None
    note: str = ""

    @cached_property
    def seen(self) -> Observations:
        return observations(self.job, self.given, self.base, self.confirmation)

    @property
    def identity(self) -> str:
        """Of this study run: the same question on the same data has the same."""
        text = json.dumps([self.job.study.identity, self.store.fingerprints], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
