from __future__ import annotations

import pytest

from mixing.decision.clean_text import Leaked, against_clean_text
from mixing.decision.question import Question
from mixing.decision.record import Prediction
from mixing.decision.result import Decision
from mixing.runs.clean_twins import CleanTwin


def decision(increment: float = 0.01, code: float = 0.0) -> Decision:
    def predicted(over_base: float) -> Prediction:
        return Prediction(3 + over_base, (2.99 + over_base, 3.01 + over_base), over_base)

    return Decision(
        question=Question({"web": 0.5, "news": 0.5}, {"german": 1.0}, ("german",), 0.02, 1000),
        status="decided",
        shares={"web": 0.5, "german": 0.5},
        critical_ratio=0.6,
        interval=(0.5, 0.7),
        binding="tolerance",
        law="curves",
        n_runs=6,
        predicted={"general": predicted(increment), "target": predicted(-0.2), "code": predicted(code)},
        baselines=[],
        warnings=["first"],
        protect={"code": 0.01},
    )


def twin(name: str, gap: float, stderr: float = 0.005) -> CleanTwin:
    return CleanTwin("r5", name, 1000, 0.01, 0.01 + gap, stderr)


def test_without_leaks_the_decision_is_the_same() -> None:
    before = decision()
    leaked = {"web": Leaked(0.04, 0), "german": Leaked(0, 0)}
    assert against_clean_text(before, [twin("web", 0.009)], leaked) is before
    assert against_clean_text(before, [twin("web", 0.011)], leaked) is not before


def test_a_leak_that_changes_nothing_is_a_warning() -> None:
    answer = against_clean_text(
        decision(), [twin("web", 0.012)], {"web": Leaked(0.36, 2e6), "german": Leaked(0, 0)}
    )
    assert answer.shares == {"web": 0.5, "german": 0.5}
    first, said = answer.warnings
    assert first == "first"
    assert said == (
        "web: 36.0% of its documents have a near-duplicate in training text (2M tokens of the run); run r5: +0.0100 "
        "nats on all documents, +0.0220 on the clean ones (difference +0.0120, standard error 0.0050)"
    )


def test_a_tolerance_that_only_near_duplicates_keep_is_no_answer() -> None:
    # Half the general loss is web's: .01 + .5 x .2 is far beyond .02.
    answer = against_clean_text(decision(), [twin("web", 0.2)], {"web": Leaked(0.36, 0)})
    assert (answer.status, answer.shares, answer.critical_ratio) == ("not_yet", {}, None)
    assert answer.reason is not None
    assert "general loss is predicted +0.1100 nats above the base" in answer.reason
    assert "remove the near-duplicates" in answer.reason
    assert len(answer.warnings) == 2


@pytest.mark.parametrize(
    "twins",
    [
        [twin("web", 0.2, 0.15)],  # no more than luck
        [twin("web", -0.2)],  # cleaner text forgets less
        [twin("german", 0.2)],  # the target has no tolerance
        [],
    ],
)
def test_what_keeps_the_tolerance_on_clean_text_stays_an_answer(twins: list[CleanTwin]) -> None:
    answer = against_clean_text(decision(), twins, {"web": Leaked(0.36, 0), "german": Leaked(0.36, 0)})
    assert answer.status == "decided"
    assert len(answer.warnings) == 3


def test_a_protected_set_counts_by_its_own_tolerance() -> None:
    answer = against_clean_text(decision(), [twin("code", 0.05)], {"code": Leaked(0.1, 0)})
    assert answer.reason is not None
    assert answer.reason.startswith("code loss is predicted +0.0500 nats")


def test_a_leak_without_clean_documents_says_so() -> None:
    answer = against_clean_text(decision(), [], {"web": Leaked(1, 0)})
    assert answer.warnings[-1].endswith(
        "too few are clean, or were measured, to tell what that does to its loss"
    )
