"""The best mixture on landscapes whose constrained optimum is known, and regions that are empty."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from mixing.arrays import Floats
from mixing.decision.mixture.bounds import Region, make_region
from mixing.decision.mixture.objective import LossConstraint, LossModel, Problem, numeric_gradients
from mixing.decision.mixture.optimiser import (
    FEASIBLE,
    least_violation,
    optimise,
    optimise_replicates,
    sample_candidates,
)
from mixing.errors import InputError


@dataclass(frozen=True)
class Exponential:
    """c + k exp(a . p), in b versions."""

    c_b: Floats
    k_b: Floats
    a_bd: Floats
    smooth: bool = True

    @property
    def count(self) -> int:
        return len(self.c_b)

    def losses(self, shares_md: Floats) -> Floats:
        return np.asarray(self.c_b[:, None] + self.k_b[:, None] * np.exp(self.a_bd @ shares_md.T))

    def gradients(self, shares_md: Floats) -> Floats:
        rise_bm = self.losses(shares_md) - self.c_b[:, None]
        return np.asarray(rise_bm[:, :, None] * self.a_bd[:, None, :])

    def replicate(self, b: int) -> LossModel:
        return Exponential(self.c_b[[b]], self.k_b[[b]], self.a_bd[[b]], self.smooth)


@dataclass(frozen=True)
class Steps:
    """A loss without a gradient: another one, in steps."""

    inner: Exponential
    smooth: bool = False

    @property
    def count(self) -> int:
        return self.inner.count

    def losses(self, shares_md: Floats) -> Floats:
        return np.round(self.inner.losses(shares_md), 2)

    def gradients(self, shares_md: Floats) -> Floats:
        return np.zeros_like(self.inner.gradients(shares_md))

    def replicate(self, b: int) -> LossModel:
        found = self.inner.replicate(b)
        assert isinstance(found, Exponential)
        return Steps(found)


def exponential(c: float, k: float, *slopes: float) -> Exponential:
    return Exponential(np.array([c]), np.array([k]), np.array([slopes]))


def everywhere(count: int) -> Region:
    return make_region(tuple(f"d{i}" for i in range(count)), np.eye(count))


def problem(region: Region, *targets: LossModel, **more: object) -> Problem:
    weights = np.full(len(targets), 1 / len(targets))
    given = {"reference_bt": np.zeros((targets[0].count, len(targets)))} | more
    return Problem(region, targets, weights, **given)  # type: ignore[arg-type]


def solve(asked: Problem, seed: int = 0) -> Floats:
    centre = asked.region.shares(asked.region.project(np.zeros((1, len(asked.region.names)))))
    found = optimise(asked, sample_candidates(asked, centre, np.random.default_rng(seed)))
    assert found.feasible
    return found.shares_d


def test_sum_of_two_exponentials_has_the_lagrange_optimum() -> None:
    # exp(-3 p0) + exp(-5 p1) on two domains: 3 exp(-3 p) = 5 exp(-5 (1 - p)).
    truth = (5 - np.log(5 / 3)) / 8
    found = solve(problem(everywhere(2), exponential(1, 1, -3, 0), exponential(1, 1, 0, -5)))
    assert found[0] == pytest.approx(truth, abs=2e-4)


def test_separable_exponentials_water_fill() -> None:
    # min sum exp(-s_i p_i): s_i exp(-s_i p_i) equal on the support.
    slopes = np.array([1.0, 2.0, 4.0, 8.0, 12.0])
    losses = [exponential(0, 1, *(-s * np.eye(5)[i])) for i, s in enumerate(slopes)]

    def shares(level: float) -> Floats:
        return np.maximum(0.0, np.log(slopes / level) / slopes)

    level = brentq(lambda v: shares(v).sum() - 1, 1e-6, 12)
    assert np.allclose(solve(problem(everywhere(5), *losses)), shares(level), atol=2e-3)


def test_protected_loss_binds_where_it_meets_its_limit() -> None:
    target, general = exponential(1, 1, 0, -1), exponential(2, 0.1, 0, 2)
    guarded = (LossConstraint("general", general, np.array([2.3])),)
    found = solve(problem(everywhere(2), target, loss_constraints=guarded))
    assert found[1] == pytest.approx(np.log(3) / 2, abs=1e-5)
    assert general.losses(found[None])[0, 0] <= 2.3 + FEASIBLE


def test_kl_alone_gives_the_prior_and_linear_loss_with_kl_a_softmax() -> None:
    prior = np.array([0.5, 0.3, 0.2])
    flat = exponential(1, 0, 1, 2, 3)
    assert np.allclose(solve(problem(everywhere(3), flat, prior_d=prior, kl=0.1)), prior, atol=1e-4)
    # min a.p + kl KL(p||prior) is prior * exp(-a/kl), normalised; exp(t a.p)/t is a.p for small t.
    slopes, t, kl = np.array([0.1, 0.0, -0.1]), 1e-3, 0.2
    wanted = prior * np.exp(-slopes / kl)
    found = solve(problem(everywhere(3), exponential(0, 1 / t, *(t * slopes)), prior_d=prior, kl=kl))
    assert np.allclose(found, wanted / wanted.sum(), atol=2e-3)


def test_worst_case_evens_out_the_targets() -> None:
    losses = [exponential(0, 1, -2, 0), exponential(0, 1, 0, -1)]
    found = solve(problem(everywhere(2), *losses, worst=True))
    assert found[0] == pytest.approx(1 / 3, abs=1e-4)
    # The same over a reference of the second that is higher: its increments are lower by that.
    shifted = solve(problem(everywhere(2), *losses, worst=True, reference_bt=np.array([[0.0, 1.0]])))
    assert shifted[0] > 0.6


def test_caps_and_frozen_parts() -> None:
    trained = np.array([[0.2, 0.2, 0.6], [0.6, 0.3, 0.1], [0.0, 0.5, 0.5]])
    names = ("a", "b", "c")
    target = exponential(1, 1, -3, -1, 0)
    region = make_region(names, trained, caps={"a": 0.35})
    found = solve(problem(region, target))
    assert found == pytest.approx([0.35, 0.5, 0.15], abs=1e-5)
    assert ("a", "repetition", pytest.approx(0.35)) in region.binding(region.parts_of(found[None])[0])
    region = make_region(names, trained, freeze=[("b", "c")], within={"b": 3.0, "c": 1.0})
    found = solve(problem(region, target))
    assert found == pytest.approx([0.6, 0.3, 0.1], abs=1e-5)
    assert region.names == ("a", "b+c")


def test_without_a_gradient_the_candidates_decide() -> None:
    smooth = exponential(1, 1, -3, 0, 1)
    assert solve(problem(everywhere(3), Steps(smooth)))[0] > 0.9


def test_nothing_feasible_gives_the_least_violation() -> None:
    guarded = (LossConstraint("general", exponential(2, 1, 1, -1), np.array([2.0])),)
    asked = problem(everywhere(2), exponential(1, 1, -1, 0), loss_constraints=guarded)
    found = sample_candidates(asked, np.full((1, 2), 0.5), np.random.default_rng(0))
    best = optimise(asked, found)
    assert not best.feasible
    least = least_violation(asked, found)
    assert least.violation == pytest.approx(np.exp(-1), abs=1e-4)
    assert best.violation == pytest.approx(least.violation, abs=1e-3)


def test_replicates_move_with_their_landscape_and_are_quick() -> None:
    rng = np.random.default_rng(0)
    count, domains = 201, 17
    slopes = np.concatenate(
        [
            [np.linspace(0.5, 6, domains)],
            np.linspace(0.5, 6, domains) + 0.3 * rng.normal(size=(count - 1, domains)),
        ]
    )
    targets = [
        Exponential(np.zeros(count), np.ones(count), -slopes * np.eye(domains)[i]) for i in range(domains)
    ]
    general = Exponential(np.zeros(count), np.ones(count), slopes * 0.2)
    region = everywhere(domains)
    asked = problem(
        region, *targets[:3], loss_constraints=(LossConstraint("g", general, np.full(count, 1.5)),)
    )
    start = time.perf_counter()
    found = sample_candidates(asked, np.full((1, domains), 1 / domains), rng)
    fitted = optimise(asked, found)
    many = np.stack([o.shares_d for o in optimise_replicates(asked, found, fitted)])
    assert time.perf_counter() - start < 20
    assert many.shape == (count - 1, domains)
    assert 0 < many.std(0).max() < 0.3


def test_numeric_gradients() -> None:
    model = exponential(1, 2, 1, -2, 0.5)
    shares = np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])
    assert np.allclose(numeric_gradients(model.losses, shares), model.gradients(shares), rtol=1e-4)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"caps": {"a": 0.2, "b": 0.3, "c": 0.4}}, "may fill 0.9 of the budget"),
        ({"low": {"a": 0.7, "b": 0.6}}, "sum to 1.3"),
        ({"low": {"a": 0.7}, "high": {"a": 0.5}}, "a: its share must be at least 0.7"),
        ({"high": {"d": 0.5}}, "max_shares d: no such domain"),
        ({"high": {"a": float("nan")}}, "max_shares a=nan: not a share"),
        ({"freeze": [("a",)]}, "one domain has no proportions"),
        ({"freeze": [("a", "b"), ("b", "c")]}, "freeze b: named twice"),
        ({"freeze": [("a", "x")]}, "freeze x: no such domain"),
        ({"freeze": [("a", "b")], "within": {"c": 1.0}}, "all their shares are 0"),
    ],
)
def test_regions_without_a_mixture_name_the_constraint(asked: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        make_region(("a", "b", "c"), np.eye(3), **asked)  # type: ignore[arg-type]
    assert error.value.hint


def test_a_least_share_beyond_the_trained_ones() -> None:
    with pytest.raises(InputError, match="as far as runs went") as error:
        make_region(("a", "b"), np.array([[0.2, 0.8], [0.4, 0.6]]), low={"a": 0.5})
    assert "Train runs there" in error.value.hint


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_projections_are_inside(data: st.DataObject) -> None:
    width = data.draw(st.integers(2, 6))
    share = st.floats(0, 1)
    low = np.array(data.draw(st.lists(share, min_size=width, max_size=width))) / width
    high = np.maximum(low, np.array(data.draw(st.lists(share, min_size=width, max_size=width))))
    high[0] = 1.0
    region = Region(
        tuple("abcdef"[:width]),
        tuple("abcdef"[:width]),
        np.eye(width),
        low,
        high,
        ("",) * width,
        ("",) * width,
    )
    values = st.floats(-1e6, 1e6)
    q = np.array(data.draw(st.lists(values, min_size=width, max_size=width)))[None]
    found = region.project(q)
    assert found.sum() == pytest.approx(1, abs=1e-9)
    assert (found >= low - 1e-9).all()
    assert (found <= high + 1e-9).all()
    assert np.allclose(region.project(found), found, atol=1e-9)
