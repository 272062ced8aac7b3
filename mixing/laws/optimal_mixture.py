"""Scaling laws for optimal data mixtures (Shukor et al. 2025, arXiv 2507.09404): every source counts by a power of its
share, and what they add up to lowers the loss.

    additive   L = E + S / sum_i C_i h_i^g_i + A / N^alpha + B / D^beta
    joint      A and B times a mean of the mixture: sum_i CA_i h_i, sum_i CB_i h_i (the paper's powers of them are 1)

    product    L = sum of all products of {1, u}, {1, N^-alpha}, {1, D^-beta}, u = (sum_i C_i h_i^g_i)^-delta:
               ours. delta <= 1 tends to a logarithm; the products let a large model learn late and a mixture
               matter less once there are tokens enough

The paper's reciprocal has no S: here it carries the scale of all C_i, which are weighed against each other only.
Terms in N and D are there where a table has several sizes and checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from mixing.arrays import Floats
from mixing.laws.base import FormulaTraits, NotApplicable, Parameter
from mixing.runs.points import Points

_MIN_SIZES, _MIN_BUDGETS = 2, 3


@dataclass(frozen=True)
class OptimalMixture(FormulaTraits):
    """The additive form, the joint one, whose best mixture moves with scale, or the product form."""

    name: str
    title: str
    formula: str
    caution: str
    needs: str = "shares; tokens and params where they vary"
    joint: bool = False
    product: bool = False
    source: str = "Shukor et al. 2025, arXiv 2507.09404, additive and joint laws"
    min_mixtures: int = 4
    domains: int = 0
    has_sizes: bool = False
    has_budgets: bool = False
    size_unit: float = 1.0

    floor = "+E"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        k = self.domains
        parameters = [Parameter(f"lnC{i}", -8.0, 8.0, "weight of a source", 0.0, 2.0) for i in range(k)]
        parameters += [Parameter(f"g{i}", 0.05, 3.0, "power of a source's share", 0.6, 0.4) for i in range(k)]
        if self.product:
            parameters.append(
                Parameter("ln_delta", -3.5, 0.0, "power of the reciprocal, as a logarithm", -1.0, 1.0)
            )
        for present, letter, meaning, expected in (
            (self.has_sizes, "A", "size", 0.35),
            (self.has_budgets, "B", "tokens", 0.35),
        ):
            if not present:
                continue
            parameters.append(Parameter(f"power{letter}", 0.02, 2.0, f"power of {meaning}", expected, 0.15))
            if self.joint:
                parameters += [
                    Parameter(
                        f"lnC{letter}{i}", -3.0, 3.0, f"a source's weight in the term of {meaning}", 0.0, 0.5
                    )
                    for i in range(k)
                ]
        return tuple(parameters)

    @property
    def linear(self) -> tuple[str, ...]:
        names = []
        for mixture, size, tokens in self._terms():
            factors = "u" * mixture + "N" * size + "D" * tokens
            single = {"": "+E", "u": "+S", "N": "+A", "D": "+B"}
            # What a product adds may have either sign: a large model is slower at first.
            names.append(single.get(factors, factors))
        return tuple(names)

    def _terms(self) -> list[tuple[int, int, int]]:
        """Which of u, N^-alpha, D^-beta each linear parameter multiplies."""
        sizes, budgets = (0, 1)[: 1 + self.has_sizes], (0, 1)[: 1 + self.has_budgets]
        terms = [(m, n, d) for m in (0, 1) for n in sizes for d in budgets]
        return sorted((t for t in terms if self.product or sum(t) <= 1), key=lambda t: (sum(t), -t[0], -t[1]))

    def prepare(self, points: Points) -> OptimalMixture:
        if len(np.unique(points.mixture_n)) < self.min_mixtures:
            raise NotApplicable(f"needs {self.min_mixtures} different mixtures")
        sizes = np.empty(0) if points.params_n is None else np.unique(points.params_n[points.params_n > 0])
        ready = replace(
            self,
            domains=points.shares_nd.shape[1],
            has_sizes=len(sizes) >= _MIN_SIZES,
            has_budgets=len(np.unique(points.tokens_n)) >= _MIN_BUDGETS,
            size_unit=float(np.exp(np.log(sizes).mean())) if len(sizes) else 1.0,
        )
        if self.joint and not (ready.has_sizes or ready.has_budgets):
            raise NotApplicable("needs several sizes or checkpoints: without them it is the additive law")
        return ready

    def starts(self, points: Points, losses_n: Floats) -> Floats:
        """With floor and powers guessed, 1 / (L - E) is linear in the C_i: a non-negative solve per guess."""
        k, rows = self.domains, []
        spread = float(np.ptp(losses_n)) + 1e-9
        for below, power in ((0.2, 0.5), (0.2, 0.9), (1.0, 0.7)):
            inverse_n = 1 / (losses_n - losses_n.min() + below * spread)
            # Errors of L enter 1 / (L - E) multiplied by its square.
            weighted_nd = points.shares_nd**power / inverse_n[:, None]
            found_d = nnls(weighted_nd, np.ones(len(losses_n)))[0]
            row = np.array([p.expected for p in self.parameters])
            row[:k] = np.log(np.maximum(found_d, 1e-2 * found_d.max() + 1e-12))
            row[:k] -= row[:k].mean()
            row[k : 2 * k] = power
            rows.append(row)
        return np.array(rows)

    def basis(self, theta_bq: Floats, points: Points) -> Floats:
        u_bn = self._weighted(theta_bq, points)[1] ** -self._delta(theta_bq)
        size_bn, tokens_bn = (column for column, _ in self._scales(theta_bq, points))
        return np.stack([u_bn**m * size_bn**n * tokens_bn**d for m, n, d in self._terms()], axis=-1)

    def jacobian(self, theta_bq: Floats, linear_bl: Floats, points: Points) -> Floats:
        weighted_bkn, total_bn = self._weighted(theta_bq, points)
        delta_b1 = self._delta(theta_bq)
        u_bn = total_bn**-delta_b1
        (size_bn, by_size_bqn), (tokens_bn, by_tokens_bqn) = self._scales(theta_bq, points)
        # The prediction's slopes by u, by the column in N, and by the column in D.
        slopes = [np.zeros_like(u_bn) for _ in range(3)]
        for (m, n, d), factor_b in zip(self._terms(), linear_bl.T, strict=True):
            if m:
                slopes[0] = slopes[0] + factor_b[:, None] * size_bn**n * tokens_bn**d
            if n:
                slopes[1] = slopes[1] + factor_b[:, None] * u_bn**m * tokens_bn**d
            if d:
                slopes[2] = slopes[2] + factor_b[:, None] * u_bn**m * size_bn**n
        by_weight_bkn = weighted_bkn * (-delta_b1 * u_bn / total_bn * slopes[0])[:, None, :]
        parts = [by_weight_bkn, by_weight_bkn * points.log_shares_nd.T]
        if self.product:
            parts.append((-delta_b1 * np.log(total_bn) * u_bn * slopes[0])[:, None, :])
        parts += [by_size_bqn * slopes[1][:, None, :], by_tokens_bqn * slopes[2][:, None, :]]
        return np.concatenate(parts, axis=1)

    def _delta(self, theta_bq: Floats) -> Floats:
        at = 2 * self.domains
        return np.exp(theta_bq[:, at : at + 1]) if self.product else np.ones((len(theta_bq), 1))

    def _weighted(self, theta_bq: Floats, points: Points) -> tuple[Floats, Floats]:
        """C_i h_i^g_i by source, weighted_bkn, and their sum."""
        k = self.domains
        # An absent source's power is 0 whatever the exponent.
        log_kn = points.log_shares_nd.T
        weighted_bkn = np.exp(theta_bq[:, :k, None] + theta_bq[:, k : 2 * k, None] * log_kn)
        weighted_bkn *= points.shares_nd.T > 0
        return weighted_bkn, weighted_bkn.sum(1) + 1e-12

    def _scales(self, theta_bq: Floats, points: Points) -> list[tuple[Floats, Floats]]:
        """The columns in N and in D, each with its slopes by its own parameters (none where it is left out)."""
        k, at, scales = self.domains, 2 * self.domains + self.product, []
        for present, value_n in (
            (self.has_sizes, None if points.params_n is None else points.params_n / self.size_unit),
            (self.has_budgets, points.tokens_n / points.token_unit),
        ):
            if not present:
                scales.append(
                    (np.ones((len(theta_bq), len(points))), np.empty((len(theta_bq), 0, len(points))))
                )
                continue
            if value_n is None:
                raise NotApplicable("the points name no sizes")
            log_n = np.log(value_n)
            column_bn = np.exp(-theta_bq[:, at, None] * log_n)
            slopes = [(-log_n * column_bn)[:, None, :]]
            at += 1
            if self.joint:
                mixed_bkn = np.exp(theta_bq[:, at : at + k, None]) * points.shares_nd.T
                slopes.append(mixed_bkn * column_bn[:, None, :])
                slopes[0] = slopes[0] * mixed_bkn.sum(1)[:, None, :]
                column_bn = column_bn * mixed_bkn.sum(1)
                at += k
            scales.append((column_bn, np.concatenate(slopes, axis=1)))
        return scales


ADDITIVE = OptimalMixture(
    "mixture-additive",
    "Optimal-mixture law, additive",
    "L = E + S / sum_i C_i h_i^g_i + A / N^alpha + B / D^beta",
    "a best mixture that moves with scale",
)
PRODUCT = OptimalMixture(
    "mixture-product",
    "Optimal-mixture law, product form",
    "L = sum of products of {1, u}, {1, N^-alpha}, {1, D^-beta}, u = (sum_i C_i h_i^g_i)^-delta",
    "sizes far past the trained ones; two sizes with few checkpoints",
    product=True,
    source="ours, after Shukor et al. 2025",
)
JOINT = OptimalMixture(
    "mixture-joint",
    "Optimal-mixture law, joint",
    "L = E + S / sum_i C_i h_i^g_i + A (sum_i CA_i h_i) / N^alpha + B (sum_i CB_i h_i) / D^beta",
    "few runs: it has up to four parameters per source",
    joint=True,
)
