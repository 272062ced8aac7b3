"""Exponential mixing laws: every share multiplies a loss's excess over its floor by a factor.

    data mixing law (Ye et al., ICLR 2025, arXiv 2403.16952)   L(r) = c + k exp(sum_j t_j r_j)
    log-linear (olmix, arXiv 2602.12237)                       the same with c, k >= 0: exp(log c) + exp(A . p)

Shares sum to 1, so a constant added to all t_j is a factor of k: M sources have M + 1 identifiable parameters, and
the t_j are known up to that constant only (the expectation around 0 picks one). With several checkpoints c and k
are powers of tokens as in the paper's nested pipeline, fitted at once:

    L(r, D) = c + k exp(t . r) + m exp(u . r) / D^beta
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixing.arrays import Floats
from mixing.laws.base import FormulaTraits, NotApplicable, Parameter
from mixing.runs.points import Points

_MIN_BUDGETS = 3


@dataclass(frozen=True)
class Exponential(FormulaTraits):
    """One exponential of the shares, or one in each coefficient of a power of tokens."""

    name: str
    title: str
    formula: str
    source: str
    positive: bool
    caution: str
    needs: str = "shares; tokens where they vary"
    units: int = 1
    min_mixtures: int = 4
    domains: int = 0
    has_budgets: bool = False

    @property
    def floor(self) -> str:
        return "+c" if self.positive else ""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        k = self.domains
        parameters = [
            Parameter(
                f"t{i}" if self.units == 1 else f"t{u}.{i}",
                -30.0,
                30.0,
                "log factor per unit share",
                0.0,
                3.0,
            )
            for u in range(self.units)
            for i in range(k)
        ]
        if self.has_budgets:
            parameters += [
                Parameter(f"u{i}", -30.0, 30.0, "the same in what tokens still lower", 0.0, 1.0)
                for i in range(k)
            ]
            parameters.append(Parameter("beta", 0.02, 2.0, "power of tokens", 0.35, 0.15))
        return tuple(parameters)

    @property
    def linear(self) -> tuple[str, ...]:
        sign = "+" if self.positive else ""
        factors = (f"{sign}k",) if self.units == 1 else tuple(f"{sign}k{u}" for u in range(self.units))
        return (f"{sign}c", *factors, *(("+m",) if self.has_budgets else ()))

    def prepare(self, points: Points) -> Exponential:
        if len(np.unique(points.mixture_n)) < self.min_mixtures:
            raise NotApplicable(f"needs {self.min_mixtures} different mixtures")
        budgets = len(np.unique(points.tokens_n))
        return replace(self, domains=points.shares_nd.shape[1], has_budgets=budgets >= _MIN_BUDGETS)

    def starts(self, points: Points, losses_n: Floats) -> Floats:
        """With the floor c guessed, the law is linear in log space: a least-squares solve per floor."""
        shares_nd = points.shares_nd
        spread = float(np.ptp(losses_n)) + 1e-9
        rows = []
        for below in (0.1, 0.5, 2.0):
            logs_n = np.log(losses_n - (losses_n.min() - below * spread))
            ridge = 1e-3 * np.sqrt(len(logs_n)) * np.eye(shares_nd.shape[1])
            design = np.concatenate([shares_nd, ridge])
            factors_d = np.linalg.lstsq(design, np.concatenate([logs_n, 0 * ridge[0]]), rcond=None)[0]
            row = np.array([p.expected for p in self.parameters])
            for unit in range(self.units):
                # Units start apart: each with its own part of the sources' factors.
                part = np.arange(self.domains) % self.units == unit if self.units > 1 else 1.0
                row[unit * self.domains : (unit + 1) * self.domains] = (factors_d - factors_d.mean()) * part
            rows.append(row)
        return np.array(rows)

    def basis(self, theta_bq: Floats, points: Points) -> Floats:
        grown = [self._grown(factors_bd, points) for factors_bd in self._units(theta_bq)]
        columns = [np.ones_like(grown[0]), *grown]
        if self.has_budgets:
            columns.append(self._left(theta_bq, points))
        return np.stack(columns, axis=-1)

    def jacobian(self, theta_bq: Floats, linear_bl: Floats, points: Points) -> Floats:
        shares_dn = points.shares_nd.T
        parts = []
        for unit, factors_bd in enumerate(self._units(theta_bq)):
            grown_bn = self._grown(factors_bd, points) * linear_bl[:, 1 + unit, None]
            parts.append(grown_bn[:, None, :] * shares_dn)
        if self.has_budgets:
            left_bn = self._left(theta_bq, points) * linear_bl[:, -1:]
            parts.append(left_bn[:, None, :] * shares_dn)
            parts.append((-np.log(points.tokens_n / points.token_unit) * left_bn)[:, None, :])
        return np.concatenate(parts, axis=1)

    def _units(self, theta_bq: Floats) -> list[Floats]:
        k = self.domains
        return [theta_bq[:, u * k : (u + 1) * k] for u in range(self.units)]

    def _grown(self, factors_bd: Floats, points: Points) -> Floats:
        return np.asarray(np.exp(np.clip(factors_bd @ points.shares_nd.T, -50, 50)))

    def _left(self, theta_bq: Floats, points: Points) -> Floats:
        k, first = self.domains, self.units * self.domains
        power_bn = np.exp(-theta_bq[:, -1:] * np.log(points.tokens_n / points.token_unit))
        return self._grown(theta_bq[:, first : first + k], points) * power_bn


EXPONENTIAL = Exponential(
    "exponential",
    "Data mixing law",
    "L(r) = c + k exp(sum_j t_j r_j), + m exp(sum_j u_j r_j) / D^beta with several checkpoints",
    "Ye et al. 2025, arXiv 2403.16952, and its nested pipeline, fitted at once",
    positive=False,
    caution="shares near 0, where losses are steeper than an exponential; other sizes; factors taken one by one",
)
IMPLICIT = Exponential(
    "exponential-implicit",
    "Data mixing law, implicit domains",
    "L(r) = c + sum_u k_u exp(sum_j t_uj r_j), k_u >= 0: one exponential per domain that the validation text hides",
    "Ye et al. 2025, arXiv 2403.16952, the implicit-domain form; the number of units is ours",
    positive=True,
    caution="hardly more mixtures than sources; shares near 0; other sizes",
    units=3,
    min_mixtures=8,
)
LOG_LINEAR = Exponential(
    "log-linear",
    "Log-linear law",
    "f(p) = exp(log c) + exp(A . p)",
    "olmix (AI2 2026, arXiv 2602.12237)",
    positive=True,
    caution="losses that are concave in the shares; shares near 0; other sizes",
)
