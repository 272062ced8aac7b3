"""A decision on the screen and as Markdown: the answer first, in the same words."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from flows.pipeline.confirmation import Confirmation
from flows.reports.conclusion import conclude
from flows.reports.decision import print_decision
from mixing.decision import record
from mixing.decision.question import Question
from mixing.decision.record import Baseline, Prediction
from mixing.decision.refusals import Refusal
from mixing.decision.result import Decision

QUESTION = Question({"web": 1.0}, {"german": 1.0}, ("german",), tolerance=0.02, tokens=200_000_000)
PREDICTED = {
    "general": Prediction(2.87, (2.86, 2.88), 0.02),
    "target": Prediction(2.51, (2.49, 2.53), -0.31),
}


def decided(**changes: object) -> Decision:
    decision = Decision(
        question=QUESTION,
        status="decided",
        shares={"web": 0.3, "german": 0.7},
        critical_ratio=0.7,
        interval=(0.66, 0.74),
        binding="tolerance",
        law="cmr",
        n_runs=6,
        predicted=PREDICTED,
        baselines=[Baseline("replay 5%", {"web": 0.05, "german": 0.95}, PREDICTED)],
        tests=[record.Test("tolerance", 0.7, (0.66, 0.74)), record.Test("turning_point", None, None)],
        next_runs=[{"web": 0.35, "german": 0.65}],
        warnings=["few runs"],
    )
    return dataclasses.replace(decision, **changes)  # type: ignore[arg-type]


def screen_of(decision: Decision, width: int = 120) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    print_decision(decision, console)
    return console.export_text()


def test_the_answer_stands_first_and_tables_last() -> None:
    lines = [
        "Critical ratio 0.700, 90% interval [0.660, 0.740]",
        "  share of target tokens; limited by: the general loss reaches its tolerance",
        "  recommended mix: web 0.3, german 0.7",
        "Why",
        "  within the tolerance: up to 0.700 [0.660, 0.740]",
        "  past the turning point: no share passes",
        "  at 200,000,000 tokens, tolerance 0.02 nats, 6 runs, law cmr",
        "warning: few runs",
        "Most informative next runs (token shares; all in --json):",
        "  web 0.35, german 0.65",
        "",
        "Compared with common baselines: predicted increments, nats per token (±: of one new run)",
    ]
    assert [line.rstrip() for line in screen_of(decided()).splitlines()][: len(lines)] == lines


def test_not_yet_begins_with_its_reason() -> None:
    reason = "all runs have one mixture, so nothing is known about another"
    refusal = Refusal(reason, [{"web": 0.5, "german": 0.5}])
    decision = refusal.decision(QUESTION, 2, ["few runs"])
    assert screen_of(decision).splitlines() == [
        "Not yet: these runs cannot support a ratio.",
        f"  reason: {reason}",
        "warning: few runs",
        "Train these next (token shares):",
        "  web 0.5, german 0.5",
        "",
    ]


@pytest.mark.parametrize("width", [40, 80])
def test_long_lines_wrap_under_themselves(width: int) -> None:
    screen = screen_of(decided(warnings=["a doubt of many words, " * 8]), width)
    text = screen[: screen.index("Compared with")].splitlines()
    assert all(len(line) <= width for line in text)
    start = next(n for n, line in enumerate(text) if line.startswith("warning: "))
    assert all(
        line.startswith("  ") for line in text[start + 1 : text.index("", start) - 2] if "Most" not in line
    )


@pytest.mark.parametrize("decision", [decided(), Refusal("why", []).decision(QUESTION, 2, [])])
def test_terminal_and_markdown_have_the_same_words(decision: Decision) -> None:
    conclusion = conclude(decision)
    page, screen = "\n".join(conclusion.markdown()), screen_of(decision)
    assert page.startswith(f"**{conclusion.headline}")
    assert page.split("\n\n")[1].replace("  ", "").splitlines() == conclusion.facts
    for line in [*conclusion.facts, *conclusion.why, *conclusion.warnings, *conclusion.next_runs]:
        assert line in page
        assert line in screen


@pytest.mark.parametrize(
    ("observed", "verdict"),
    [
        (
            {"general": 0.01, "target": -0.3},
            "general +0.0100 and target -0.3000, inside the predicted intervals",
        ),
        ({"general": 0.10, "target": -0.3}, "general outside the predicted interval"),
        ({"general": 0.10, "target": -0.1}, ", outside the predicted intervals"),
    ],
)
def test_the_confirmation_is_one_line(observed: dict[str, float], verdict: str) -> None:
    predicted = {"general": (0.0, -0.05, 0.05), "target": (-0.31, -0.33, -0.29)}
    facts = conclude(decided(), Confirmation("run", 0.7, predicted, observed)).facts
    assert facts[-1].startswith("confirmation run at target share 0.7: general ")
    assert facts[-1].endswith(verdict)


def test_another_law_than_the_chosen_one_is_explained() -> None:
    assert not any("marked *" in line for line in conclude(decided(), chosen={"general": "cmr"}).why)
    assert "the cmr law" in conclude(decided(), chosen={"general": "blend"}).why[-1]


def test_a_mixture_of_many_is_its_largest_shares() -> None:
    mixture = {"web": 0.6, "code": 0.3, "books": 0.1}
    decision = decided(
        critical_ratio=None,
        interval=None,
        shares=mixture,
        share_intervals={name: (share - 0.05, share + 0.05) for name, share in mixture.items()},
        limits=["general loss at its tolerance"],
        regret=0.0012,
        next_runs=[],
    )
    screen = screen_of(decision)
    assert screen.splitlines()[:2] == [
        "Best mixture web 0.6, code 0.3, books 0.1",
        "  limited by: general loss at its tolerance",
    ]
    assert "knowing the losses exactly would gain about 0.0012 nats more" in screen
    assert screen.index("Why") < screen.index("Best mixture of training tokens")
