"""What a study asks of its runs, with the constraints and the composition that follow from its corpora."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixing.decision.constraints import Constraints
from mixing.decision.question import Question
from mixing.decision.result import Decision

if TYPE_CHECKING:
    from flows.study.models import Study
    from mixing.runs.table import RunTable


@dataclass(frozen=True)
class StudyQuestion:
    """A study's question to a runs table; its `repr` is part of the key of a cached analysis.

    `constraints` cap repetition in the target run, and name the shares in proportion to the training tokens, a
    baseline; `composition` is each domain's share within its role, which all mixtures of the study have.
    """

    question: Question
    constraints: Constraints
    composition: dict[str, float]
    seed: int

    @classmethod
    def of(cls, study: Study, supply: dict[str, int], table: RunTable) -> StudyQuestion:
        """The question of `study`, whose domains have `supply` training tokens here.

        Validation sets are weighted as the domains are mixed, unless the study says otherwise.
        """
        from mixing.decision.question import make_question

        supply = study.real_supply(supply)
        decision = study.decision
        question = make_question(
            table,
            decision.general or study.composition("general", supply),
            decision.target or study.composition("target", supply),
            study.names("target"),
            tolerance=decision.tolerance,
            tokens=study.asked_tokens,
            level=decision.level,
            confidence=decision.confidence,
            turning_point=decision.turning_point,
        )
        total = sum(supply.values())
        constraints = Constraints(
            supply=supply,
            max_epochs={name: study.domains[name].max_epochs for name in supply},
            budget=study.target_run_tokens,
            protect=decision.protect or {},
            prior={name: tokens / total for name, tokens in supply.items()},
        )
        return cls(question, constraints, study.whole_composition(supply), study.seed)

    def decide(self, table: RunTable) -> Decision:
        """Raises InputError for a table that cannot answer the question."""
        from mixing.decision.decide import answer_question

        return answer_question(
            table, self.question, self.constraints, composition=self.composition, seed=self.seed
        )
