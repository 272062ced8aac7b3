"""What a decision comes to, in lines: the same in the terminal, in Prefect and in MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixing.decision import wording
from mixing.decision.result import Decision

if TYPE_CHECKING:
    from flows.pipeline.confirmation import Confirmation


@dataclass(frozen=True)
class Conclusion:
    """The answer first: `answer` (is it `decided`, or "not yet"?), then `facts` about it; `why` it is the answer;
    `warnings` say what to doubt; `tables` show it. `next_runs` are mixtures to train, under `next_title`.
    """

    answer: str
    decided: bool
    facts: list[str]
    why: list[str]
    warnings: list[str]
    tables: list[ResultTable]
    next_title: str
    next_runs: list[str]

    def markdown(self) -> list[str]:
        """As lines of Markdown; the answer and its facts are the first two paragraphs."""
        lines = [f"**{self.answer}**", ""]
        lines += [f"{fact}  " for fact in self.facts]
        if self.why:
            lines += ["", *(f"- {line}" for line in self.why)]
        if self.warnings:
            lines += ["", *(f"> warning: {warning}" for warning in self.warnings)]
        for one in self.tables:
            lines += ["", f"**{one.title}**", "", *markdown_table(one.header, one.rows)]
        if self.next_runs:
            lines += ["", f"**{self.next_title}**", "", *(f"- {mixture}" for mixture in self.next_runs)]
        return lines


@dataclass(frozen=True)
class ResultTable:
    """A table of an answer: the first `text_columns` columns are text, the others numbers."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    text_columns: int = 1


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table as lines of Markdown."""
    return [
        f"| {' | '.join(header)} |",
        "|" + "---|" * len(header),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def conclude(
    decision: Decision, confirmation: Confirmation | None = None, chosen: Mapping[str, str] | None = None
) -> Conclusion:
    """A decision in words; `chosen` are the laws chosen for each loss, where these have been shown."""
    facts, why = wording.facts(decision), wording.reasons(decision)
    if confirmation is not None:
        facts.append(confirmation_line(confirmation))
    if decision.has_answer and chosen is not None and set(chosen.values()) - {decision.law}:
        why.append(law_note(decision.law))
    return Conclusion(
        answer=_first_line(decision, confirmation),
        decided=decision.has_answer,
        facts=facts,
        why=why,
        warnings=decision.warnings,
        tables=_tables(decision) if decision.has_answer else [],
        next_title=wording.next_runs_title(decision),
        next_runs=wording.next_run_lines(decision),
    )


def _tables(decision: Decision) -> list[ResultTable]:
    """Every protected and target loss at the recommended mix, then the mix beside the usual ones."""
    rows: list[tuple[str, ...]] = [increment.cells() for increment in wording.increments(decision)]
    return [
        ResultTable(wording.increment_title(decision), wording.INCREMENT_HEADER, rows, text_columns=2),
        ResultTable(wording.baselines_title(decision), *wording.baselines_table(decision)),
    ]


def _first_line(decision: Decision, confirmation: Confirmation | None) -> str:
    """The answer; before it, a confirmation run that broke the tolerance."""
    answer = wording.answer_line(decision)
    if confirmation is None or confirmation.beyond <= 0:
        return answer
    return (
        f"Not confirmed: a run at target share {confirmation.target_share:g} ended {confirmation.beyond:.4f} nats "
        f"beyond the tolerance. {answer}"
    )


def confirmation_line(confirmation: Confirmation) -> str:
    """Whether the confirmation run ended where it had been predicted, and within the tolerance."""
    inside = [role for role in confirmation.predicted if confirmation.inside(role)]
    outside = [role for role in confirmation.predicted if role not in inside]
    observed = {role: wording.signed(value) for role, value in confirmation.observed.items()}
    ends = " and ".join(f"{role} {observed[role]}" for role in confirmation.predicted)
    if not outside:
        verdict = "inside the predicted intervals"
    elif inside:
        verdict = f"{' and '.join(outside)} outside the predicted interval"
    else:
        verdict = "outside the predicted intervals"
    badge = "confirmed" if confirmation.confirmed else "not confirmed"
    if confirmation.beyond > 0:
        badge = f"beyond the tolerance by {confirmation.beyond:.4f} nats"
    return f"{badge}: confirmation run at target share {confirmation.target_share:g}: {ends}, {verdict}"


def law_note(law: str) -> str:
    """Why a decision's law is not the one chosen in the table of laws."""
    return (
        f"the decision uses the {law} law, averaged over the published share forms, not the law marked *: "
        "only these give a turning point and an interval that includes model misfit (docs/laws.md)"
    )
