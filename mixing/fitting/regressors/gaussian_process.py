"""A Gaussian process over shares: what a formula leaves unexplained, or all of a loss, by likeness to other runs.

Shares enter as powers h^0.3, because the first per cent of a source changes a loss more than the last; tokens and
sizes enter as logarithms. One length scale per input, found by marginal likelihood (Rasmussen & Williams 2006,
eq. 5.8 and 5.9). The mean is a law or a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve
from scipy.optimize import minimize

from mixing.arrays import Floats
from mixing.laws.base import NotApplicable, Traits
from mixing.runs.points import Points

SHARE_POWER = 0.3
MAX_ROWS = 600
"""The cost grows with the cube of the rows; tables of many checkpoints are for laws."""
_ITERATIONS = 25


@dataclass(frozen=True)
class FittedProcess:
    """Conditioned on x_nm with residuals that `weights_n` solve for; log length scales, signal and noise in `theta`."""

    theta: Floats
    x_nm: Floats
    weights_n: Floats
    scale: float
    mean: float
    varied_m: NDArray[np.bool_]

    def predict(self, points: Points) -> Floats:
        kernel = _kernel(inputs(points)[:, self.varied_m], self.x_nm, self.theta)
        return np.asarray(kernel @ self.weights_n * self.scale + self.mean)[None, :]

    def named(self) -> dict[str, float]:
        names = [f"ln_length{i}" for i in range(len(self.theta) - 2)]
        return dict(zip([*names, "ln_signal", "ln_noise"], self.theta.tolist(), strict=True))


@dataclass(frozen=True)
class GaussianProcess(Traits):
    """A regressor: it is conditioned on the runs themselves instead of having a formula."""

    name: str = "gaussian-process"
    title: str = "Gaussian process"
    formula: str = "L ~ GP(mean, k), k(h, h') = s^2 exp(-sum_i (h_i^0.3 - h'_i^0.3)^2 / (2 l_i^2))"
    source: str = "Rasmussen & Williams 2006, ch. 2 and 5"
    needs: str = "shares; tokens and params where they vary"
    caution: str = "far from the runs, where it returns to its mean; past the trained budgets or sizes"
    min_mixtures: int = 8

    def fit(self, points: Points, losses_vn: Floats) -> list[FittedProcess]:
        """One process per loss; raises NotApplicable for too few mixtures or too many rows."""
        if len(np.unique(points.mixture_n)) < self.min_mixtures:
            raise NotApplicable(f"needs {self.min_mixtures} different mixtures")
        if len(points) > MAX_ROWS:
            raise NotApplicable(f"{len(points)} rows are more than the {MAX_ROWS} it can be conditioned on")
        x_nm = inputs(points)
        varied_m = np.ptp(x_nm, axis=0) > 1e-9
        return [_condition(x_nm[:, varied_m], y_n, varied_m) for y_n in losses_vn]


def inputs(points: Points) -> Floats:
    """x_nm: powers of shares, then logarithms of tokens and of sizes."""
    columns = [points.shares_nd**SHARE_POWER, np.log(points.tokens_n / points.token_unit)[:, None]]
    if points.params_n is not None:
        columns.append(np.log(np.maximum(points.params_n, 1.0))[:, None])
    return np.concatenate(columns, axis=1)


def _kernel(x_nm: Floats, z_km: Floats, theta: Floats) -> Floats:
    scales_m = np.exp(theta[:-2])
    a_nm, b_km = x_nm / scales_m, z_km / scales_m
    square_nk = (a_nm**2).sum(1)[:, None] + (b_km**2).sum(1)[None, :] - 2 * a_nm @ b_km.T
    return np.asarray(np.exp(2 * theta[-2] - 0.5 * np.maximum(square_nk, 0)))


def _condition(x_nm: Floats, losses_n: Floats, varied_m: NDArray[np.bool_]) -> FittedProcess:
    mean, scale = float(losses_n.mean()), float(losses_n.std()) or 1.0
    y_n = (losses_n - mean) / scale
    inputs_count = x_nm.shape[1]
    # Length scales are expected around four standard deviations of their inputs, give or take a factor of e.
    expected = float(np.log(4 * x_nm.std(0).mean())) if inputs_count else 0.0

    def negative_log_posterior(theta: Floats) -> tuple[float, Floats]:
        signal_nn = _kernel(x_nm, x_nm, theta)
        noise = np.exp(2 * theta[-1])
        try:
            factor = np.linalg.cholesky(signal_nn + noise * np.eye(len(y_n)))
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        inverse_nn = cho_solve((factor, True), np.eye(len(y_n)))
        alpha_n = inverse_nn @ y_n
        value = 0.5 * y_n @ alpha_n + np.log(np.diag(factor)).sum()
        weight_nn = 0.5 * (inverse_nn - np.outer(alpha_n, alpha_n))
        moved_nn = weight_nn * signal_nn
        # sum_nk moved_nk (x_nm - x_km)^2 without the three-dimensional array.
        by_length_m = 2 * (moved_nn.sum(1) @ x_nm**2 - np.einsum("nm,nm->m", x_nm, moved_nn @ x_nm))
        slope = np.empty_like(theta)
        slope[:-2] = by_length_m / np.exp(2 * theta[:-2]) + (theta[:-2] - expected)
        slope[-2] = 2 * moved_nn.sum()
        slope[-1] = 2 * noise * np.trace(weight_nn)
        return float(value + 0.5 * ((theta[:-2] - expected) ** 2).sum()), slope

    start = np.array([*np.full(inputs_count, expected), 0.0, -1.0])
    bounds = [(expected - 4, expected + 5)] * inputs_count + [(-5.0, 4.0), (-6.0, 1.0)]
    optimum = minimize(
        negative_log_posterior,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _ITERATIONS},
    )
    theta = np.asarray(optimum.x)
    kernel_nn = _kernel(x_nm, x_nm, theta) + np.exp(2 * theta[-1]) * np.eye(len(y_n))
    return FittedProcess(theta, x_nm, np.linalg.solve(kernel_nn, y_n), scale, mean, varied_m)
