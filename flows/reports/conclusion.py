"""What a decision comes to, in lines: the same in the terminal, in Prefect and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixing.decision import wording
from mixing.decision.result import Decision

if TYPE_CHECKING:
    from flows.pipeline.confirmation import Confirmation


@dataclass(frozen=True)
class Conclusion:
    """The answer first: `headline` with its `value`, then `facts` about it; `why` it is the answer.

    `next_runs` are mixtures to train under `next_title`; `warnings` say what to doubt.
    """

    headline: str
    value: str
    facts: list[str]
    why: list[str]
    warnings: list[str]
    next_title: str
    next_runs: list[str]

    def markdown(self) -> list[str]:
        """As lines of Markdown; the answer and its facts are the first two paragraphs."""
        lines = [f"**{self.headline} {self.value}**".replace(" **", "**"), ""]
        lines += [f"{fact}  " for fact in self.facts]
        lines += ["", *(f"- {line}" for line in self.why)]
        if self.warnings:
            lines += ["", *(f"> warning: {warning}" for warning in self.warnings)]
        if self.next_runs:
            lines += ["", self.next_title, "", *(f"- {mixture}" for mixture in self.next_runs)]
        return lines


def conclude(
    decision: Decision, confirmation: Confirmation | None = None, chosen: Mapping[str, str] | None = None
) -> Conclusion:
    """A decision in words; `chosen` are the laws chosen for each loss, where these have been shown."""
    tests = [wording.test_line(test) for test in decision.tests]
    if decision.status == "not_yet":
        return Conclusion(
            headline=wording.not_yet_line(decision),
            value="",
            facts=[f"reason: {decision.reason}"],
            why=tests,
            warnings=decision.warnings,
            next_title="Train these next (token shares):",
            next_runs=[_mixture(mixture) for mixture in decision.next_runs],
        )
    facts = [f"limited by: {wording.limited_by(decision)}"]
    why = [*tests, wording.question_line(decision)]
    if decision.share_intervals:
        headline, value = "Best mixture", wording.main_shares(decision.shares)
        if decision.critical_ratio is not None:
            facts.insert(0, f"share of target tokens: {wording.ratio_line(decision)}")
        if decision.question.general:
            sets = ", ".join(decision.question.general)
            why.insert(0, f"general loss: {sets} within {decision.question.tolerance:g} nats")
        if decision.regret is not None:
            why.append(f"knowing the losses exactly would gain about {decision.regret:.2g} nats more")
    else:
        headline, value = "Critical ratio", wording.ratio_line(decision)
        facts[0] = f"share of target tokens; {facts[0]}"
        facts.append(f"recommended mix: {wording.shares(decision.shares)}")
    if confirmation is not None:
        facts.append(confirmation_line(confirmation))
    if chosen is not None and set(chosen.values()) - {decision.law}:
        why.append(law_note(decision.law))
    return Conclusion(
        headline=headline,
        value=value,
        facts=facts,
        why=why,
        warnings=decision.warnings,
        next_title="Most informative next runs (token shares; all in --json):",
        next_runs=[_mixture(mixture) for mixture in decision.next_runs],
    )


def confirmation_line(confirmation: Confirmation) -> str:
    """Whether the confirmation run ended where the laws had predicted."""
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
    return f"confirmation run at target share {confirmation.target_share:g}: {ends}, {verdict}"


def law_note(law: str) -> str:
    """Why a decision's law is not the one chosen in the table of laws."""
    return (
        f"the decision uses the {law} law, averaged over the published share forms, not the law marked *: "
        "only these give a turning point and an interval that includes model misfit (docs/laws.md)"
    )


def _mixture(mixture: Mapping[str, float]) -> str:
    return wording.main_shares(mixture) if len(mixture) > 4 else wording.shares(mixture)
