"""What keeps the critical ratio down: a bound, repetition, or the turning point."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mixing.decision.constraints import Constraints
from mixing.decision.critical_ratio.decider import decide_ratio
from mixing.errors import InputError
from mixing.runs.table import RunTable
from mixing.test_problems import Landscape
from tests.mixing.decision.critical_ratio.ratio_studies import SHARES, ask, at_end, four_domains, landscape


def repeated(table: RunTable, max_shares: dict[str, float] | None = None, **caps: float) -> Constraints:
    """Constraints by which repetition caps domains' shares, and others that are asked for."""
    tokens = ask_tokens(table)
    supply = {domain: cap * tokens for domain, cap in caps.items()}
    return Constraints(supply=supply, max_epochs=1.0, max_shares=max_shares or {})


def ask_tokens(table: RunTable) -> int:
    return int(table.rows["tokens"].max())  # type: ignore[arg-type]


def test_a_bound_when_every_trained_share_passes() -> None:
    table = at_end([0.2, 0.4, 0.6])
    found = decide_ratio(table, ask(table, tolerance=0.5))
    assert (found.status, found.binding) == ("bound", "bound")
    # The largest trained share: nothing tells that a larger one passes, and the interval says how much may be true.
    assert found.critical_ratio == found.safe_ratio == pytest.approx(0.6)
    assert found.interval is not None
    assert found.interval[1] > 0.9
    assert found.shares["target"] == pytest.approx(0.6)
    assert found.next_runs[0]["target"] == pytest.approx(0.8)


def test_repetition_binds() -> None:
    table = at_end([0.2, 0.4, 0.6, 0.8])
    free = decide_ratio(table, ask(table))
    loose = decide_ratio(table, ask(table), repeated(table, target=0.75))
    assert loose.binding == free.binding == "tolerance"
    assert loose.critical_ratio == free.critical_ratio
    tight = decide_ratio(table, ask(table), repeated(table, target=0.5, general=0.9))
    assert tight.binding == "repetition"
    assert tight.critical_ratio == pytest.approx(0.5)
    assert tight.shares == pytest.approx({"general": 0.5, "target": 0.5})
    asked = decide_ratio(table, ask(table), repeated(table, target=0.75, max_shares={"target": 0.5}))
    assert (asked.binding, asked.critical_ratio) == ("bound", pytest.approx(0.5))
    assert not any("the answer is a bound" in w for w in asked.warnings)
    with pytest.raises(InputError, match="caps leave no mixture"):
        decide_ratio(table, ask(table), repeated(table, target=0.5, general=0.4))


def test_scarce_general_text_is_never_repeated_past_its_cap() -> None:
    table = at_end([0.2, 0.4, 0.6])
    # The general text fills a tenth of the budget at most, but nothing above 0.8 can be reached.
    found = decide_ratio(table, ask(table, tolerance=0.5), repeated(table, general=0.1))
    assert found.critical_ratio is None or found.shares["general"] <= 0.1 + 1e-9


def test_the_turning_point_binds() -> None:
    """dL = 0.6 R^2 T^0.5 - 0.15 T: at T = 1 it still rises where 0.3 R^2 > 0.15, at R = 0.707."""
    turning = Landscape(
        "turning",
        lambda r, t: 0.6 * r**2 * t**0.5 - 0.15 * t,
        landscape("power").target,
        in_family=True,
    )
    budgets = [125_000 * i for i in range(1, 9)]
    table = turning.study(SHARES, budgets, run_sd=1e-4, checkpoint_sd=1e-4)
    required = replace(ask(table, tolerance=1.0), turning_point="require")
    found = decide_ratio(table, required)
    assert found.binding == "turning_point"
    assert found.critical_ratio is not None
    # Noise of 1e-4 nats between checkpoints 0.12 apart in T is 1e-3 in slope, against 0.42 per unit of share.
    assert found.critical_ratio == pytest.approx(math.sqrt(0.5), abs=0.02)
    tests = {t.name: t.critical_ratio for t in found.tests}
    assert tests["tolerance"] == 1.0
    assert tests["turning_point"] == pytest.approx(found.critical_ratio)
    times = found.critical_times
    # T0 = (0.3 R^2 / 0.15)^2 = 4 R^4 in units of a million tokens; at 0.75 and 0.9 it is past the budget.
    assert times[0.6] == pytest.approx(4e6 * 0.6**4, rel=0.1)
    assert times[0.75] is not None
    assert times[0.75] > 1e6
    # With a small tolerance it is the tolerance that binds: 0.6 R^2 - 0.15 = 0.01.
    small = decide_ratio(table, ask(table, tolerance=0.01))
    assert small.binding == "tolerance"
    assert small.critical_ratio == pytest.approx(math.sqrt(0.16 / 0.6), abs=0.01)


def test_the_cmr_law_of_a_turning_loss() -> None:
    """T0 = (0.3 R^2 / 0.15)^2 = 4 R^4 million tokens, so R_CMR(T) = (T / 4)^(1/4)."""
    turning = Landscape(
        "turning", lambda r, t: 0.6 * r**2 * t**0.5 - 0.15 * t, landscape("power").target, in_family=True
    )
    table = turning.study(
        [0.4, 0.5, 0.6, 0.7, 0.75], [125_000 * i for i in range(1, 9)], run_sd=1e-4, checkpoint_sd=1e-4
    )
    found = decide_ratio(table, ask(table, tolerance=1.0))
    assert found.cmr_law is not None
    assert found.cmr_law.ratio(1e6) == pytest.approx(0.25**0.25, abs=0.02)
    out = found.to_dict()["cmr_law"]
    assert out["critical_ratio"] == pytest.approx(found.cmr_law.ratio(1e6))


def test_several_domains_of_fixed_proportions() -> None:
    table = four_domains(varying=False)
    question = ask(table, target_domains=("python", "rust"))
    found = decide_ratio(table, question)
    ratio = math.sqrt(0.5)
    assert found.critical_ratio == pytest.approx(ratio, abs=1e-3)
    assert found.shares == pytest.approx(
        {
            "web": 0.75 * (1 - ratio),
            "books": 0.25 * (1 - ratio),
            "python": 0.25 * ratio,
            "rust": 0.75 * ratio,
        },
        abs=1e-3,
    )
    # Rust is three quarters of the target: its cap of 0.3 allows R = 0.4.
    capped = decide_ratio(table, question, repeated(table, rust=0.3))
    assert capped.binding == "repetition"
    assert capped.critical_ratio == pytest.approx(0.4)
    assert capped.shares["rust"] == pytest.approx(0.3)


def test_a_run_on_target_text_alone_that_passes_leaves_nothing_to_bind() -> None:
    table = at_end([0.2, 0.4, 0.6, 1.0])
    found = decide_ratio(table, ask(table, tolerance=0.5), curves=False)
    assert (found.status, found.binding, found.critical_ratio) == ("decided", "none", 1.0)
    assert found.shares == {"general": 0.0, "target": 1.0}


def test_runs_at_0_and_1_tell_where_the_loss_is_between_them_and_the_others() -> None:
    """0.1 R^2 - 0.03 = 0.03 at R = 0.775, between the largest share of the law and the run on target text alone."""
    inner, whole = at_end([0.2, 0.35, 0.5]), at_end([0.0, 0.2, 0.35, 0.5, 1.0])
    bound, found = (decide_ratio(table, ask(table, tolerance=0.03), curves=False) for table in (inner, whole))
    assert bound.status == "bound"
    assert found.status == "decided"
    assert bound.interval is not None
    assert found.interval is not None
    assert found.interval[0] <= 0.775 <= found.interval[1]
    assert found.interval[1] < bound.interval[1]
    assert found.n_runs == 3
    assert any("0 or 1" in w for w in found.warnings)
