"""The fitting engine: variable projection, Levenberg-Marquardt, robust weights, many starts and problems at once.

Every law of `mixing.laws` is linear in some parameters given the others. For fixed nonlinear theta the linear ones
are a least-squares solve, so the search runs over theta only (Golub & Pereyra 1973, with Kaufman's 1975 Jacobian).
Starts, bootstrap replicates and validation sets are one batch of small problems, solved in step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.laws.base import Fitted, Law, LawOrRegressor, Regressor
from mixing.runs.points import Points

_RIDGE = 1e-7
"""Relative ridge on the linear solve, so that a rank-deficient design has the smallest solution, not an error."""
_BLOCK = 2_000_000
"""Jacobian entries that are worked on at once: what stays in a core's cache and out of the way of memory."""
_FEW = 8
"""Up to so many linear parameters those that may not be negative are dropped one by one, beyond all at once."""
_SORTING, _SEARCH = 12, 60
"""Steps after which a third of the starts is left, and steps that those have."""
_TOLERANCE, _REPLICATE_TOLERANCE = 1e-9, 1e-4
"""Relative gains below which a problem is solved; replicates need no more digits than their scatter has."""
COMMON = 0.25
"""Mean squared residuals below this part of the mean squared standard error show that rows share their errors."""
HUBER = 3.0
"""Residuals beyond this many robust standard deviations are weighted down: only plain outliers are."""


@dataclass(frozen=True)
class Solution:
    """Fitted parameters of b problems: theta_bq (nonlinear), linear_bl, the weighted squared error sse_b, and the
    variance scatter_b against which expectations about parameters were weighed."""

    law: Law
    theta_bq: Floats
    linear_bl: Floats
    sse_b: Floats
    scatter_b: Floats

    def predict(self, points: Points) -> Floats:
        """prediction_bn at any points."""
        return np.asarray(np.einsum("bnl,bl->bn", self.law.basis(self.theta_bq, points), self.linear_bl))

    def part(self, which: slice) -> Solution:
        """Some of the problems."""
        return Solution(
            self.law, self.theta_bq[which], self.linear_bl[which], self.sse_b[which], self.scatter_b[which]
        )

    def named(self) -> dict[str, float]:
        """Parameters of the first problem, by name."""
        names = [p.name for p in self.law.parameters] + list(self.law.linear)
        return dict(zip(names, [*self.theta_bq[0].tolist(), *self.linear_bl[0].tolist()], strict=True))


def fit(
    law: Law,
    points: Points,
    losses_vn: Floats,
    robust: bool = True,
    rows_vn: NDArray[np.bool_] | None = None,
) -> list[Solution]:
    """Fit one law to v losses at the same points, each from all the law's starts; a Solution per loss.

    `rows_vn` says which rows each of them may see (all by default), so that validation folds are one batch. Raises
    NotApplicable when the points cannot carry the law.
    """
    law = law.prepare(points)
    seen_vn = np.ones_like(losses_vn) if rows_vn is None else rows_vn.astype(float)
    solutions = _from_starts(law, points, losses_vn, seen_vn)
    if not robust:
        return solutions
    weights_vn = seen_vn
    for _ in range(3):
        before_vn = weights_vn
        weights_vn = seen_vn * np.stack(
            [
                row_weights(y_n - s.predict(points)[0], points, seen_n > 0)
                for y_n, s, seen_n in zip(losses_vn, solutions, seen_vn, strict=True)
            ]
        )
        if (weights_vn == before_vn).all():
            break
        solutions = _again(law, points, losses_vn, weights_vn, solutions)
    return solutions


def fit_model(model: LawOrRegressor, points: Points, losses_vn: Floats) -> Sequence[Fitted]:
    """Fit a law, or let a regressor fit itself; raises NotApplicable."""
    if isinstance(model, Regressor):
        return model.fit(points, losses_vn)
    return fit(model, points, losses_vn)


def refit(solution: Solution, points: Points, losses_bn: Floats, iterations: int = 25) -> Solution:
    """Fit b further losses at the same points, starting from a solution: bootstrap replicates."""
    start_bq = np.repeat(solution.theta_bq[:1], len(losses_bn), axis=0)
    scatter_b = np.repeat(solution.scatter_b[:1], len(losses_bn))
    return solve(
        solution.law,
        points,
        losses_bn,
        np.tile(_exactness(points, float(solution.sse_b[0]) / len(points)), (len(losses_bn), 1)),
        start_bq,
        iterations,
        scatter_b=scatter_b,
        tolerance=_REPLICATE_TOLERANCE,
    )


def identifiability(solution: Solution, points: Points) -> tuple[float, tuple[str, ...]]:
    """The condition number of the standardised columns (slopes by every parameter), and parameters on their bounds.

    What is expected of parameters counts as rows of its own, so that a direction which a law leaves open by design
    (a factor common to all weights) does not. A column without any slope makes the number infinite.
    """
    law, theta_bq, linear_bl = solution.law, solution.theta_bq[:1], solution.linear_bl[:1]
    columns_np = np.concatenate(
        [law.jacobian(theta_bq, linear_bl, points)[0].T, law.basis(theta_bq, points)[0]], axis=1
    )
    pull_q = np.sqrt(solution.scatter_b[0]) / np.array([p.spread for p in law.parameters])
    rows_qp = np.eye(columns_np.shape[1])[: len(pull_q)] * pull_q[:, None]
    columns_np = np.concatenate([columns_np, rows_qp])
    size_p = np.sqrt((columns_np**2).sum(0))
    values = np.linalg.svd(columns_np / np.where(size_p > 0, size_p, 1.0), compute_uv=False)
    condition = float(values[0] / values[-1]) if values[-1] > 1e-12 * values[0] else float("inf")
    if len(columns_np) < columns_np.shape[1]:
        condition = float("inf")
    at_bounds = tuple(
        p.name
        for p, value in zip(law.parameters, theta_bq[0], strict=True)
        if min(value - p.low, p.high - value) < 1e-6 * (p.high - p.low)
    )
    return condition, at_bounds


def _from_starts(law: Law, points: Points, losses_vn: Floats, weights_vn: Floats) -> list[Solution]:
    seen_vn = weights_vn > 0
    starts_vsq = np.stack(
        [law.starts(points.take(seen_n), y_n[seen_n]) for y_n, seen_n in zip(losses_vn, seen_vn, strict=True)]
    )
    count = starts_vsq.shape[1]
    if not starts_vsq.shape[2] and (weights_vn == weights_vn[:1]).all():
        return _linear_only(law, points, losses_vn, weights_vn[0])
    # All losses and starts are one batch: loss 0 from every start, loss 1 from every start, ... After a while only
    # those that lead go on.
    theta_bq = starts_vsq.reshape(len(losses_vn) * count, -1)
    for leading, iterations in ((-(-count // 3), _SORTING), (1, _SEARCH)):
        many = len(theta_bq) // len(losses_vn)
        batch = solve(
            law,
            points,
            np.repeat(losses_vn, many, axis=0),
            np.repeat(weights_vn, many, axis=0),
            theta_bq,
            iterations,
        )
        order_vs = np.argsort(np.nan_to_num(batch.sse_b, nan=np.inf).reshape(-1, many), axis=1)[:, :leading]
        kept_b = (order_vs + many * np.arange(len(losses_vn))[:, None]).ravel()
        theta_bq = batch.theta_bq[kept_b]
    solutions = [batch.part(slice(b, b + 1)) for b in kept_b]
    return _steadied(law, points, losses_vn, weights_vn, solutions)


def _again(
    law: Law, points: Points, losses_vn: Floats, weights_vn: Floats, solutions: list[Solution]
) -> list[Solution]:
    """Fit anew with other weights, from where the last fit ended."""
    if not law.parameters:
        return [_linear_only(law, points, y[None], w)[0] for y, w in zip(losses_vn, weights_vn, strict=True)]
    theta_vq = np.concatenate([s.theta_bq for s in solutions])
    scatter_v = np.concatenate([s.scatter_b for s in solutions])
    batch = solve(law, points, losses_vn, weights_vn, theta_vq, scatter_b=scatter_v)
    return [batch.part(slice(v, v + 1)) for v in range(len(losses_vn))]


def _steadied(
    law: Law, points: Points, losses_vn: Floats, weights_vn: Floats, solutions: list[Solution]
) -> list[Solution]:
    """With expectations about parameters, weigh them against the scatter around the fit, twice over."""
    if not np.isfinite([p.spread for p in law.parameters]).any():
        return solutions
    for _ in range(2):
        scatter_v = np.array(
            [
                _scatter(s, points, y_n, w_n > 0)
                for s, y_n, w_n in zip(solutions, losses_vn, weights_vn, strict=True)
            ]
        )
        theta_vq = np.concatenate([s.theta_bq for s in solutions])
        batch = solve(law, points, losses_vn, weights_vn, theta_vq, scatter_b=scatter_v)
        solutions = [batch.part(slice(v, v + 1)) for v in range(len(losses_vn))]
    return solutions


def _scatter(solution: Solution, points: Points, losses_n: Floats, seen_n: NDArray[np.bool_]) -> float:
    """The variance of a loss around its fit, with the degrees of freedom that the fit left."""
    residual_n = (losses_n - solution.predict(points)[0])[seen_n]
    spent = solution.theta_bq.shape[1] + solution.linear_bl.shape[1]
    left = max(len(residual_n) - spent, len(residual_n) / 4)
    return float((residual_n**2).sum() / left)


def _linear_only(law: Law, points: Points, losses_vn: Floats, weights_n: Floats) -> list[Solution]:
    root_n = np.sqrt(weights_n)
    basis_nl = law.basis(np.empty((1, 0)), points)[0] * root_n[:, None]
    linear_lv = np.linalg.lstsq(basis_nl, (losses_vn * root_n).T, rcond=1e-10)[0]
    sse_v = ((basis_nl @ linear_lv - (losses_vn * root_n).T) ** 2).sum(0)
    return [
        Solution(law, np.empty((1, 0)), linear_lv[:, v][None, :], sse_v[v : v + 1], np.zeros(1))
        for v in range(len(losses_vn))
    ]


def row_weights(residual_n: Floats, points: Points, seen_n: NDArray[np.bool_]) -> Floats:
    """Weights of the rows by how exactly each was evaluated, and by whether it is an outlier for that."""
    exactness_n = _exactness(points, float((residual_n[seen_n] ** 2).mean()))
    return exactness_n * _huber(residual_n * np.sqrt(exactness_n), seen_n)


def _exactness(points: Points, mean_square: float) -> Floats:
    """Weights 1 / (scatter + stderr^2), the most exact row's 1, for the mean square of the residuals (nats^2).

    The scatter is what runs have around a law besides the errors of their evaluation. Rows with equal errors, or
    without any, count alike; so do all where residuals are far smaller than such errors: runs that were evaluated on
    the same text have them in common.
    """
    if points.stderr_n is None:
        return np.ones(len(points))
    variance_n = points.stderr_n**2
    if mean_square < COMMON * float(variance_n.mean()):
        return np.ones(len(points))
    scatter = max(mean_square - float(variance_n.mean()), 0.01 * mean_square)
    least = scatter + float(variance_n.min())
    return np.asarray(least / (scatter + variance_n)) if least > 0 else np.ones(len(points))


def _huber(residual_n: Floats, seen_n: NDArray[np.bool_]) -> Floats:
    """Weights of the rows; their scale is that of the rows a fit has seen."""
    seen_residuals = residual_n[seen_n]
    scale = 1.4826 * np.median(np.abs(seen_residuals - np.median(seen_residuals)))
    if scale <= 0:
        return np.ones_like(residual_n)
    return np.asarray(np.minimum(1.0, HUBER * scale / np.maximum(np.abs(residual_n), 1e-300)))


def solve(
    law: Law,
    points: Points,
    losses_bn: Floats,
    weights_bn: Floats,
    start_bq: Floats,
    iterations: int = _SEARCH,
    *,
    scatter_b: Floats | None = None,
    tolerance: float = _TOLERANCE,
) -> Solution:
    """Least squares for b problems at once, theta kept inside its bounds.

    Expectations about parameters count as one more observation each, of variance scatter_b / spread^2 relative to
    the losses'; by default that of a fit which explains 99% of the loss's variance.
    """
    if scatter_b is None:
        total_b = weights_bn.sum(1)
        mean_b = (weights_bn * losses_bn).sum(1) / total_b
        scatter_b = 0.01 * (weights_bn * (losses_bn - mean_b[:, None]) ** 2).sum(1) / total_b
    size = max(1, _BLOCK // max(1, losses_bn.shape[1] * max(1, start_bq.shape[1])))
    parts = [
        _solve(
            law, points, losses_bn[i:j], weights_bn[i:j], start_bq[i:j], iterations, scatter_b[i:j], tolerance
        )
        for i, j in ((k, k + size) for k in range(0, len(losses_bn), size))
    ]
    if len(parts) == 1:
        return parts[0]
    return Solution(
        law,
        *(
            np.concatenate([getattr(p, name) for p in parts])
            for name in ("theta_bq", "linear_bl", "sse_b", "scatter_b")
        ),
    )


def _solve(
    law: Law,
    points: Points,
    losses_bn: Floats,
    weights_bn: Floats,
    start_bq: Floats,
    iterations: int,
    scatter_b: Floats,
    tolerance: float,
) -> Solution:
    low_q = np.array([p.low for p in law.parameters])
    high_q = np.array([p.high for p in law.parameters])
    expected_q = np.array([p.expected for p in law.parameters])
    pull_bq = scatter_b[:, None] / np.array([p.spread for p in law.parameters]) ** 2
    root_bn = np.sqrt(weights_bn)
    target_bn = losses_bn * root_bn
    theta_bq = np.clip(start_bq, low_q, high_q)
    positive_bl = np.array([may_not_be_negative(law, losses_n) for losses_n in losses_bn])
    linear_bl, residual_bn, q_bnl = _project(law, points, theta_bq, root_bn, target_bn, positive_bl)
    sse_b = (residual_bn**2).sum(1)
    if not theta_bq.shape[1]:
        return Solution(law, theta_bq, linear_bl, sse_b, scatter_b)
    cost_b = sse_b + (pull_bq * (theta_bq - expected_q) ** 2).sum(1)
    damping_b = np.full(len(theta_bq), 1e-2)
    active_b = np.ones(len(theta_bq), dtype=bool)
    for _ in range(iterations):
        at = np.flatnonzero(active_b)
        if not len(at):
            break
        jacobian_bqn = law.jacobian(theta_bq[at], linear_bl[at], points) * root_bn[at][:, None, :]
        pull = pull_bq[at] * (expected_q - theta_bq[at])
        step_bq = _step(jacobian_bqn, residual_bn[at], q_bnl[at], damping_b[at], pull_bq[at], pull)
        trial_bq = np.clip(theta_bq[at] + step_bq, low_q, high_q)
        linear, residual, q = _project(law, points, trial_bq, root_bn[at], target_bn[at], positive_bl[at])
        sse = (residual**2).sum(1)
        cost = sse + (pull_bq[at] * (trial_bq - expected_q) ** 2).sum(1)
        better = cost < cost_b[at]
        gain = (cost_b[at] - cost) / np.maximum(cost_b[at], 1e-300)
        move = np.abs(trial_bq - theta_bq[at]).max(1)
        take = at[better]
        theta_bq[take], linear_bl[take], residual_bn[take] = (
            trial_bq[better],
            linear[better],
            residual[better],
        )
        q_bnl[take], sse_b[take], cost_b[take] = q[better], sse[better], cost[better]
        damping_b[at] = np.where(better, damping_b[at] * 0.2, damping_b[at] * 6)
        done = (better & (gain < tolerance)) | (move < 1e-9) | (damping_b[at] > 1e9)
        active_b[at[done]] = False
    return Solution(law, theta_bq, linear_bl, sse_b, scatter_b)


def may_not_be_negative(law: Law, losses_n: Floats) -> NDArray[np.bool_]:
    """Which linear parameters are bounded by 0: those named so, but for the floor of a metric that may be negative."""
    loss = bool((losses_n >= 0).all())
    return np.array([name.startswith("+") and (loss or name != law.floor) for name in law.linear], dtype=bool)


def _project(
    law: Law, points: Points, theta_bq: Floats, root_bn: Floats, target_bn: Floats, positive_bl: np.ndarray
) -> tuple[Floats, Floats, Floats]:
    """The linear solve at fixed theta: linear_bl, the residual, and an orthonormal basis q_bnl of the columns.

    A parameter that may not be negative and would be is dropped: its column is zeroed, and the ridge makes it 0.
    """
    basis_bnl = law.basis(theta_bq, points) * root_bn[..., None]
    if basis_bnl.shape[2] > _FEW:
        return _project_many(basis_bnl, target_bn, positive_bl)
    linear_bl, q_bnl = _least_squares(basis_bnl, target_bn)
    if positive_bl.any():
        for _ in range(positive_bl.shape[1]):
            wrong_bl = positive_bl & (linear_bl < 0)
            redo = np.flatnonzero(wrong_bl.any(1))
            if not len(redo):
                break
            worst_b = np.where(wrong_bl[redo], linear_bl[redo], np.inf).argmin(1)
            drop_bl = np.arange(wrong_bl.shape[1]) == worst_b[:, None]
            basis_bnl = np.array(basis_bnl)
            basis_bnl[redo] *= ~drop_bl[:, None, :]
            linear_bl[redo], q_bnl[redo] = _least_squares(basis_bnl[redo], target_bn[redo])
    residual_bn = target_bn - (basis_bnl @ linear_bl[..., None])[..., 0]
    return linear_bl, residual_bn, q_bnl


def _project_many(
    basis_bnl: Floats, target_bn: Floats, positive_bl: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats]:
    """`_project` for many columns by the normal equations, several times as fast, with a ridge that they can stand.

    All parameters that may not be negative and would be are dropped at once, until none is.
    """
    count = basis_bnl.shape[2]
    scale_bl = np.sqrt((basis_bnl**2).sum(1)) + 1e-300
    scaled_bnl = basis_bnl / scale_bl[:, None, :]
    transposed_bln = scaled_bnl.swapaxes(1, 2)
    gram_bll = transposed_bln @ scaled_bnl + 1e-10 * np.eye(count)
    right_bl = (transposed_bln @ target_bn[..., None])[..., 0]
    linear_bl = np.linalg.solve(gram_bll, right_bl[..., None])[..., 0]
    kept_bl = np.ones_like(linear_bl, dtype=bool)
    for _ in range(count):
        wrong_bl = positive_bl & (linear_bl < 0)
        redo = np.flatnonzero(wrong_bl.any(1))
        if not len(redo):
            break
        kept_bl[redo] &= ~wrong_bl[redo]
        # A dropped column's row and column are those of the identity, its right side 0.
        kept = kept_bl[redo]
        gram_bll[redo] = np.where(kept[:, :, None] & kept[:, None, :], gram_bll[redo], np.eye(count))
        linear_bl[redo] = np.linalg.solve(gram_bll[redo], (right_bl[redo] * kept)[..., None])[..., 0]
    inverse_bll = np.linalg.inv(np.linalg.cholesky(gram_bll))
    scaled_bnl *= kept_bl[:, None, :]
    q_bnl = scaled_bnl @ inverse_bll.swapaxes(1, 2)
    residual_bn = target_bn - (scaled_bnl @ linear_bl[..., None])[..., 0]
    return linear_bl / scale_bl, residual_bn, q_bnl


def _least_squares(basis_bnl: Floats, target_bn: Floats) -> tuple[Floats, Floats]:
    scale_bl = np.sqrt((basis_bnl**2).sum(1)) + 1e-300
    scaled_bnl = basis_bnl / scale_bl[:, None, :]
    count = scaled_bnl.shape[2]
    ridge_bll = np.broadcast_to(_RIDGE * np.eye(count), (len(basis_bnl), count, count))
    q_bml, r_bll = np.linalg.qr(np.concatenate([scaled_bnl, ridge_bll], axis=1))
    q_bnl = q_bml[:, : basis_bnl.shape[1]]
    projected_bl = (q_bnl.swapaxes(1, 2) @ target_bn[..., None])[..., 0]
    return np.linalg.solve(r_bll, projected_bl[..., None])[..., 0] / scale_bl, q_bnl


def _step(
    moved_bqn: Floats,
    residual_bn: Floats,
    q_bnl: Floats,
    damping_b: Floats,
    pull_bq: Floats,
    pull_slope_bq: Floats,
) -> Floats:
    """Levenberg-Marquardt steps with Kaufman's Jacobian -(I - QQ') dPhi c and the pull of the expectations."""
    jacobian_bqn = moved_bqn - (moved_bqn @ q_bnl) @ q_bnl.swapaxes(1, 2)
    normal_bqq = jacobian_bqn @ jacobian_bqn.swapaxes(1, 2)
    slope_bq = (jacobian_bqn @ residual_bn[..., None])[..., 0] + pull_slope_bq
    diagonal_bq = np.einsum("bqq->bq", normal_bqq)
    floor = 1e-12 * (diagonal_bq.max(1, keepdims=True) + 1e-300)
    added_bq = damping_b[:, None] * (diagonal_bq + pull_bq + floor) + pull_bq + 1e-18
    damped = normal_bqq + added_bq[..., None] * np.eye(moved_bqn.shape[1])
    return np.asarray(np.linalg.solve(damped, slope_bq[..., None])[..., 0])
