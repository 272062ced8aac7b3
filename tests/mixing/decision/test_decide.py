"""`decide` from Python: which decider answers, what else it says, another question to the same fits, how it shows."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest
from matplotlib.figure import Figure

from mixing.decision import wording
from mixing.decision.decide import answer_question, decide, weights_of
from mixing.decision.result import Decision
from mixing.errors import InputError, MixlawError
from mixing.runs.table import RunTable
from mixing.test_problems import Landscape
from tests.mixing.decision.critical_ratio.ratio_studies import (
    SHARES,
    TOLERANCE,
    ask,
    at_end,
    four_domains,
    landscape,
    study,
)
from tests.mixing.decision.mixture.swarms import BASE, corners, swarm

ROLES = {"general": "general", "target": "target"}


@pytest.fixture(scope="module")
def runs() -> RunTable:
    return study(landscape("power"))


@pytest.fixture(scope="module")
def decided(runs: RunTable) -> Decision:
    return decide(runs, general="general", target="target", tolerance=TOLERANCE)


@pytest.fixture(scope="module")
def turning() -> RunTable:
    """dL = 0.6 R^2 T^0.5 - 0.15 T: at T = 1 it still rises above R = 0.707, where it is below any loose tolerance."""
    power = landscape("power")
    known = Landscape("turning", lambda r, t: 0.6 * r**2 * t**0.5 - 0.15 * t, power.target, in_family=True)
    return known.study(SHARES, [125_000 * i for i in range(1, 9)], run_sd=1e-4, checkpoint_sd=1e-4)


def repr_of_why(decision: Decision) -> str:
    return "\n".join(wording.reasons(decision))


def test_one_ratio_answers_for_two_sources(runs: RunTable, decided: Decision) -> None:
    assert decided.critical_ratio is not None
    assert decided.share_intervals == {}
    assert decided == answer_question(runs, ask(runs), curves=True)
    for general in (["general"], {"general": 3.0}):
        assert decide(runs, general=general, target="target", tolerance=TOLERANCE) == decided


def test_fixed_proportions_are_one_ratio_and_constraints_a_mixture(few_replicates: None) -> None:
    table = four_domains(varying=False)
    found = decide(table, **ROLES, tolerance=0.02, target_domains=["python", "rust"])
    assert found.critical_ratio is not None
    assert found.law == "ratio"
    # The composition may be given rather than read off the runs.
    question = ask(table, target_domains=("python", "rust"))
    within = {"web": 0.75, "books": 0.25, "python": 0.25, "rust": 0.75}
    given = answer_question(table, question, composition=within)
    assert given.shares == pytest.approx(found.shares)
    mixed = decide(swarm(corners(), base=BASE), **ROLES, max_shares={"code": 0.1})
    assert mixed.shares["code"] <= 0.1 + 1e-6
    assert mixed.share_intervals
    assert mixed.safe_ratio is None


def test_a_swarm_without_base_rows_needs_no_general_loss(few_replicates: None) -> None:
    found = decide(swarm(corners()), target="target")
    assert found.status == "decided"
    assert found.shares["code"] == pytest.approx(1.0, abs=1e-3)


def test_one_ratio_refuses_what_only_a_mixture_answers(runs: RunTable) -> None:
    with pytest.raises(InputError, match="kl, worst_case: for more than two sources"):
        decide(runs, **ROLES, kl=0.1, worst_case=True)


def test_questions_without_a_meaning(runs: RunTable) -> None:
    for changes in ({"confidence": 1.0}, {"level": 0.0}, {"turning_point": "maybe"}, {"tokens": 0}):
        with pytest.raises(InputError, match=next(iter(changes))):
            decide(runs, general="general", target="target", **changes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="named twice"):
        weights_of(["a", "a"], "target")


def test_the_safe_ratio_is_a_quantile_of_the_same_draws(runs: RunTable, decided: Decision) -> None:
    assert decided.safe_ratio is not None
    assert decided.interval is not None
    assert decided.critical_ratio is not None
    assert decided.interval[0] <= decided.safe_ratio <= decided.critical_ratio
    assert decided.shares["target"] == decided.safe_ratio
    assert decided.within == pytest.approx(decided.question.confidence, abs=0.01)
    # At 95% it is the lower end of the 90% interval; what is said of the best estimate stays.
    surer = decide(runs, **ROLES, tolerance=TOLERANCE, confidence=0.95)
    assert surer.safe_ratio == pytest.approx(decided.interval[0])
    of_the_safe_mix = {
        name: getattr(decided, name) for name in ("safe_ratio", "shares", "predicted", "within", "question")
    }
    assert replace(surer, **of_the_safe_mix) == decided


def test_the_turning_point_binds_or_is_reported_or_left_out(turning: RunTable) -> None:
    required, reported, off = (
        decide(turning, **ROLES, tolerance=1.0, turning_point=mode)  # type: ignore[arg-type]
        for mode in ("require", "report", "off")
    )
    assert required.binding == "turning_point"
    assert required.critical_ratio == pytest.approx(0.707, abs=0.02)
    assert reported.binding == off.binding == "bound"
    assert reported.critical_ratio == off.critical_ratio
    assert reported.tests[1].critical_ratio == required.tests[1].critical_ratio
    assert [test.binds for test in required.tests] == [True, True]
    assert [test.binds for test in reported.tests] == [True, False]
    assert "reported only" in repr_of_why(reported)
    assert "reported only" not in repr_of_why(required)
    assert [test.name for test in off.tests] == ["tolerance"]
    assert off.critical_times == {}


def test_a_reason_is_a_field() -> None:
    refused = decide(at_end([0.5, 0.7]), **ROLES)
    assert refused.reason is not None
    assert refused.reason.startswith("the ratio law has three parameters")
    assert not any(refused.reason in warning for warning in refused.warnings)
    assert decide(at_end([0.2, 0.4, 0.6, 0.8]), **ROLES, tolerance=TOLERANCE).reason is None


def test_predictions_have_the_name_of_a_single_validation_set() -> None:
    table = at_end([0.2, 0.4, 0.6, 0.8])
    renamed = table.rows.with_columns(pl.col("eval").replace("target", "german"))
    found = decide(
        RunTable(renamed, "t.csv"),
        general="general",
        target="german",
        tolerance=0.02,
        target_domains="target",
    )
    assert found.predicted["german"] is found.predicted["target"]
    assert list(found.by_role) == ["general", "target"]
    assert found.to_dict()["predicted"]["german"]["increment"] == found.predicted["german"].increment


def test_another_question_to_the_same_fits(runs: RunTable, decided: Decision) -> None:
    for changes in (
        {"tolerance": 0.05},
        {"level": 0.5},
        {"confidence": 0.6},
        {"tolerance": 0.0, "level": 0.8},
    ):
        asked = decided.ask(**changes)  # type: ignore[arg-type]
        again = decide(runs, **ROLES, **({"tolerance": TOLERANCE} | changes))  # type: ignore[arg-type]
        assert asked.to_dict() == again.to_dict()
        assert asked.ratio_curves == again.ratio_curves
        assert asked.question == again.question
    assert decided.ask(tolerance=0.05).ask(tolerance=TOLERANCE).critical_ratio == decided.critical_ratio
    with pytest.raises(InputError, match="tolerance -1"):
        decided.ask(tolerance=-1)


def test_a_refusal_can_be_asked_to_allow_more(runs: RunTable) -> None:
    table = at_end([0.5, 0.7, 0.9])
    up = table.rows.with_columns(
        loss=pl.col("loss") + ((pl.col("eval") == "general") & (pl.col("tokens") > 0)).cast(pl.Float64)
    )
    refused = decide(RunTable(up, "t.csv"), **ROLES)
    assert refused.status == "not_yet"
    assert refused.ask(tolerance=1.02).status == "decided"


def test_a_mixture_can_be_asked_again(few_replicates: None) -> None:
    table = swarm(corners(), base=BASE)
    first = answer_question(table, ask(table, tolerance=0.0), law="linear")
    again = answer_question(table, ask(table, tolerance=0.05), law="linear")
    assert first.ask(tolerance=0.05).to_dict() == again.to_dict()


def test_a_decision_from_a_file_remembers_no_fits(decided: Decision) -> None:
    with pytest.raises(MixlawError, match="no fits to ask"):
        replace(decided).ask(tolerance=0.05)


def test_a_decision_shows_itself(decided: Decision) -> None:
    text = repr(decided)
    assert text.startswith("Train with ")
    assert wording.ratio_line(decided) in text.splitlines()[0]
    assert "limited by: the general loss reaches its tolerance" in text
    assert len(text.splitlines()) < 10
    page = decided._repr_html_()
    for words in (wording.answer_line(decided), "Why", "within the tolerance", "replay 5%", "limited by"):
        assert words in page
    assert isinstance(decided.plot(), Figure)
    spec = decided.to_spec("mix", total_tokens=2e9)
    assert spec.total_tokens == 2_000_000_000
    assert spec.stages[0].shares == pytest.approx(decided.shares)
    assert list(spec.decision.predicted) == ["general", "target"]  # type: ignore[union-attr]
    json.dumps(decided.to_dict(), allow_nan=False)


def test_a_refusal_shows_its_reason() -> None:
    refused = decide(at_end([0.5, 0.7]), **ROLES)
    assert repr(refused).startswith("Not yet: the ratio law has three parameters")
    assert "train next: general 0.75, target 0.25" in repr(refused)
    assert "Not yet: these runs cannot support a ratio." in refused._repr_html_()
    with pytest.raises(MixlawError, match="there is no mix"):
        refused.to_spec("mix")
    with pytest.raises(MixlawError, match="nothing to draw"):
        refused.plot()


def test_names_are_escaped_in_notebooks(few_replicates: None) -> None:
    table = swarm(corners(), base=BASE, domains=("web", "<b>code</b>", "books"))
    page = decide(table, **ROLES)._repr_html_()
    assert "<b>code</b>" not in page
    assert "&lt;b&gt;code&lt;/b&gt;" in page


def test_a_size_asked_of_a_table_without_sizes_is_refused(runs: RunTable) -> None:
    with pytest.raises(InputError, match=r"params 7: .* names no model sizes"):
        decide(runs, **ROLES, params=7)


def test_what_is_not_predicted_is_named(decided: Decision) -> None:
    with pytest.raises(InputError, match=r"nothing is predicted of 'nope'\. Predicted are: general, target"):
        decided.predicted["nope"]
    assert decided.predicted.get("nope") is None


def test_a_mix_spec_has_a_name(decided: Decision) -> None:
    for name in ("", "  "):
        with pytest.raises(InputError, match="the mix spec has no name"):
            decided.to_spec(name)


def test_natural_shares_may_be_numbers_of_tokens(runs: RunTable) -> None:
    def natural(prior: dict[str, float]) -> dict[str, float]:
        answer = decide(runs, **ROLES, tolerance=TOLERANCE, prior=prior)
        return next(b.shares for b in answer.baselines if b.name == "natural shares")

    assert natural({"general": 3e9, "target": 1e9}) == natural({"general": 0.75, "target": 0.25})
    with pytest.raises(InputError, match="prior: no share of target"):
        decide(runs, **ROLES, prior={"general": 1.0})
    with pytest.raises(InputError, match=r"max_shares target=1\.2: not a share"):
        decide(runs, **ROLES, max_shares={"target": 1.2})
