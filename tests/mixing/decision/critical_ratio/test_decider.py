"""The critical ratio: known answers, honest intervals, what is printed, and tables of any numbers."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixing.arrays import Floats
from mixing.decision.constraints import Constraints
from mixing.decision.critical_ratio import loss_surface as surface_module
from mixing.decision.critical_ratio.decider import decide_ratio
from mixing.decision.critical_ratio.feasibility import GRID, largest_passing
from mixing.decision.question import make_question
from mixing.decision.result import Decision
from mixing.errors import MixlawError
from mixing.fitting.engine import Solution, fit, refit
from mixing.laws import CMR, RATIO
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable, make_table
from mixing.test_problems import LANDSCAPES, Landscape
from tests.mixing.decision.critical_ratio.ratio_studies import (
    BUDGETS,
    SHARES,
    TOLERANCE,
    ask,
    at_end,
    landscape,
    study,
)
from tests.scenarios.tiny_study import ROOT

SEEDS = range(5)


@pytest.fixture(scope="module")
def decided() -> Decision:
    table = study(landscape("power"))
    return decide_ratio(table, ask(table))


@pytest.fixture(scope="module", params=LANDSCAPES, ids=lambda known: known.name)
def drawn(request: pytest.FixtureRequest) -> tuple[Landscape, float, list[Decision]]:
    """A landscape, its true critical ratio, and the decisions of five studies of it with small noise."""
    known: Landscape = request.param
    tables_s = [study(known, seed) for seed in SEEDS]
    decisions = [
        decide_ratio(table, ask(table), seed=seed, curves=False) for seed, table in enumerate(tables_s)
    ]
    truth = known.critical_ratio(TOLERANCE, BUDGETS[-1])
    assert SHARES[0] < truth < SHARES[-1]
    return known, truth, decisions


def test_known_answers(drawn: tuple[Landscape, float, list[Decision]]) -> None:
    known, truth, decisions = drawn
    # One run scatters by 7e-4 nats at its last checkpoint. Divided by the slope of the general loss there (nats per
    # unit of share) that is 0.001 to 0.002 of share; three times that, and 0.01 more where the law is not the form
    # that made the losses.
    at = np.array([truth - 1e-3, truth + 1e-3])
    rise = np.diff(known.general(at, np.ones(2)))[0] / 2e-3
    allowed = 3 * 7.1e-4 / rise + (0.0 if known.in_family else 0.01)
    for found in decisions:
        assert found.status == "decided"
        assert found.binding == "tolerance"
        assert found.critical_ratio == pytest.approx(truth, abs=allowed)
        assert found.interval is not None
        low, high = found.interval
        assert low <= found.critical_ratio <= high
        assert high - low < 0.06


def test_intervals_hold_the_truth(drawn: tuple[Landscape, float, list[Decision]]) -> None:
    _, truth, decisions = drawn
    held = sum(d.interval is not None and d.interval[0] <= truth <= d.interval[1] for d in decisions)
    # Of five honest 90 % intervals at least three hold the truth with probability 0.99.
    assert held >= 3


def test_more_tolerance_never_means_less_target() -> None:
    table = study(landscape("power"))
    found = [
        decide_ratio(table, ask(table, tolerance=t), curves=False).critical_ratio for t in (0.0, 0.01, 0.03)
    ]
    assert None not in found
    assert found == sorted(found)  # type: ignore[type-var]


def test_the_same_seed_gives_the_same_answer(decided: Decision) -> None:
    table = study(landscape("power"))
    again = decide_ratio(table, ask(table))
    assert asdict(again) == asdict(decided)
    other = decide_ratio(table, ask(table), seed=1)
    assert other.critical_ratio == decided.critical_ratio
    assert other.interval != decided.interval


def numbers(found: Any) -> Iterator[float]:
    if isinstance(found, dict):
        for value in found.values():
            yield from numbers(value)
    elif isinstance(found, list | tuple):
        for value in found:
            yield from numbers(value)
    elif isinstance(found, float):
        yield found


def test_the_json_is_that_of_the_interface(decided: Decision) -> None:
    out = decided.to_dict()
    assert set(out) >= {
        "shares", "critical_ratio", "interval", "level", "binding", "law", "n_runs", "predicted", "baselines",
        "warnings",
    }  # fmt: skip
    assert json.loads(json.dumps(out, allow_nan=False)).keys() == out.keys()
    assert all(map(math.isfinite, numbers(asdict(decided))))
    assert set(out["shares"]) == {"general", "target"}
    assert sum(out["shares"].values()) == pytest.approx(1)
    assert out["shares"]["target"] == out["safe_ratio"]
    assert out["estimate_shares"]["target"] == out["critical_ratio"]
    assert out["level"] == 0.9
    assert out["n_runs"] == len(SHARES)
    for predicted in [out["predicted"], *(b["predicted"] for b in out["baselines"])]:
        assert set(predicted) == {"general", "target"}
        for name, base in (("general", 3.0), ("target", 2.0)):
            one = predicted[name]
            assert set(one) == {"loss", "interval", "increment", "increment_interval"}
            assert one["loss"] == pytest.approx(base + one["increment"])
            assert one["interval"][0] <= one["loss"] <= one["interval"][1]
    assert out["predicted"]["general"]["increment"] == pytest.approx(TOLERANCE, abs=1e-3)
    assert {"replay 0%", "replay 5%", "replay 25%"} <= {b["name"] for b in out["baselines"]}


def test_the_curves_hold_the_answer(decided: Decision) -> None:
    assert decided.critical_ratio is not None
    for curve in (*decided.ratio_curves.values(), decided.cmr_curve):
        assert all(p.low <= p.value <= p.high for p in curve)
        assert [p.x for p in curve] == sorted(p.x for p in curve)
    general = decided.ratio_curves["general"]
    crossing = np.interp(TOLERANCE, [p.value for p in general], [p.x for p in general])
    assert crossing == pytest.approx(decided.critical_ratio, abs=2e-3)
    assert {t.name for t in decided.tests} == {"tolerance", "turning_point"}
    assert decided.tests[0].critical_ratio == pytest.approx(decided.critical_ratio)


def test_natural_shares_are_a_baseline() -> None:
    table = at_end([0.2, 0.4, 0.6, 0.8])
    found = decide_ratio(
        table, ask(table), Constraints(prior={"general": 300.0, "target": 100.0}), curves=False
    )
    natural = next(b for b in found.baselines if b.name == "natural shares")
    assert natural.shares == pytest.approx({"general": 0.75, "target": 0.25})


def test_one_checkpoint_per_run_is_a_ratio_law() -> None:
    table = at_end([0.2, 0.4, 0.6, 0.8])
    found = decide_ratio(table, ask(table))
    assert found.law == "ratio"
    # 0.1 R^2 - 0.03 = 0.02
    assert found.critical_ratio == pytest.approx(math.sqrt(0.5), abs=1e-3)
    assert found.cmr_curve == []
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_increments_are_over_the_base() -> None:
    table = at_end([0.2, 0.4])
    data = ask(table).increments(table)
    assert data.ratios() == [0.2, 0.4]
    np.testing.assert_allclose(data.general_n, [0.1 * 0.04 - 0.03, 0.1 * 0.16 - 0.03], atol=1e-12)
    assert data.base == {"general": 3.0, "target": 2.0}


def test_largest_passing_share() -> None:
    rising = GRID[None, :] - 0.4
    assert largest_passing(rising, 0.0)[0] == pytest.approx(0.4)
    assert largest_passing(rising, 2.0)[0] == 1.0
    assert largest_passing(rising, -1.0)[0] == 0.0


def test_a_single_replicate_is_the_fit() -> None:
    table = study(landscape("power"))
    data = ask(table).increments(table)
    general = fit(CMR, data.points, data.general_n[None, :], robust=False)[0]
    same = refit(general, data.points, data.general_n[None, :])
    grid = data.points.at(GRID, np.full(len(GRID), float(BUDGETS[-1])))
    one, two = (largest_passing(g.predict(grid), TOLERANCE) for g in (general, same))
    np.testing.assert_allclose(one, two, atol=5e-4)
    assert isinstance(general, Solution)
    assert RATIO.token_powers == 0


@st.composite
def tables(draw: st.DrawFn) -> RunTable:
    ratios = draw(st.lists(st.floats(0, 1), min_size=1, max_size=5))
    budgets = draw(st.lists(st.integers(1, 10**13), min_size=1, max_size=5, unique=True))
    size = draw(st.sampled_from([1e-9, 1.0, 1e6]))
    losses = st.floats(-size, size)
    rows: list[dict[str, object]] = []
    for name in ("general", "target"):
        rows.append(
            {"run": "base", "share.general": None, "share.target": None, "tokens": 0}
            | {"eval": name, "loss": draw(losses)}
        )
        for i, r in enumerate(ratios):
            for budget in budgets:
                row = {"run": f"r{i}", "share.general": 1 - r, "share.target": r, "eval": name}
                rows += [row | {"tokens": budget, "loss": draw(losses)}] * draw(st.sampled_from([0, 1, 1, 1]))
    return make_table(pl.DataFrame(rows, infer_schema_length=None), "t.csv")


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(table=tables(), tokens=st.integers(1, 10**13), tolerance=st.floats(0, 10))
def test_no_finite_table_breaks_it(table: RunTable, tokens: int, tolerance: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surface_module, "REPLICATES", 20)
        for changes in ({"tokens": tokens}, {}):
            try:
                found = decide_ratio(table, ask(table, tolerance=tolerance, **changes))
            except MixlawError:
                continue
            json.dumps(found.to_dict(), allow_nan=False)
            if found.status == "decided":
                assert found.critical_ratio is not None
                assert 0 <= found.critical_ratio <= 1


def public_tables() -> Path:
    default = ROOT.parent / "shared" / "data"
    folder = Path(os.environ.get("MIXLAW_BENCH_DATA", default))
    if not (folder / "mixinglaws" / "ct.csv").exists():
        pytest.skip("no public run tables here: set MIXLAW_BENCH_DATA to their folder")
    return folder


def test_public_continual_pretraining_runs() -> None:
    """Pythia-70M on Pile + Python (laws.md 1.5): the run at R = 0.7148 is predicted by the four others."""
    folder = public_tables() / "mixinglaws"
    table = read_runs(folder / "ct.csv")
    weights = json.loads((folder / "pile_weights.json").read_text())
    question = make_question(table, weights, {"python": 1.0})
    assert question.tokens == 10_000 * 4096 * 256
    data = question.increments(table)
    assert data.base["general"] == pytest.approx(2.87337, abs=1e-5)
    end = data.points.tokens_n == question.tokens
    order = np.argsort(data.points.target_n[end])
    np.testing.assert_allclose(
        data.general_n[end][order], [-0.0346, -0.0163, -0.0013, 0.0071, 0.0528], atol=6e-5
    )
    (held,) = (r for r, m in table.mixtures().items() if abs(m.share("python") - 0.7148) < 1e-3)

    found = decide_ratio(table.without({held}), question)
    assert found.binding == "tolerance"
    assert found.critical_ratio is not None
    assert found.interval is not None
    assert 0.714 <= found.critical_ratio <= 0.724
    low, high = found.interval
    assert low <= 0.720 <= high
    assert high - low < 0.05

    observed = {
        name: values[end & (np.array(data.runs_n) == held)][0]
        for name, values in (("general", data.general_n), ("target", data.target_n))
    }
    for name, allowed in (("general", 0.0016), ("target", 0.0008)):
        curve = found.ratio_curves[name]
        predicted = np.interp(0.71484375, [p.x for p in curve], [p.value for p in curve])
        assert predicted == pytest.approx(observed[name], abs=allowed)


def test_the_order_of_rows_and_repeated_rows_mean_nothing() -> None:
    table = study(landscape("power"))
    shuffled = table.rows.sample(fraction=1.0, shuffle=True, seed=3)
    repeated = make_table(pl.concat([table.rows, table.rows.sample(40, seed=4)]), "t.csv")
    first = decide_ratio(table, ask(table), curves=False).to_dict()
    for other in (RunTable(shuffled, table.source), repeated):
        again = decide_ratio(other, ask(other), curves=False).to_dict()
        del again["warnings"]
        assert again == {name: value for name, value in first.items() if name != "warnings"}


def test_a_loss_that_still_falls_is_not_carried_to_a_rise() -> None:
    """Two powers that bend up after the last checkpoint fit these runs exactly; nothing in them says that it will."""
    power = landscape("power")

    def bends(ratio: Floats, tokens: Floats) -> Floats:
        return -(0.3 + 0.5 * ratio**0.4) * tokens**0.3 + 0.17 * tokens

    table = study(replace(power, target=bends))
    last = BUDGETS[-1]
    now, then = (decide_ratio(table, ask(table, tokens=t), curves=False) for t in (last, 3 * last))
    for before, after in zip(now.baselines, then.baselines, strict=True):
        assert after.predicted["target"].increment < before.predicted["target"].increment


def test_many_runs_are_merged_for_the_surface_and_answer_alike() -> None:
    """More runs of neighbouring shares narrow the interval, and the truth stays within a run's scatter of it."""
    power = landscape("power")
    shares = np.linspace(0.1, 0.9, 90).round(4).tolist()
    table = power.study(shares, BUDGETS, run_sd=0.004, checkpoint_sd=0.002, seed=3)
    found = decide_ratio(table, ask(table), curves=False)
    truth = power.critical_ratio(found.question.tolerance, BUDGETS[-1])
    assert found.n_runs == 90
    assert found.interval is not None
    assert found.interval[0] - 0.01 <= truth <= found.interval[1] + 0.01
    assert found.interval[1] - found.interval[0] < 0.03
