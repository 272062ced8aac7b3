"""The target shares to train next, given the runs that are done."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flows.pipeline.files import runs_table
from flows.pipeline.plan import mixture
from flows.pipeline.prepare import supply_of
from flows.pipeline.question import StudyQuestion
from flows.pipeline.status import status_of
from flows.pipeline.workspace import Workspace
from mixing.decision.result import Decision
from mixing.decision.wording import next_run_lines
from mixing.errors import InputError

if TYPE_CHECKING:
    from flows.study.models import Study


@dataclass(frozen=True)
class NextPlan:
    """Target shares to add to a study, the most informative first, and the decision that calls for them."""

    shares: tuple[float, ...]
    mixtures: tuple[dict[str, float], ...]
    trained: tuple[float, ...]
    decision: Decision
    gains: tuple[str, ...] = ()
    """What each buys, of those that the decision itself asks for; empty for others."""

    def lines(self) -> list[str]:
        """Each as the decision's screen shows it."""
        mine = replace(self.decision, next_runs=list(self.mixtures), next_run_gains=list(self.gains))
        return next_run_lines(mine)

    def to_json(self) -> dict[str, Any]:
        return {
            "next_runs": list(self.mixtures),
            "next_run_gains": list(self.gains),
            "target_shares": list(self.shares),
            "trained": list(self.trained),
            "critical_ratio": self.decision.critical_ratio,
            "interval": list(self.decision.interval) if self.decision.interval else None,
            "status": self.decision.status,
        }


def plan_next(workspace: Workspace, count: int) -> NextPlan:
    """The `count` target shares that tell most about the study's critical ratio.

    Raises InputError where no proxy is done yet, and as `mixing.decision` does.
    """
    from mixing.decision.critical_ratio.next_ratios import next_ratios, trained_ratios
    from mixing.decision.critical_ratio.telling_ratios import APART
    from proxies.data.token_store import TokenStore

    study = workspace.study
    done = [run for run in status_of(workspace).runs if run.state == "done"]
    if not {run.kind for run in done} >= {"base", "proxy"}:
        raise InputError(
            f"{study.study}: no proxy is trained yet, so nothing says which one tells most",
            "Train the study first: mixlaw run; mixlaw plan without --next shows its runs",
        )
    supply = supply_of(TokenStore.open(workspace.folder.tokens, verify=False))
    table = runs_table(workspace.folder.runs, [run.run for run in done])
    study_question = StudyQuestion.of(study, supply, table)
    decision = study_question.decide(table)
    asked = [_target_share(study, mix) for mix in decision.next_runs][:count]
    gains = dict(zip(asked, decision.next_run_gains, strict=False))
    # What the decision's own screen asks for comes first; only then what else would tell most.
    more = []
    if len(asked) < count:
        question, constraints = study_question.question, study_question.constraints
        more = next_ratios(table, question, count, constraints=constraints, seed=study.seed)
    shares = [*asked, *(share for share in more if all(abs(share - other) >= APART for other in asked))]
    shares = shares[:count]
    return NextPlan(
        tuple(shares),
        tuple(mixture(study, supply, share) for share in shares),
        tuple(trained_ratios(table, study_question.question)),
        decision,
        tuple(gains.get(share, "") for share in shares),
    )


def _target_share(study: Study, mix: dict[str, float]) -> float:
    return round(math.fsum(mix.get(name, 0.0) for name in study.names("target")), 4)
