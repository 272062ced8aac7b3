"""The fit that is published: the engine's, taken to the bottom by `scipy.optimize.least_squares` and reported by it.

The engine searches many problems at once and stops when it gains no more than noise would. Its answer is the start
here, and its objective the same: weighted squared residuals, and a row for each expectation about a parameter. All
parameters, linear ones too, are variables within their bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from mixing.arrays import Floats
from mixing.fitting.engine import Solution, may_not_be_negative, row_weights
from mixing.laws.base import Law
from mixing.runs.points import Points

EVALUATIONS = 100
UNDETERMINED = 1e-8
"""Directions whose slopes are this small beside the largest have the variance of that size, not an infinite one."""


@dataclass(frozen=True)
class Optimum:
    """What `scipy.optimize.least_squares` says of a fit: `status` above 0 is converged, `optimality` the largest
    component of the gradient within the bounds, `cost` half the objective (nats^2).

    `covariance` is that of the `parameters` in this order, times how much more runs scatter than their rows would if
    they were independent; 0 for a parameter on its bound.
    """

    status: int
    message: str
    optimality: float
    cost: float
    evaluations: int
    parameters: tuple[str, ...]
    covariance: tuple[tuple[float, ...], ...]

    @property
    def standard_errors(self) -> dict[str, float]:
        """By parameter, in its unit."""
        variance_p = np.diag(np.array(self.covariance).reshape(len(self.parameters), -1))
        return dict(zip(self.parameters, np.sqrt(variance_p).tolist(), strict=True))


def polish(
    solution: Solution, points: Points, losses_n: Floats, weights_n: Floats | None = None
) -> tuple[Solution, Optimum]:
    """The least-squares optimum next to a solution of one problem, for the rows it was fitted on.

    `weights_n` of the rows are by default those that the engine gives them at the solution: by the errors of their
    evaluation, and less to outliers. The solution is returned as it is where SciPy finds nothing better.
    """
    law, nonlinear = solution.law, solution.theta_bq.shape[1]
    if weights_n is None:
        residual_n = losses_n - solution.predict(points)[0]
        weights_n = row_weights(residual_n, points, np.ones(len(points), dtype=bool))
    problem = Problem(law, points, losses_n, np.sqrt(weights_n), float(solution.scatter_b[0]))
    low_p, high_p = problem.bounds()
    start_p = np.clip(np.concatenate([solution.theta_bq[0], solution.linear_bl[0]]), low_p, high_p)
    found = least_squares(
        problem.residuals,
        start_p,
        jac=problem.jacobian,
        bounds=(low_p, high_p),
        x_scale="jac",
        ftol=1e-9,
        xtol=1e-9,
        gtol=1e-10,
        max_nfev=EVALUATIONS,
    )
    # SciPy moves a start off its bounds, and may end a rounding above it.
    before = 0.5 * float((problem.residuals(start_p) ** 2).sum())
    value_p = found.x if found.cost <= before else start_p
    at_bound_p = found.active_mask != 0
    polished = replace(
        solution,
        theta_bq=value_p[None, :nonlinear],
        linear_bl=value_p[None, nonlinear:],
        sse_b=np.array([problem.squared_error(value_p)]),
    )
    optimum = Optimum(
        int(found.status),
        str(found.message),
        float(found.optimality),
        min(float(found.cost), before),
        int(found.nfev),
        tuple(polished.named()),
        _covariance(problem, value_p, at_bound_p),
    )
    return polished, optimum


@dataclass(frozen=True)
class Problem:
    """The engine's objective for one loss as residuals of theta and the linear parameters together.

    `root_n` are the roots of the rows' weights, `scatter` the variance that expectations are weighed against.
    """

    law: Law
    points: Points
    losses_n: Floats
    root_n: Floats
    scatter: float

    def bounds(self) -> tuple[Floats, Floats]:
        """The least and largest value of each parameter."""
        positive_l = may_not_be_negative(self.law, self.losses_n)
        low_p = [p.low for p in self.law.parameters] + np.where(positive_l, 0.0, -np.inf).tolist()
        high_p = [p.high for p in self.law.parameters] + [np.inf] * len(positive_l)
        return np.array(low_p), np.array(high_p)

    def residuals(self, value_p: Floats) -> Floats:
        """Weighted residuals of the rows, then what parameters miss their expectations by."""
        theta_q, linear_l = self._split(value_p)
        predicted_n = self.law.basis(theta_q[None], self.points)[0] @ linear_l
        expected_q = np.array([p.expected for p in self.law.parameters])
        return np.concatenate(
            [(predicted_n - self.losses_n) * self.root_n, self._pull_q() * (theta_q - expected_q)]
        )

    def jacobian(self, value_p: Floats) -> Floats:
        """The slopes of `residuals`."""
        theta_q, linear_l = self._split(value_p)
        by_theta_nq = self.law.jacobian(theta_q[None], linear_l[None], self.points)[0].T
        columns_np = np.concatenate([by_theta_nq, self.law.basis(theta_q[None], self.points)[0]], axis=1)
        pull_qp = np.eye(columns_np.shape[1])[: len(theta_q)] * self._pull_q()[:, None]
        return np.concatenate([columns_np * self.root_n[:, None], pull_qp])

    def squared_error(self, value_p: Floats) -> float:
        """The weighted squared error of the rows alone."""
        return float((self.residuals(value_p)[: len(self.losses_n)] ** 2).sum())

    def _split(self, value_p: Floats) -> tuple[Floats, Floats]:
        count = len(self.law.parameters)
        return value_p[:count], value_p[count:]

    def _pull_q(self) -> Floats:
        return np.asarray(np.sqrt(self.scatter) / np.array([p.spread for p in self.law.parameters]))


def _covariance(problem: Problem, value_p: Floats, at_bound_p: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """(J'J)^-1 times the variance of a row and the design effect of runs (Kish 1965), as checkpoints share luck."""
    jacobian = problem.jacobian(value_p)[:, ~at_bound_p]
    residual_n = problem.residuals(value_p)[: len(problem.losses_n)]
    squared = float((residual_n**2).sum())
    left = max(len(residual_n) - jacobian.shape[1], 1)
    _, run_n = np.unique(problem.points.run_n, return_inverse=True)
    by_run = float((np.bincount(run_n, weights=residual_n) ** 2).sum())
    effect = max(1.0, by_run / squared) if squared > 0 else 1.0
    covariance_pp = np.zeros((len(value_p), len(value_p)))
    if jacobian.shape[1]:
        size_p = np.sqrt((jacobian**2).sum(0))
        size_p = np.where(size_p > 0, size_p, 1.0)
        _, values, rows = np.linalg.svd(jacobian / size_p, full_matrices=False)
        values = np.maximum(values, UNDETERMINED * max(float(values.max()), 1e-300))
        half = rows.T / values / size_p[:, None]
        free = np.flatnonzero(~at_bound_p)
        covariance_pp[np.ix_(free, free)] = half @ half.T * (squared / left * effect)
    return tuple(tuple(row) for row in covariance_pp.tolist())
