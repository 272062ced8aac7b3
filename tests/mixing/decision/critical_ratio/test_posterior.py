"""The loss over target share at one budget: exact where levels are, wide where they are not, honest over studies."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coverage import answers, draw, ratios_of
from mixing.decision.critical_ratio.feasibility import GRID
from mixing.decision.critical_ratio.posterior import loss_posterior, share_basis
from mixing.test_problems import LANDSCAPES

RATIOS = np.array([0.15, 0.3, 0.45, 0.6, 0.75, 0.9])


@pytest.mark.parametrize(
    "form", [lambda r: r**2.5, lambda r: np.exp(2 * r), lambda r: (1 - r) ** -0.5], ids=["R", "exp", "1-R"]
)
def test_each_published_form_is_followed(form) -> None:  # type: ignore[no-untyped-def]
    found = loss_posterior(share_basis(RATIOS, GRID), 0.1 * form(RATIOS), 1e-4, 200, np.random.default_rng(0))
    inside = (GRID > 0.15) & (GRID < 0.9)
    spread = np.ptp(0.1 * form(RATIOS))
    assert np.abs(found.mean_g - 0.1 * form(GRID))[inside].max() < 0.01 * spread


def test_scale_and_level_mean_nothing() -> None:
    basis = share_basis(RATIOS, GRID)
    levels_r = 0.1 * RATIOS**2 + 0.002 * np.array([1, -1, 1, 1, -1, 0])
    one, other = (
        loss_posterior(basis, y, s, 100, np.random.default_rng(0))
        for y, s in ((levels_r, 0.002), (1000 * levels_r + 7, 2.0))
    )
    np.testing.assert_allclose(other.mean_g, 1000 * one.mean_g + 7, rtol=1e-6)
    np.testing.assert_allclose(other.draws_bg, 1000 * one.draws_bg + 7, rtol=1e-6, atol=1e-6)


def test_draws_are_spread_around_the_mean() -> None:
    levels_r = 0.1 * RATIOS**2 + 0.002 * np.array([1, -1, 1, 1, -1, 0])
    found = loss_posterior(share_basis(RATIOS, GRID), levels_r, 0.002, 4000, np.random.default_rng(0))
    inside = (GRID > 0.15) & (GRID < 0.9)
    error_g = found.draws_bg.std(0) / np.sqrt(4000)
    assert (np.abs(found.draws_bg.mean(0) - found.mean_g) < 5 * error_g)[inside].all()
    # Where runs are expected to scatter more, curves do.
    wider = loss_posterior(share_basis(RATIOS, GRID), levels_r, 0.006, 4000, np.random.default_rng(0))
    assert wider.draws_bg[:, inside].std(0).mean() > 1.3 * found.draws_bg[:, inside].std(0).mean()


def test_between_shares_of_the_grid() -> None:
    found = loss_posterior(share_basis(RATIOS, GRID), 0.1 * RATIOS**2, 0.001, 50, np.random.default_rng(0))
    mean_n, draws_bn = found.at(np.array([GRID[7], (GRID[7] + GRID[8]) / 2, 1.0]))
    assert mean_n[0] == pytest.approx(found.mean_g[7])
    assert mean_n[1] == pytest.approx((found.mean_g[7] + found.mean_g[8]) / 2)
    assert mean_n[2] == found.mean_g[-1]
    assert draws_bn.shape == (50, 3)


@pytest.mark.parametrize("name", ["power", "steep"])
def test_intervals_hold_the_truth_as_often_as_they_say(name: str) -> None:
    """120 studies of six runs: an honest 90% interval holds it in 80 to 98% with probability 0.999."""
    basis = next(one for one in LANDSCAPES if one.name == name)
    found = answers(draw(basis, 6, 120, 5)["general"], ratios_of(6), lambda done: None)
    truth = basis.critical_ratio(0.0, 1_000_000)
    held = ((found.low_v <= truth) & (truth <= found.high_v)).mean()
    assert 0.80 <= held <= 0.98
