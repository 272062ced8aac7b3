"""The fitting engine: known parameters come back, one bad row does no harm, a batch is its members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mixing.arrays import Floats
from mixing.decision.critical_ratio.run_noise import estimate
from mixing.fitting.cross_validation import folds, held_out_predictions, score
from mixing.fitting.engine import fit, refit, solve
from mixing.laws import CMR, CMR_MONOTONE, RATIO
from mixing.laws.base import Law
from mixing.laws.constant import Constant
from mixing.laws.linear import Linear
from mixing.runs.points import Points

RATIOS = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
TRUTH = {
    "ratio": ([2.3], [2.5, 0.4]),
    "cmr-monotone": ([2.3, -0.4], [2.5, 0.4, -0.3, 0.1]),
    "cmr": ([2.3, 0.3, 0.8], [2.5, 0.4, 0.3, 0.2, -0.4, 0.1]),
}


def grid(checkpoints: int, ratios: tuple[float, ...] = RATIOS) -> Points:
    tokens = np.geomspace(1e8, 2e9, checkpoints) if checkpoints > 1 else np.array([2e9])
    target_n = np.repeat(ratios, len(tokens))
    codes = np.repeat(np.arange(len(ratios)), len(tokens))
    shares_nd = np.stack([1 - target_n, target_n], 1)
    return Points(shares_nd, target_n, np.tile(tokens, len(ratios)), 2e9, codes, codes)


def truth(law: Law, points: Points) -> Floats:
    theta, linear = TRUTH[law.name]
    return np.asarray(law.basis(np.array([theta]), points)[0] @ np.array(linear))


@pytest.mark.parametrize(("law", "checkpoints"), [(RATIO, 1), (CMR_MONOTONE, 8), (CMR, 10)])
def test_known_parameters_come_back(law: Law, checkpoints: int) -> None:
    points = grid(checkpoints)
    found = fit(law, points, truth(law, points)[None, :])[0]
    theta, linear = TRUTH[law.name]
    # Exponents of two powers of T are nearly interchangeable: the curves are pinned down, they less so.
    loose = 0.02 if law is CMR else 1e-3
    np.testing.assert_allclose(found.theta_bq[0], theta, rtol=loose)
    np.testing.assert_allclose(found.linear_bl[0], linear, rtol=loose, atol=0.01 * loose)
    between = grid(7, (0.2, 0.5, 0.85))
    np.testing.assert_allclose(found.predict(between)[0], truth(law, between), atol=1e-5)
    assert set(found.named()) == {p.name for p in law.parameters} | set(found.law.linear)


@pytest.mark.parametrize(("law", "checkpoints"), [(RATIO, 1), (CMR_MONOTONE, 8), (CMR, 10)])
def test_one_bad_row_does_little_harm(law: Law, checkpoints: int) -> None:
    points = grid(checkpoints, tuple(np.linspace(0.1, 0.95, 12)))
    noise_n = 1e-3 * np.random.default_rng(1).standard_normal(len(points))
    losses_n = truth(law, points) + noise_n
    spoiled_n = losses_n.copy()
    spoiled_n[len(points) // 2] += 0.1
    clean_n = truth(law, points)
    robust = np.abs(fit(law, points, spoiled_n[None, :])[0].predict(points)[0] - clean_n)
    plain = np.abs(fit(law, points, spoiled_n[None, :], robust=False)[0].predict(points)[0] - clean_n)
    assert robust.max() < 0.6 * plain.max()
    # A hundred times the noise, and the curve moves by a few times the noise.
    assert robust.max() < 6e-3


def test_a_batch_of_refits_is_its_members() -> None:
    points = grid(8)
    start = fit(CMR_MONOTONE, points, truth(CMR_MONOTONE, points)[None, :])[0]
    noise_bn = 2e-3 * np.random.default_rng(2).standard_normal((6, len(points)))
    losses_bn = truth(CMR_MONOTONE, points) + noise_bn
    together = refit(start, points, losses_bn)
    for b in range(6):
        alone = refit(start, points, losses_bn[b : b + 1])
        np.testing.assert_allclose(together.predict(points)[b], alone.predict(points)[0], atol=1e-9)
        fresh = fit(CMR_MONOTONE, points, losses_bn[b : b + 1], robust=False)[0]
        assert together.sse_b[b] <= fresh.sse_b[0] * 1.001
        assert together.sse_b[b] >= fresh.sse_b[0] * 0.999


def test_several_losses_at_once_are_each_alone() -> None:
    points = grid(8)
    losses_vn = np.stack([truth(CMR_MONOTONE, points), 5 - truth(CMR_MONOTONE, points) ** 2])
    for law in (Constant(), Linear(), CMR_MONOTONE):
        for found, y_n in zip(fit(law, points, losses_vn), losses_vn, strict=True):
            alone = fit(law, points, y_n[None, :])[0]
            np.testing.assert_allclose(found.predict(points), alone.predict(points), atol=1e-9)


def test_exponents_stay_inside_their_bounds() -> None:
    """Losses that no power fits: a step in the target share."""
    points = grid(1)
    losses_n = np.where(points.target_n > 0.8, 3.0, 2.0)
    found = fit(RATIO, points, losses_n[None, :])[0]
    bounds = RATIO.parameters[0]
    assert bounds.low <= found.theta_bq[0, 0] <= bounds.high
    assert np.isfinite(found.linear_bl).all()


def test_a_rank_deficient_design_has_a_solution() -> None:
    """Two target shares cannot carry three parameters; the engine still answers with the smallest solution."""
    points = grid(1, (0.3, 0.6))
    found = solve(RATIO, points, np.array([[2.0, 2.2]]), np.ones((1, 2)), np.array([[1.0]]))
    assert np.isfinite(found.linear_bl).all()
    np.testing.assert_allclose(found.predict(points)[0], [2.0, 2.2], atol=1e-4)


def test_a_constant_loss_is_fitted_exactly() -> None:
    points = grid(8)
    for law in (Constant(), Linear(), CMR_MONOTONE, CMR):
        found = fit(law, points, np.full((1, len(points)), 2.5))[0]
        np.testing.assert_allclose(found.predict(points)[0], 2.5, atol=1e-6)


def test_baselines_are_what_they_say() -> None:
    points = grid(2, (0.2, 0.4, 0.9))
    losses_n = 3 - points.target_n + points.tokens_n / 1e10
    constant = fit(Constant(), points, losses_n[None, :])[0]
    assert sorted(constant.named().values()) == pytest.approx([2.51, 2.7])
    linear = fit(Linear(), points, losses_n[None, :])[0]
    np.testing.assert_allclose(linear.predict(points)[0], losses_n, atol=1e-9)


def test_folds_hold_out_whole_inner_mixtures() -> None:
    points = grid(5)
    found = folds(points, "leave-mixture-out")
    assert len(found) == len(RATIOS) - 2
    for mask in found:
        held = np.unique(points.mixture_n[mask])
        assert len(held) == 1
        assert mask.sum() == 5
        assert held[0] not in (0, len(RATIOS) - 1)
    (later,) = folds(points, "leave-largest-T")
    assert points.tokens_n[later].min() > points.tokens_n[~later].max()


def test_cross_validation_finds_the_true_form() -> None:
    points = grid(8)
    losses_n = truth(CMR_MONOTONE, points) + 1e-4 * np.random.default_rng(3).standard_normal(len(points))
    maes = {}
    for law in (Constant(), Linear(), CMR_MONOTONE):
        result = held_out_predictions(law, points, losses_n[None, :], "leave-mixture-out")
        assert result is not None
        predicted_vn, mask = result
        maes[law.name] = score(predicted_vn[0, mask], losses_n[mask], points.take(mask)).mae
    assert maes["cmr-monotone"] < 3e-4 < maes["linear"] < maes["constant"]


def test_scores() -> None:
    points = grid(1, (0.2, 0.5, 0.8))
    found = score(np.array([1.0, 2.0, 3.0]), np.array([1.1, 1.0, 3.0]), points)
    assert found.mae == pytest.approx(1.1 / 3)
    assert found.mse == pytest.approx(1.01 / 3)
    assert found.mre == pytest.approx((0.1 / 1.1 + 1.0) / 3)
    assert found.spearman == pytest.approx(0.5)
    assert found.regret == pytest.approx(0.1)
    perfect = score(points.target_n, points.target_n, points)
    assert (perfect.mae, perfect.regret) == (0.0, 0.0)
    assert perfect.pearson == pytest.approx(1.0)


def test_a_loss_of_next_to_nothing_has_no_relative_error() -> None:
    points = grid(1, (0.2, 0.5, 0.8))
    found = score(np.ones(3), np.array([5e-324, 2.0, 0.0]), points)
    assert found.mre == pytest.approx(0.5)


def test_noise_is_estimated_between_and_within_runs() -> None:
    """Forty runs of ten checkpoints with known scatter; standard errors are 11 % and 4 %."""
    rng = np.random.default_rng(4)
    run_n = np.repeat(np.arange(40), 10)
    tokens_n = np.tile(np.arange(1.0, 11.0), 40)
    residual_n = np.repeat(5e-3 * rng.standard_normal(40), 10) + 1e-3 * rng.standard_normal(400)
    found = estimate(residual_n, run_n, tokens_n, 3)
    assert found.run == pytest.approx(5e-3, rel=0.3)
    assert found.checkpoint == pytest.approx(1e-3, rel=0.15)
    drawn_bn = found.draw(run_n, tokens_n, 400, np.random.default_rng(5))
    assert drawn_bn.shape == (400, 400)
    assert drawn_bn.std() == pytest.approx(found.total(), rel=0.15)
    again_bn = found.draw(run_n, tokens_n, 400, np.random.default_rng(5))
    np.testing.assert_array_equal(drawn_bn, again_bn)


def test_exactly_evaluated_rows_count_more() -> None:
    """Rows with ten times the error: over 20 tables the weighted fit errs less than half as much as the plain one."""
    points = grid(8, tuple(np.linspace(0.1, 0.95, 12)))
    stderr_n = np.where(np.arange(len(points)) % 2, 0.02, 0.002)
    known = replace(points, stderr_n=stderr_n)
    clean_n = truth(CMR_MONOTONE, points)
    losses_vn = clean_n + stderr_n * np.random.default_rng(3).standard_normal((20, len(points)))
    error = {
        name: np.mean(
            [np.abs(s.predict(points)[0] - clean_n).mean() for s in fit(CMR_MONOTONE, p, losses_vn)]
        )
        for name, p in (("weighted", known), ("plain", points))
    }
    assert error["weighted"] < 0.5 * error["plain"]


def test_equal_or_negligible_standard_errors_change_nothing() -> None:
    points = grid(8)
    losses_vn = truth(CMR, points)[None] + 0.01 * np.random.default_rng(4).standard_normal((1, len(points)))
    plain = fit(CMR, points, losses_vn)[0]
    same = fit(CMR, replace(points, stderr_n=np.full(len(points), 0.3)), losses_vn)[0]
    np.testing.assert_array_equal(same.theta_bq, plain.theta_bq)
    tiny_n = 1e-6 * np.random.default_rng(5).random(len(points))
    tiny = fit(CMR, replace(points, stderr_n=tiny_n), losses_vn)[0]
    np.testing.assert_allclose(tiny.predict(points), plain.predict(points), atol=1e-6)


def test_errors_that_all_rows_share_weigh_nothing() -> None:
    """Evaluated on the same text, runs scatter far less around a law than each one's standard error."""
    points = grid(8)
    rng = np.random.default_rng(6)
    losses_vn = truth(CMR, points)[None] + 1e-3 * rng.standard_normal((1, len(points)))
    plain = fit(CMR, points, losses_vn)[0]
    shared = fit(CMR, replace(points, stderr_n=0.03 + 0.02 * rng.random(len(points))), losses_vn)[0]
    np.testing.assert_array_equal(shared.theta_bq, plain.theta_bq)
