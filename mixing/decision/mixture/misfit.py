"""What a law misses, as a smooth function of the mixture: a Gaussian process around it, in random features.

    losses_n = law(shares_n) + features(shares_n) w + scatter,   w ~ N(0, (ratio * scatter)^2)

Refits of one law to its own replicates never show that its form is wrong. The runs do: their residuals, given what the
law's parameters could have taken up, say how large the misfit is against a run's scatter, and how smooth
(restricted likelihood; Patterson & Thompson 1971). Both are averaged over a grid. A replicate is a draw of the
posterior by conditioning a draw of the prior on the runs (Matheron's rule), so that near trained mixtures it follows
the runs, and away from them it is as uncertain as the misfit is large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixing.arrays import Floats
from mixing.fitting.engine import Solution
from mixing.runs.points import Points

RATIOS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Misfits against a run's scatter that are averaged over."""
LENGTHS = (0.5, 1.0, 2.0)
"""How far a misfit reaches, in median distances between trained mixtures."""
FEATURES = 160
"""Random features for each length; half of one domain's share each, half of all shares together."""
MIN_DOF = 3.0
LARGEST = 1000
"""Runs up to which a misfit is estimated; the cost grows with their cube."""


@dataclass(frozen=True)
class Features:
    """cos(frequencies . sqrt(shares) + phases), of variance 1 over all `FEATURES` of a length."""

    frequency_df: Floats
    phase_f: Floats

    def at(self, shares_md: Floats) -> Floats:
        """features_mf"""
        root_md = np.sqrt(np.maximum(shares_md, 0.0) + 1e-4)
        return np.asarray(np.sqrt(2 / FEATURES) * np.cos(root_md @ self.frequency_df + self.phase_f))

    def of_length(self, at: int) -> slice:
        """The columns of one of `LENGTHS`."""
        return slice(at * FEATURES, (at + 1) * FEATURES)


@dataclass(frozen=True)
class Misfit:
    """Posterior of a law's misfit. Replicates: `moved_bn`, by how much the law's values at the runs move, and features'
    weights misfit_bf; the first of each is the mean. `scatter_b` are the standard deviations of a run (nats)."""

    moved_bn: Floats
    misfit_bf: Floats
    scatter_b: Floats


def draw_features(shares_nd: Floats, rng: np.random.Generator) -> Features:
    """Features as wide as the trained mixtures lie apart."""
    root_nd = np.sqrt(shares_nd + 1e-4)
    deviation_d = root_nd.std(0)
    varied = np.flatnonzero(deviation_d > 1e-6)
    # Half the mean squared distance between two mixtures is the sum of variances.
    apart = np.sqrt(2 * (deviation_d**2).sum()) + 1e-12
    columns = []
    for length in LENGTHS:
        frequency_df = rng.standard_normal((shares_nd.shape[1], FEATURES)) / (length * apart)
        single = rng.choice(varied, FEATURES // 2) if len(varied) else np.zeros(FEATURES // 2, dtype=np.int64)
        frequency_df[:, : FEATURES // 2] = 0.0
        scale = length * np.sqrt(2) * np.maximum(deviation_d[single], 1e-6)
        frequency_df[single, np.arange(FEATURES // 2)] = rng.standard_normal(FEATURES // 2) / scale
        columns.append(frequency_df)
    return Features(np.concatenate(columns, 1), rng.uniform(0, 2 * np.pi, FEATURES * len(LENGTHS)))


def draw_misfit(
    solution: Solution,
    points: Points,
    losses_n: Floats,
    features: Features,
    white_bn: Floats,
    rng: np.random.Generator,
) -> Misfit:
    """The posterior of what a solution misses; `white_bn` are standard normal draws of the runs' scatter.

    The law's parameters count as linear around their fit, with what is expected of them.
    """
    residual_n = losses_n - solution.predict(points)[0]
    columns_np, pull_p = _columns(solution, points)
    phi_nf = features.at(points.shares_nd)
    grid = [(at, ratio) for at in range(len(LENGTHS)) for ratio in RATIOS if ratio or not at]
    parts = [
        _conditioned(residual_n, columns_np, pull_p, phi_nf[:, features.of_length(at)], ratio)
        for at, ratio in grid
    ]
    log_g = np.array([part.log_likelihood for part in parts])
    weight_g = np.exp(log_g - log_g.max())
    weight_g /= weight_g.sum()
    count, runs = white_bn.shape
    turn_b = rng.choice(len(grid), count, p=weight_g)
    moved_bn, misfit_bf = np.zeros((count + 1, runs)), np.zeros((count + 1, phi_nf.shape[1]))
    scatter_b = np.zeros(count + 1)
    for g, ((at, ratio), part) in enumerate(zip(grid, parts, strict=True)):
        columns = features.of_length(at)
        moved_n, weights_f = part.mean(residual_n)
        moved_bn[0] += weight_g[g] * moved_n
        misfit_bf[0, columns] += weight_g[g] * weights_f
        scatter_b[0] += weight_g[g] * part.variance
        rows = np.flatnonzero(turn_b == g)
        if not len(rows):
            continue
        sigma_r = np.sqrt(part.variance * part.dof / rng.chisquare(part.dof, size=len(rows)))
        prior_rf = ratio * sigma_r[:, None] * rng.standard_normal((len(rows), FEATURES))
        drawn_rn = prior_rf @ phi_nf[:, columns].T + sigma_r[:, None] * white_bn[rows]
        moved_rn, posterior_rf = part.mean(residual_n - drawn_rn)
        moved_bn[rows + 1] = moved_rn
        misfit_bf[rows + 1, columns] = prior_rf + posterior_rf
        scatter_b[rows + 1] = sigma_r
    scatter_b[0] = np.sqrt(scatter_b[0])
    return Misfit(moved_bn, misfit_bf, scatter_b)


def _columns(solution: Solution, points: Points) -> tuple[Floats, Floats]:
    """Slopes of the law by every parameter, scaled to size 1, and what is expected of each as a ridge."""
    law, theta, linear = solution.law, solution.theta_bq[:1], solution.linear_bl[:1]
    columns_np = np.concatenate(
        [law.jacobian(theta, linear, points)[0].T, law.basis(theta, points)[0]], axis=1
    )
    columns_np = np.where(np.isfinite(columns_np), columns_np, 0.0)
    pull_p = np.zeros(columns_np.shape[1])
    pull_p[: theta.shape[1]] = solution.scatter_b[0] / np.array([p.spread for p in law.parameters]) ** 2
    size_p = np.sqrt((columns_np**2).sum(0))
    kept = size_p > 1e-12 * (size_p.max() + 1e-300)
    return columns_np[:, kept] / size_p[kept], (pull_p[kept] / size_p[kept] ** 2) + 1e-8


@dataclass(frozen=True)
class _Conditioned:
    """The model for one size and length of the misfit, conditioned on the runs."""

    log_likelihood: float
    variance: float
    dof: float
    columns_np: Floats
    gain_pn: Floats
    inverse_nn: Floats
    phi_nf: Floats
    ratio: float

    def mean(self, residual_n: Floats) -> tuple[Floats, Floats]:
        """The law's expected move at the runs and the features' weights, given residuals (any number of rows)."""
        moved = residual_n @ self.gain_pn.T @ self.columns_np.T
        return moved, self.ratio**2 * ((residual_n - moved) @ self.inverse_nn) @ self.phi_nf


def _conditioned(
    residual_n: Floats, columns_np: Floats, pull_p: Floats, phi_nf: Floats, ratio: float
) -> _Conditioned:
    runs = len(residual_n)
    covariance_nn = ratio**2 * phi_nf @ phi_nf.T + np.eye(runs)
    inverse_nn = np.asarray(np.linalg.inv(covariance_nn), dtype=float)
    inverse_nn = (inverse_nn + inverse_nn.T) / 2
    weighted_pn = columns_np.T @ inverse_nn
    normal_pp = weighted_pn @ columns_np + np.diag(pull_p)
    gain_pn = np.asarray(np.linalg.solve(normal_pp, weighted_pn), dtype=float)
    spent = float(np.einsum("pn,np->", gain_pn, columns_np))
    dof = max(runs - spent, MIN_DOF)
    left = inverse_nn - weighted_pn.T @ gain_pn
    square = max(float(residual_n @ left @ residual_n), 1e-300)
    determinants = np.linalg.slogdet(covariance_nn)[1] + np.linalg.slogdet(normal_pp)[1]
    return _Conditioned(
        -0.5 * float(determinants) - 0.5 * dof * float(np.log(square)),
        square / dof,
        dof,
        columns_np,
        gain_pn,
        inverse_nn,
        phi_nf,
        ratio,
    )
