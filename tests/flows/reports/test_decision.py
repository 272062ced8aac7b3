"""A decision on the screen and as Markdown: the answer first, in the same words."""

from __future__ import annotations

import dataclasses
import io
import itertools

import pytest
from rich.console import Console

from flows.pipeline.confirmation import Confirmation
from flows.reports.conclusion import conclude
from flows.reports.decision import print_decision
from mixing.decision import record, wording
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


def safe(**changes: object) -> Decision:
    """What is recommended is the safe share; the best estimate stands beside it."""
    baseline = Baseline("replay 5%", {"web": 0.05, "german": 0.95}, PREDICTED, within=0.02)
    values: dict[str, object] = {
        "shares": {"web": 0.36, "german": 0.64},
        "safe_ratio": 0.64,
        "estimate_shares": {"web": 0.3, "german": 0.7},
        "within": 0.9,
        "baselines": [baseline],
        "next_run_gains": ["the interval narrows from 0.08 to about 0.05"],
    }
    return decided(**{**values, **changes})


def test_the_answer_stands_first_then_losses_baselines_and_next_runs() -> None:
    tests = [
        record.Test("tolerance", 0.7, (0.66, 0.74)),
        record.Test("turning_point", 0.5, (0.2, 0.8), "", False),
    ]
    lines = [line.rstrip() for line in screen_of(safe(tests=tests)).splitlines()]
    top = [
        "Train with at most 0.640 of german (safe at 90%); best estimate 0.700, 90% interval [0.660, 0.740]",
        "  recommended mix: web 0.36, german 0.64",
        "  limited by: the general loss reaches its tolerance",
        "  every tolerance holds with 90% probability",
        "Why",
        "  within the tolerance: up to 0.700 [0.660, 0.740]",
        "  past the turning point: up to 0.500 [0.200, 0.800] (reported only)",
        "  at 200,000,000 tokens, tolerance 0.02 nats, 6 runs, law cmr",
        "warning: few runs",
        "",
        "Losses at the recommended mix: predicted increments, nats per token (intervals of one new run)",
    ]
    assert lines[: len(top)] == top
    rows = [" ".join(line.split()) for line in lines]
    for first, then in itertools.pairwise(
        [
            "web general +0.0200 [0.0100, 0.0300] 0.02",
            "german target -0.3100 [-0.3300, -0.2900]",
            "recommended 0.640 +0.0200 ± 0.0100 -0.3100 ± 0.0200 90%",
            "replay 5% 0.950 +0.0200 ± 0.0100 -0.3100 ± 0.0200 2%",
            "Most informative next runs (token shares):",
            "web 0.35, german 0.65: the interval narrows from 0.08 to about 0.05",
        ]
    ):
        assert rows.index(first) < rows.index(then)


def test_an_answer_at_the_estimate_does_not_call_it_safe() -> None:
    assert screen_of(decided()).startswith("Train with 0.700 of german; critical ratio 0.700, 90% interval")


def test_a_bound_is_a_bound() -> None:
    bound = safe(
        status="bound", shares={"web": 0.3, "german": 0.7}, safe_ratio=0.7, interval=None, binding="bound"
    )
    assert screen_of(bound).startswith("At least 0.700 of german: every trained share keeps the tolerance\n")
    less = safe(status="bound", interval=None, binding="bound")
    assert screen_of(less).startswith(
        "At least 0.700 of german: every trained share keeps the tolerance; train with at most 0.640 (safe at 90%)"
    )


def test_every_protected_and_target_set_has_its_increment() -> None:
    one = PREDICTED["general"]
    question = dataclasses.replace(QUESTION, general={"english": 0.5, "code": 0.5})
    several = safe(question=question, predicted={**PREDICTED, "english": one, "code": one, "math": one})
    rows = [(row.name, row.role, row.tolerance) for row in wording.increments(several)]
    assert rows == [
        ("mean of 2", "general", 0.02),
        ("english", "general", None),
        ("code", "general", None),
        ("german", "target", None),
        ("math", "protected", None),
    ]
    page = several._repr_html_()
    for word in ("english", "code", "math", "within tolerance", "2%", "narrows from 0.08"):
        assert word in screen_of(several)
        assert word in page


def test_not_yet_begins_with_its_reason() -> None:
    reason = "all runs have one mixture, so nothing is known about another"
    refusal = Refusal(reason, [{"web": 0.5, "german": 0.5}])
    decision = refusal.decision(QUESTION, 2, ["few runs"])
    assert screen_of(decision).splitlines() == [
        "Not yet: these runs cannot support a ratio.",
        f"  reason: {reason}",
        "warning: few runs",
        "",
        "Train these next (token shares):",
        "  web 0.5, german 0.5",
        "",
    ]


@pytest.mark.parametrize("width", [40, 80])
def test_long_lines_wrap_under_themselves(width: int) -> None:
    screen = screen_of(decided(warnings=["a doubt of many words, " * 8]), width)
    text = screen[: screen.index("Losses at")].splitlines()
    assert all(len(line) <= width for line in text)
    start = next(n for n, line in enumerate(text) if line.startswith("warning: "))
    assert all(
        line.startswith("  ") for line in text[start + 1 : text.index("", start) - 2] if "Most" not in line
    )


@pytest.mark.parametrize("decision", [decided(), safe(), Refusal("why", []).decision(QUESTION, 2, [])])
def test_terminal_and_markdown_have_the_same_words(decision: Decision) -> None:
    conclusion = conclude(decision)
    page, screen = "\n".join(conclusion.markdown()), screen_of(decision)
    assert page.startswith(f"**{conclusion.answer}**")
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
    badge = "confirmed" if "inside" in verdict else "not confirmed"
    assert facts[-1].startswith(f"{badge}: confirmation run at target share 0.7: general ")
    assert facts[-1].endswith(verdict)


def test_a_confirmation_beyond_the_tolerance_is_said_first() -> None:
    predicted = {"general": (0.0, -0.05, 0.05), "target": (-0.31, -0.33, -0.29)}
    observed = {"general": 0.03, "target": -0.3}
    shown = conclude(decided(), Confirmation("run", 0.7, predicted, observed, beyond=0.01))
    assert shown.answer.startswith(
        "Not confirmed: a run at target share 0.7 ended 0.0100 nats beyond the tolerance."
    )
    assert shown.facts[-1].startswith("beyond the tolerance by 0.0100 nats: ")


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
    estimate = {"web": 0.5, "code": 0.4, "books": 0.1}
    safer = screen_of(dataclasses.replace(decision, estimate_shares=estimate, within=0.93))
    assert safer.splitlines()[:2] == [
        "Best mixture web 0.6, code 0.3, books 0.1 (safe at 90%)",
        "  best estimate: web 0.5, code 0.4, books 0.1",
    ]
    assert "every tolerance holds with 93% probability" in safer
    assert "code 0.300 0.400 [0.250, 0.350]" in " ".join(safer.split())
    assert screen.index("Why") < screen.index("Best mixture of training tokens")
