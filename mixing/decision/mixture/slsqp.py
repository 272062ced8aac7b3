"""A local optimum by sequential quadratic programming (SLSQP), for losses with gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import minimize

from mixing.arrays import Floats
from mixing.decision.mixture.objective import Problem


def local_optimum(one: Problem, start_q: Floats, scale: float, relaxed: bool = False) -> Floats:
    """The local optimum q of one version of a problem from a start; the start itself where SLSQP breaks down.

    `scale` is the spread of the objective (nats), by which all is divided. The last variable is a bound on a maximum:
    of target losses with `worst`, of the violations when `relaxed`, which drops the objective.
    """
    return _Programme(one, scale, relaxed).solve(start_q)


@dataclass(frozen=True)
class _Programme:
    """One problem as functions of x: q, and where `bounded` the bound after it."""

    one: Problem
    scale: float
    relaxed: bool
    memory: dict[bytes, tuple[Floats, Floats, Floats]] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return len(self.one.region.names)

    @property
    def targets(self) -> int:
        return len(self.one.targets)

    @property
    def bounded(self) -> bool:
        return self.one.worst or self.relaxed

    def at(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        """The mixture at x, every loss there (targets first), and their slopes by q; the last x is remembered."""
        one, width, parts_qd = self.one, self.width, self.one.region.parts_qd
        key = x[:width].tobytes()
        if key not in self.memory:
            self.memory.clear()
            models = [*one.targets, *(c.model for c in one.loss_constraints)]
            shares_d = np.maximum(x[:width] @ parts_qd, 0.0)
            value = np.array([m.losses(shares_d[None])[0, 0] for m in models])
            slope = np.stack([m.gradients(shares_d[None])[0, 0] for m in models])
            # Power laws have no finite slope at a share of 0.
            slope = np.clip(np.nan_to_num(slope), -1e6 * self.scale, 1e6 * self.scale)
            self.memory[key] = (shares_d, value, slope @ parts_qd.T)
        return self.memory[key]

    def objective(self, x: Floats) -> tuple[float, Floats]:
        """The objective and its gradient."""
        one, width = self.one, self.width
        gradient = np.zeros(len(x))
        if self.bounded:
            gradient[-1] = 1.0
        if self.relaxed:
            return float(x[-1]), gradient
        shares_d, value, slope = self.at(x)
        total = float(one.divergence(shares_d[None])[0]) / self.scale
        gradient[:width] += one.region.parts_qd @ one.kl_slope(shares_d) / self.scale
        if one.worst:
            return total + float(x[-1]), gradient
        gradient[:width] += one.weights_t @ slope[: self.targets] / self.scale
        return total + float(one.weights_t @ value[: self.targets]) / self.scale, gradient

    def slack(self, x: Floats) -> Floats:
        """How far each constraint is from being violated; above 0 it holds."""
        _, value, _ = self.at(x)
        slack = (self._limits() - value[self.targets :]) / self.scale
        if self.relaxed:
            return np.asarray(slack + x[-1])
        if self.one.worst:
            over = (value[: self.targets] - self.one.reference_bt[0]) / self.scale
            slack = np.concatenate([slack, x[-1] - over])
        return np.asarray(slack)

    def slack_slopes(self, x: Floats) -> Floats:
        _, _, slope = self.at(x)
        slopes = -slope[self.targets :] / self.scale
        if not self.relaxed and self.one.worst:
            slopes = np.concatenate([slopes, -slope[: self.targets] / self.scale])
        if self.bounded:
            last = np.zeros((len(slopes), 1))
            last[0 if self.relaxed else len(self.one.loss_constraints) :] = 1.0
            slopes = np.concatenate([slopes, last], 1)
        return np.asarray(slopes)

    def solve(self, start_q: Floats) -> Floats:
        one, width, region = self.one, self.width, self.one.region
        x = region.project(start_q[None])[0]
        bounds = list(zip(region.low_q.tolist(), region.high_q.tolist(), strict=True))
        ones = np.ones(width)
        if self.bounded:
            _, value, _ = self.at(x)
            over = value[: self.targets] - one.reference_bt[0]
            first = (value[self.targets :] - self._limits()) if self.relaxed else over
            x = np.append(x, first.max() / self.scale)
            bounds.append((-np.inf, np.inf))
            ones = np.append(ones, 0.0)
        constraints: list[dict[str, Any]] = [
            {"type": "eq", "fun": lambda x: np.array([x[:width].sum() - 1]), "jac": lambda x: ones[None]}
        ]
        if one.loss_constraints or (self.bounded and not self.relaxed):
            constraints.append({"type": "ineq", "fun": self.slack, "jac": self.slack_slopes})
        with np.errstate(all="ignore"):
            result = minimize(
                self.objective,
                x,
                jac=True,
                method="SLSQP",
                bounds=bounds,
                constraints=constraints,
                options={"maxiter": 100, "ftol": 1e-8},
            )
        end = np.asarray(result.x[:width], dtype=float)
        return end if np.isfinite(end).all() else x[:width]

    def _limits(self) -> Floats:
        return np.array([float(c.limit_b[0]) for c in self.one.loss_constraints])
