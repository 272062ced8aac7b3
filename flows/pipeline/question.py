"""What a study asks of its runs, with the caps and the baseline mixture that follow from its corpora."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixing.decision.question import Question
from mixing.decision.result import Decision

if TYPE_CHECKING:
    from flows.study.models import Study
    from mixing.runs.table import RunTable


@dataclass(frozen=True)
class StudyQuestion:
    """A study's question to a runs table; its `repr` is part of the key of a cached analysis.

    `max_shares` is the largest share of each domain that keeps its `max_epochs` in the target run;
    `natural_shares` are the shares in proportion to the training tokens at hand, a baseline.
    """

    question: Question
    max_shares: dict[str, float]
    natural_shares: dict[str, float]
    seed: int

    @classmethod
    def of(cls, study: Study, supply: dict[str, int], table: RunTable) -> StudyQuestion:
        """The question of `study`, whose domains have `supply` training tokens.

        Validation sets are weighted as the domains are mixed, unless the study says otherwise.
        """
        from mixing.decision.question import make_question

        decision = study.decision
        question = make_question(
            table,
            decision.general or study.composition("general", supply),
            decision.target or study.composition("target", supply),
            study.names("target"),
            tolerance=decision.tolerance,
            tokens=study.asked_tokens,
            level=decision.level,
        )
        total, budget = sum(supply.values()), study.target_run_tokens
        return cls(
            question,
            {name: study.domains[name].max_epochs * supply[name] / budget for name in supply},
            {name: tokens / total for name, tokens in supply.items()},
            study.seed,
        )

    def decide(self, table: RunTable) -> Decision:
        """Raises InputError for a table that cannot answer the question."""
        from mixing.decision.critical_ratio.decider import decide

        return decide(
            table,
            self.question,
            max_shares=self.max_shares,
            natural_shares=self.natural_shares,
            seed=self.seed,
        )
