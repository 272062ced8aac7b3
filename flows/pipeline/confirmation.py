"""The confirmation run: one held-out check of the decision, at the share that it recommends."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import polars as pl

from flows.pipeline.files import runs_table, write_json
from flows.pipeline.plan import Plan, PlannedRun, confirmation_name, mixture
from flows.pipeline.repetition import epochs_of
from flows.pipeline.workspace import Workspace
from mixing.errors import InputError, MixlawError
from mixing.runs.table import RunTable

if TYPE_CHECKING:
    from flows.pipeline.analysis import Recommendation
    from mixing.decision.result import Decision

CONFIRMED_DECIMALS = 3
"""The confirmation run's target share is rounded, so that a re-run asks for the very same run."""


@dataclass(frozen=True)
class Confirmation:
    """One held-out check: a run at the share that was recommended without it; the final answer has seen it.

    `predicted` maps general and target to (increment, low, high) in nats; `observed` to the increment. `other_text`
    says that run and base were measured on held-out windows that the swarm was not; the predicted intervals then allow
    for the sampling error of these windows too. `beyond` is by how much the general increment, or that of a protected
    validation set, broke its tolerance (nats; 0: all were kept).
    """

    run: str
    target_share: float
    predicted: dict[str, tuple[float, float, float]]
    observed: dict[str, float]
    other_text: bool = False
    beyond: float = 0.0

    @property
    def confirmed(self) -> bool:
        """Whether it ended as predicted and within the tolerance."""
        return self.beyond <= 0 and all(self.inside(role) for role in self.predicted)

    def inside(self, role: str) -> bool:
        """Whether the observed increment lies in the predicted interval."""
        _, low, high = self.predicted[role]
        return low <= self.observed[role] <= high


def confirmation_run(
    workspace: Workspace, supply: dict[str, int], decision: Decision, plan: Plan
) -> PlannedRun | None:
    """The run at the recommended share; None where none is recommended or no confirmation is wanted."""
    planned = next(iter(plan.of_kind("confirmation")), None)
    if planned is None or decision.target_share is None:
        return None
    share = round(decision.target_share, CONFIRMED_DECIMALS)
    shares = mixture(workspace.study, supply, share)
    name = confirmation_name(share)
    epochs = epochs_of(shares, planned.tokens, planned.pools, plan.supply)
    return dataclasses.replace(planned, name=name, target_share=share, mixture=shares, epochs=epochs)


def confirm(
    workspace: Workspace, swarm: Recommendation, base: str, run: str, target_share: float
) -> Confirmation:
    """Score the decision's predictions against the confirmation run, and write `confirmation.json`."""
    question, decision = swarm.question, swarm.decision
    table = runs_table(workspace.folder.runs, [base, run])
    observed, predicted = {}, {}
    for role, weights in (("general", question.general), ("target", question.target)):
        last = table.weighted(weights).sort("tokens").row(-1, named=True)
        observed[role] = _increment(table, weights)
        prediction = decision.predicted[role]
        low, high = (bound - prediction.loss + prediction.increment for bound in prediction.interval)
        if last["heldout"] is not None:
            # The interval is of a new run on the proxies' windows: the luck of these and of its own are two.
            low, high = _widened(low, high, last["increment_stderr"] or 0.0, question.level)
        predicted[role] = (prediction.increment, low, high)
    other_text = table.trained["heldout"].null_count() == 0
    beyond = max(observed["general"] - question.tolerance, 0.0)
    for name, allowed in decision.protect.items():
        beyond = max(beyond, _increment(table, {name: 1.0}) - allowed)
    confirmation = Confirmation(run, target_share, predicted, observed, other_text, beyond)
    write_json(workspace.folder.confirmation, dataclasses.asdict(confirmation))
    return confirmation


def _increment(table: RunTable, weights: Mapping[str, float]) -> float:
    """By how much the table's run ended above its base, in nats."""
    losses = table.weighted(dict(weights)).sort("tokens")
    return float(losses["loss"][-1]) - float(losses.filter(pl.col("tokens") == 0)["loss"][0])


def _widened(low: float, high: float, stderr: float, level: float) -> tuple[float, float]:
    """The interval with an independent error added."""
    half = math.hypot((high - low) / 2, NormalDist().inv_cdf((1 + level) / 2) * stderr)
    return (low + high) / 2 - half, (low + high) / 2 + half


def confirmed_run(path: Path) -> tuple[str, float]:
    """The id and the target share of the confirmation run that `confirmation.json` names.

    Raises InputError for what is no run's id: it names a folder.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    run = record.get("run")
    if not isinstance(run, str) or not re.fullmatch(r"[0-9a-f]{16}", run):
        raise InputError(
            f"{path}: run: {str(run)[:40]!r} is not the id of a run", "Delete it and run the study again"
        )
    return run, float(record["target_share"])


def discard_other_answer(workspace: Workspace, confirmation: str) -> None:
    """Remove the files of an earlier answer before the run `confirmation` of this one is trained."""
    try:
        earlier = json.loads(workspace.folder.confirmation.read_bytes())["run"]
    except (OSError, ValueError, KeyError, TypeError):
        earlier = None
    if earlier != confirmation:
        discard_answer(workspace)


def discard_answer(workspace: Workspace) -> None:
    """Remove the files of an earlier answer, so that none is ever of other runs than the newest.

    Raises MixlawError where they cannot be removed.
    """
    discard_spec(workspace)
    _discard(workspace.folder.confirmation)


def discard_spec(workspace: Workspace) -> None:
    """Remove the mix spec of an earlier answer. Raises MixlawError where it cannot be removed."""
    _discard(workspace.folder.mixspec)


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise MixlawError(f"{path}: cannot be removed ({error.strerror})", "Check the folder") from error
