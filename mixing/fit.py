"""The fitting engine: variable projection, Levenberg-Marquardt, robust weights, many starts and problems at once.

Every law of `mixing.laws` is linear in some parameters given the others. For fixed nonlinear theta the linear ones
are a least-squares solve, so the search runs over theta only (Golub & Pereyra 1973, with Kaufman's 1975 Jacobian).
Starts, bootstrap replicates and validation sets are one batch of small problems, solved in step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixing.laws.base import Floats, Law, Points

_RIDGE = 1e-7
"""Relative ridge on the linear solve, so that a rank-deficient design has the smallest solution, not an error."""
HUBER = 3.0
"""Residuals beyond this many robust standard deviations are weighted down: only plain outliers are."""


@dataclass(frozen=True)
class Solution:
    """Fitted parameters of b problems: theta_bq (nonlinear), linear_bl, and the weighted squared error sse_b."""

    law: Law
    theta_bq: Floats
    linear_bl: Floats
    sse_b: Floats

    def predict(self, points: Points) -> Floats:
        """prediction_bn at any points."""
        return np.asarray(np.einsum("bnl,bl->bn", self.law.basis(self.theta_bq, points), self.linear_bl))

    def best(self) -> Solution:
        """The problem with the least error, as a batch of one."""
        at = [int(np.nanargmin(self.sse_b))]
        return Solution(self.law, self.theta_bq[at], self.linear_bl[at], self.sse_b[at])

    def named(self) -> dict[str, float]:
        """Parameters of the first problem, by name."""
        names = [p.name for p in self.law.parameters] + list(self.law.linear)
        return dict(zip(names, [*self.theta_bq[0].tolist(), *self.linear_bl[0].tolist()], strict=True))


def fit(law: Law, points: Points, losses_vn: Floats, robust: bool = True) -> list[Solution]:
    """Fit one law to v losses at the same points, each from all the law's starts; a Solution per loss.

    Raises NotApplicable when the points cannot carry the law.
    """
    law = law.prepare(points)
    weights_vn = np.ones_like(losses_vn)
    solutions = _from_starts(law, points, losses_vn, weights_vn)
    if not robust:
        return solutions
    for _ in range(3):
        weights_vn = np.stack(
            [_huber(y_n - s.predict(points)[0]) for y_n, s in zip(losses_vn, solutions, strict=True)]
        )
        if (weights_vn == 1).all():
            break
        solutions = _from_starts(law, points, losses_vn, weights_vn)
    return solutions


def refit(solution: Solution, points: Points, losses_bn: Floats, iterations: int = 25) -> Solution:
    """Fit b further losses at the same points, starting from a solution: bootstrap replicates."""
    start_bq = np.repeat(solution.theta_bq[:1], len(losses_bn), axis=0)
    return solve(solution.law, points, losses_bn, np.ones_like(losses_bn), start_bq, iterations)


def _from_starts(law: Law, points: Points, losses_vn: Floats, weights_vn: Floats) -> list[Solution]:
    starts_sq = law.starts()
    count = len(starts_sq)
    if not starts_sq.shape[1] and (weights_vn == weights_vn[:1]).all():
        return _linear_only(law, points, losses_vn, weights_vn[0])
    out = []
    for y_n, w_n in zip(losses_vn, weights_vn, strict=True):
        batch = solve(law, points, np.tile(y_n, (count, 1)), np.tile(w_n, (count, 1)), starts_sq)
        out.append(batch.best())
    return out


def _linear_only(law: Law, points: Points, losses_vn: Floats, weights_n: Floats) -> list[Solution]:
    root_n = np.sqrt(weights_n)
    basis_nl = law.basis(np.empty((1, 0)), points)[0] * root_n[:, None]
    linear_lv = np.linalg.lstsq(basis_nl, (losses_vn * root_n).T, rcond=1e-10)[0]
    sse_v = ((basis_nl @ linear_lv - (losses_vn * root_n).T) ** 2).sum(0)
    return [
        Solution(law, np.empty((1, 0)), linear_lv[:, v][None, :], sse_v[v : v + 1])
        for v in range(len(losses_vn))
    ]


def _huber(residual_n: Floats) -> Floats:
    scale = 1.4826 * np.median(np.abs(residual_n - np.median(residual_n)))
    if scale <= 0:
        return np.ones_like(residual_n)
    return np.asarray(np.minimum(1.0, HUBER * scale / np.maximum(np.abs(residual_n), 1e-300)))


def solve(
    law: Law, points: Points, losses_bn: Floats, weights_bn: Floats, start_bq: Floats, iterations: int = 60
) -> Solution:
    """Least squares for b problems at once, theta kept inside its bounds."""
    low_q = np.array([p.low for p in law.parameters])
    high_q = np.array([p.high for p in law.parameters])
    root_bn = np.sqrt(weights_bn)
    target_bn = losses_bn * root_bn
    theta_bq = np.clip(start_bq, low_q, high_q)
    linear_bl, residual_bn, q_bnl = _project(law, points, theta_bq, root_bn, target_bn)
    sse_b = (residual_bn**2).sum(1)
    if not theta_bq.shape[1]:
        return Solution(law, theta_bq, linear_bl, sse_b)
    damping_b = np.full(len(theta_bq), 1e-2)
    active_b = np.ones(len(theta_bq), dtype=bool)
    for _ in range(iterations):
        at = np.flatnonzero(active_b)
        if not len(at):
            break
        step_bq = _step(law, points, theta_bq, linear_bl, residual_bn, q_bnl, root_bn, damping_b, at)
        trial_bq = np.clip(theta_bq[at] + step_bq, low_q, high_q)
        linear, residual, q = _project(law, points, trial_bq, root_bn[at], target_bn[at])
        sse = (residual**2).sum(1)
        better = sse < sse_b[at]
        gain = (sse_b[at] - sse) / np.maximum(sse_b[at], 1e-300)
        move = np.abs(trial_bq - theta_bq[at]).max(1)
        take = at[better]
        theta_bq[take], linear_bl[take], residual_bn[take] = (
            trial_bq[better],
            linear[better],
            residual[better],
        )
        q_bnl[take], sse_b[take] = q[better], sse[better]
        damping_b[at] = np.where(better, damping_b[at] * 0.2, damping_b[at] * 6)
        done = (better & (gain < 1e-10)) | (move < 1e-9) | (damping_b[at] > 1e9)
        active_b[at[done]] = False
    return Solution(law, theta_bq, linear_bl, sse_b)


def _project(
    law: Law, points: Points, theta_bq: Floats, root_bn: Floats, target_bn: Floats
) -> tuple[Floats, Floats, Floats]:
    """The linear solve at fixed theta: linear_bl, the residual, and an orthonormal basis q_bnl of the columns."""
    basis_bnl = law.basis(theta_bq, points) * root_bn[..., None]
    scale_bl = np.sqrt((basis_bnl**2).sum(1)) + 1e-300
    scaled_bnl = basis_bnl / scale_bl[:, None, :]
    count = scaled_bnl.shape[2]
    ridge_bll = np.broadcast_to(_RIDGE * np.eye(count), (len(theta_bq), count, count))
    q_bml, r_bll = np.linalg.qr(np.concatenate([scaled_bnl, ridge_bll], axis=1))
    q_bnl = q_bml[:, : basis_bnl.shape[1]]
    projected_bl = np.einsum("bnl,bn->bl", q_bnl, target_bn)
    linear_bl = np.linalg.solve(r_bll, projected_bl[..., None])[..., 0] / scale_bl
    residual_bn = target_bn - np.einsum("bnl,bl->bn", basis_bnl, linear_bl)
    return linear_bl, residual_bn, q_bnl


def _step(
    law: Law,
    points: Points,
    theta_bq: Floats,
    linear_bl: Floats,
    residual_bn: Floats,
    q_bnl: Floats,
    root_bn: Floats,
    damping_b: Floats,
    at: np.ndarray,
) -> Floats:
    """Levenberg-Marquardt steps of the problems `at`, with Kaufman's Jacobian -(I - QQ') dPhi c."""
    moved_bqn = law.jacobian(theta_bq[at], linear_bl[at], points) * root_bn[at][:, None, :]
    inside_bql = moved_bqn @ q_bnl[at]
    jacobian_bqn = moved_bqn - inside_bql @ q_bnl[at].swapaxes(1, 2)
    normal_bqq = jacobian_bqn @ jacobian_bqn.swapaxes(1, 2)
    slope_bq = (jacobian_bqn @ residual_bn[at][..., None])[..., 0]
    diagonal_bq = np.einsum("bqq->bq", normal_bqq)
    floor = 1e-12 * (diagonal_bq.max(1, keepdims=True) + 1e-300)
    damped = normal_bqq + (damping_b[at][:, None] * (diagonal_bq + floor))[..., None] * np.eye(
        theta_bq.shape[1]
    )
    damped += 1e-18 * np.eye(theta_bq.shape[1])
    return np.asarray(np.linalg.solve(damped, slope_bq[..., None])[..., 0])
