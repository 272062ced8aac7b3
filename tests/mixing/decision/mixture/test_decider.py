"""The decision with more than two sources: known optima, limits that bind, and tables of any numbers."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from mixing.decision.baselines import tempered, unimax
from mixing.decision.constraints import Constraints
from mixing.decision.decide import single_ratio
from mixing.decision.mixture import loss_models as source_models
from mixing.decision.mixture import slices
from mixing.decision.mixture.decider import decide_mixture
from mixing.decision.mixture.problem import outside_hull
from mixing.decision.question import make_question
from mixing.errors import InputError
from mixing.runs.budgets import usual_budget_of
from mixing.runs.table import RunTable, make_table
from tests.mixing.decision.mixture.swarms import BASE, DOMAINS, LINEAR, Losses, corners, decide, drawn, swarm

pytestmark = pytest.mark.usefixtures("few_replicates")


def test_tolerance_binds_at_the_vertex_of_the_linear_programme() -> None:
    # max 0.5 c + 0.1 b with 0.4 c + 0.2 b <= 0.1: code is worth 1.25 of target per nat, books 0.5.
    found = decide(swarm(corners(), base=BASE), target_domains=("code",))
    assert found.status == "decided"
    assert found.shares == pytest.approx({"web": 0.75, "code": 0.25, "books": 0.0}, abs=2e-3)
    assert found.binding == "tolerance"
    assert found.limits[0] == "general loss at its tolerance"
    assert found.critical_ratio == pytest.approx(0.25, abs=2e-3)
    assert found.interval is not None
    assert found.interval[0] <= 0.25 <= found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.01
    assert found.predicted["general"].increment == pytest.approx(0.0, abs=1e-3)
    low, high = found.share_intervals["code"]
    assert low <= found.shares["code"] <= high
    assert found.regret is not None
    assert 0 <= found.regret < 1e-3


def test_front_trades_general_for_target() -> None:
    found = decide(swarm(corners(), base=BASE))
    general = [p.general.increment for p in found.front]
    target = [p.target.increment for p in found.front]
    assert len(found.front) > 5
    assert general == sorted(general)
    assert target == sorted(target, reverse=True)
    assert general[0] == pytest.approx(-0.1, abs=2e-3)
    assert target[-1] == pytest.approx(-0.5, abs=2e-3)
    for point in found.front:
        assert point.target.increment == pytest.approx(-1.25 * (point.general.increment + 0.1), abs=3e-3)
        assert point.general.interval[0] <= point.general.loss <= point.general.interval[1]


def test_bounds_caps_and_frozen_parts_bind() -> None:
    table = swarm(corners(), base=BASE)
    found = decide(table, Constraints(max_shares={"code": 0.1}))
    assert found.shares["code"] == pytest.approx(0.1, abs=1e-6)
    assert found.binding == "tolerance"
    assert "code at its bound (0.1)" in found.limits
    found = decide(table, Constraints(max_shares={"code": 0.1}), tolerance=1.0)
    assert found.binding == "bound"
    supply = {"web": 1e6, "code": 50.0, "books": 50.0}
    found = decide(table, Constraints(supply=supply), tolerance=1.0)
    assert found.binding == "repetition"
    assert found.shares["code"] == pytest.approx(0.2, abs=1e-6)
    names = [b.name for b in found.baselines]
    assert {"natural shares", "uniform", "UniMax", "temperature 0.3"} < set(names)
    frozen = Constraints(freeze=(("web", "books"),), prior={"web": 1, "books": 1, "code": 2})
    # Half web, half books is exactly at the tolerance of 0: by luck within it as often as not.
    assert decide(table, frozen).status == "not_yet"
    found = decide(table, frozen, tolerance=0.02)
    assert found.shares["web"] == pytest.approx(found.shares["books"], abs=1e-6)


def test_a_prior_pulls() -> None:
    prior = {"web": 0.2, "code": 0.2, "books": 0.6}
    found = decide(swarm(corners()), Constraints(prior=prior, kl=100.0), general=None)
    assert found.shares == pytest.approx(prior, abs=1e-2)
    assert found.binding == "none"


def test_a_tolerance_without_base_rows_is_refused() -> None:
    prior = {"web": 0.8, "code": 0.2, "books": 0.0}
    for constraints, general in (
        (Constraints(prior=prior), "general"),
        (Constraints(protect={"general": 0.02}), None),
    ):
        refused = decide(swarm(corners()), constraints, general=general)
        assert refused.status == "not_yet"
        assert refused.reason is not None
        assert refused.reason.startswith("no base rows (tokens 0) for general")
        assert not refused.shares
    found = decide(swarm(corners()), Constraints(prior=prior), general=None)
    assert found.critical_ratio is None
    assert found.interval is None
    assert found.within is None


def test_nothing_to_protect_is_plain_minimisation() -> None:
    found = decide(swarm(corners()), general=None)
    assert found.shares["code"] == pytest.approx(1.0, abs=1e-6)
    assert set(found.predicted) == {"target"}
    assert found.front == []


def test_single_losses_are_protected_and_the_worst_target_counts() -> None:
    losses: Losses = {
        "a": lambda p: 2.0 - p[0],
        "b": lambda p: 2.0 - 0.5 * p[1],
        "keep": lambda p: 1.0 + 0.1 * p[1],
    }
    table = swarm(corners(), losses, base={"a": 2.0, "b": 2.0, "keep": 1.0})
    question = make_question(table, {}, {"a": 1.0, "b": 1.0})
    found = decide_mixture(table, question, Constraints(worst_case=True), law="linear")
    assert found.shares == pytest.approx({"web": 1 / 3, "code": 2 / 3, "books": 0.0}, abs=3e-3)
    found = decide_mixture(
        table, question, Constraints(worst_case=True, protect={"keep": 0.03}), law="linear"
    )
    assert found.shares["code"] == pytest.approx(0.3, abs=5e-3)
    assert found.binding == "tolerance"
    assert found.limits[0] == "keep loss at its tolerance"


def test_a_domain_that_never_varied_stays() -> None:
    mixtures = np.array([[0.2, 0.5, 0.3], [0.5, 0.2, 0.3], [0.4, 0.3, 0.3], [0.1, 0.6, 0.3], [0.6, 0.1, 0.3]])
    found = decide(swarm(mixtures), general=None)
    assert found.shares["books"] == pytest.approx(0.3, abs=1e-6)
    assert any("books never varied" in w for w in found.warnings)


def test_the_end_of_the_trained_range_is_said() -> None:
    mixtures = 0.2 + 0.4 * corners()
    found = decide(swarm(mixtures), general=None)
    assert found.binding == "bound"
    assert found.shares["code"] == pytest.approx(0.6, abs=1e-6)
    assert any("code" in w and "end of the trained range" in w for w in found.warnings)


def test_scales_do_not_matter() -> None:
    small = decide(
        swarm(
            corners(),
            {n: (lambda p, f=f: 1e-3 * f(p)) for n, f in LINEAR.items()},
            noise=1e-7,
            base={n: v / 1e3 for n, v in BASE.items()},
        )
    )  # type: ignore[misc]
    large = decide(
        swarm(
            corners(),
            {n: (lambda p, f=f: 1e5 * f(p)) for n, f in LINEAR.items()},
            noise=10,
            base={n: v * 1e5 for n, v in BASE.items()},
        )
    )  # type: ignore[misc]
    for found in (small, large):
        assert found.status == "decided"
        assert found.shares["code"] == pytest.approx(0.25, abs=5e-3)


def test_duplicated_rows_and_infinite_losses_change_nothing_else() -> None:
    table = swarm(corners(), base=BASE)
    twice = make_table(pl.concat([table.rows, table.rows]), "t.csv")
    found = decide(twice)
    assert found.shares == decide(table).shares
    assert "repeated rows dropped" in found.warnings[0]
    broken = table.rows.with_columns(
        loss=pl.when(pl.col("run") == "r3").then(float("inf")).otherwise(pl.col("loss"))
    )
    found = decide(make_table(broken, "t.csv"))
    assert found.shares == decide(table.without({"r3"})).shares
    assert "without a finite loss dropped (run r3)" in found.warnings[0]


def test_json_is_that_of_interfaces_and_more() -> None:
    found = json.loads(json.dumps(decide(swarm(corners(), base=BASE), target_domains=("code",)).to_dict()))
    assert found["critical_ratio"] == pytest.approx(0.25, abs=2e-3)
    assert set(found["predicted"]) == {"general", "target"}
    assert set(found["share_intervals"]) == set(DOMAINS)
    assert set(found["front"][0]) == {"shares", "general", "target"}
    assert {"shares", "interval", "level", "binding", "law", "n_runs", "baselines", "warnings"} < set(found)


def test_same_seed_same_answer() -> None:
    table = swarm(corners(), base=BASE, noise=0.01)
    assert decide(table) == decide(table)


def test_which_tables_one_ratio_describes() -> None:
    fixed = np.array([[(1 - r) * 0.7, r, (1 - r) * 0.3] for r in (0.2, 0.5, 0.8)])
    table = swarm(fixed, base=BASE)
    assert single_ratio(table, make_question(table, {"general": 1}, {"target": 1}, ("code",)))
    table = swarm(corners(), base=BASE)
    assert not single_ratio(table, make_question(table, {"general": 1}, {"target": 1}, ("code",)))
    assert not single_ratio(table, make_question(table, {}, {"target": 1}))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_finite_table_gives_an_answer_on_the_simplex(data: st.DataObject) -> None:
    source_models.REPLICATES = 10
    runs = data.draw(st.integers(1, 8))
    part = st.floats(0, 1).map(lambda s: 0.0 if s < 1e-3 else s)
    value = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 1e-9]))
    mixtures = np.array([data.draw(st.lists(part, min_size=3, max_size=3)) for _ in range(runs)])
    mixtures = np.where(mixtures.sum(1, keepdims=True) > 0, mixtures, 1.0)
    mixtures /= mixtures.sum(1, keepdims=True)
    values = {n: [data.draw(value) for _ in range(runs)] for n in ("general", "target")}
    rows = [
        {"run": f"r{r}", **{f"share.{d}": s for d, s in zip(DOMAINS, mixtures[r], strict=True)}}
        | {"tokens": 1000, "eval": name, "loss": values[name][r]}
        for r in range(runs)
        for name in values
    ]
    table = make_table(pl.DataFrame(rows), "t.csv")
    limits = Constraints(max_shares={"web": data.draw(st.floats(0.7, 1))})
    try:
        found = decide(
            table,
            limits,
            tolerance=data.draw(st.floats(0, 1)),
            law=data.draw(st.sampled_from(["linear", "linear", "auto"])),
        )
    except InputError as error:
        refusal = error  # e.g. all runs above the cap
    else:
        refusal = None
    if refusal is not None:
        assert refusal.hint
        return
    json.dumps(found.to_dict())
    if found.status == "decided":
        assert math.fsum(found.shares.values()) == pytest.approx(1, abs=1e-9)
        assert all(0 <= share <= 1 for share in found.shares.values())
        assert found.shares["web"] <= limits.max_shares["web"] + 1e-5
        low, high = mixtures.min(0), mixtures.max(0)
        found_d = np.array([found.shares[d] for d in DOMAINS])
        assert (found_d >= low - 1e-5).all()
        assert (found_d <= high + 1e-5).all()
    else:
        assert found.reason


def test_usual_mixtures() -> None:
    assert unimax({"a": 10, "b": 100, "c": 1000}, 300, dict.fromkeys("abc", 2)) == pytest.approx(
        {"a": 20 / 300, "b": 140 / 300, "c": 140 / 300}
    )
    assert tempered({"a": 0.5, "b": 0.5, "c": 0.0}) == {"a": 0.5, "b": 0.5, "c": 0.0}


def test_outside_the_hull() -> None:
    trained = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    assert outside_hull(np.array([0.25, 0.5, 0.25]), trained) == pytest.approx(0, abs=1e-9)
    assert outside_hull(np.array([1.0, 0.0, 0.0]), trained) == pytest.approx(0.5)


def test_most_runs_decide_the_budget() -> None:
    table = swarm(corners(), base=BASE)
    longer = table.rows.filter(pl.col("run") == "r4").with_columns(tokens=pl.lit(5000, dtype=pl.Int64))
    both = RunTable(pl.concat([table.rows, longer]), "t.csv")
    assert usual_budget_of(both.trained) == 1000
    found = decide(both, tokens=3000)
    assert found.n_runs == 15
    assert any("the laws know 1,000 tokens" in w for w in found.warnings)


def test_past_the_trained_budget_laws_of_tokens_answer() -> None:
    """The general loss falls with tokens, so that more code is within the tolerance at twice the budget."""

    def general(code: float, tokens: float) -> float:
        return 2.7 + 0.3 * math.exp(1.2 * code) + 0.2 * math.exp(2 * code) * tokens**-0.3

    rng = np.random.default_rng(2)
    rows: list[dict[str, Any]] = [
        {"run": "base", "tokens": 0, "eval": name, "loss": 3.0} for name in ("general", "target")
    ]
    for r, mix in enumerate(np.concatenate([corners(), drawn(8, seed=5)])):
        for tokens in (100, 200, 400, 600, 800, 1000):
            target = 2.0 + 0.3 * math.exp(-2 * mix[1]) + 0.3 * (tokens / 1000) ** -0.3
            for name, loss in (("general", general(mix[1], tokens / 1000)), ("target", target)):
                shares = {f"share.{d}": float(s) for d, s in zip(DOMAINS, mix, strict=True)}
                noisy = loss + 1e-4 * rng.standard_normal()
                rows.append({"run": f"r{r}", **shares, "tokens": tokens, "eval": name, "loss": noisy})
    table = make_table(pl.DataFrame(rows, infer_schema_length=None), "long.csv")
    for times in (1.0, 2.0):
        found = decide(table, law="exponential", tolerance=0.6, tokens=round(1000 * times))
        assert found.status == "decided"
        truth = brentq(lambda code, t=times: general(code, t) - 3.6, 0, 1)  # type: ignore[misc]
        assert found.shares["code"] == pytest.approx(truth, abs=0.02)
    far = decide(table, law="exponential", tolerance=0.6, tokens=2500)
    assert any("2.5 times the trained one: extrapolated" in w for w in far.warnings)


def test_laws_that_tie_share_the_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    table = swarm(drawn(14), noise=0.02)
    question = make_question(table, {}, {"target": 1.0})
    data = slices.slice_runs(table, question, {"target": question.target})
    few = {n: source_models.LAWS[n] for n in ("constant", "linear", "log-linear", "scheffe")}
    monkeypatch.setattr(source_models, "LAWS", few)
    model = source_models.fit_losses(data, "auto", np.random.default_rng(0)).models["target"]
    assert isinstance(model, source_models.MixedModel)
    assert model.count == 41
    at = drawn(3, seed=9)
    values, slopes = model.losses(at), model.gradients(at)
    assert values.shape == (41, 3)
    for b in (0, 1, 2, 40):
        assert np.allclose(model.replicate(b).losses(at)[0], values[b])
        assert np.allclose(model.replicate(b).gradients(at)[0], slopes[b])
    assert len({type(model.replicate(b).solution.law) for b in range(1, 6)}) > 1  # type: ignore[attr-defined]
