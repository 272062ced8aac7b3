"""The nested pipeline of the data mixing laws (Ye et al. 2025, arXiv 2403.16952): step law, size law, mixture law.

Each mixture's own losses give its coefficients of tokens and size, with exponents tied across mixtures; the mixture
law is then fitted to those coefficients, so that few mixtures trained further, or larger, say where all would end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from mixing.arrays import Floats
from mixing.fitting.engine import Solution, fit
from mixing.laws.base import NotApplicable, Traits
from mixing.laws.exponential import EXPONENTIAL
from mixing.runs.points import Points

_MIN_BUDGETS, _MIN_SIZES = 3, 2


@dataclass(frozen=True)
class FittedNest:
    """An exponential law for each coefficient: of 1, of D^-beta, of N^-alpha where sizes vary."""

    coefficients: tuple[Solution, ...]
    beta: float
    alpha: float | None
    size_unit: float

    def predict(self, points: Points) -> Floats:
        columns_nl = _columns(points, self.beta, self.alpha, self.size_unit)
        flat = _at_one_budget(points)
        values_nl = np.stack([coefficient.predict(flat)[0] for coefficient in self.coefficients], axis=1)
        return np.asarray((columns_nl * values_nl).sum(1))[None, :]

    def named(self) -> dict[str, float]:
        parameters = {"beta": self.beta} | ({} if self.alpha is None else {"alpha": self.alpha})
        for letter, solution in zip("eba", self.coefficients, strict=False):
            parameters |= {f"{letter}.{name}": value for name, value in solution.named().items()}
        return parameters


@dataclass(frozen=True)
class Nested(Traits):
    """A regressor in two stages; it needs several checkpoints of every mixture."""

    name: str = "nested"
    title: str = "Nested step, size and mixture laws"
    formula: str = "L_m = e_m + b_m / D^beta + a_m / N^alpha, then e, b, a each c + k exp(t . r)"
    source: str = "Ye et al. 2025, arXiv 2403.16952, the nested use of scaling laws"
    needs: str = "shares and several checkpoints of every mixture; params where they vary"
    caution: str = "few or noisy checkpoints per mixture; mixtures that lack some of the sizes"
    min_mixtures: int = 4

    def fit(self, points: Points, losses_vn: Floats) -> list[FittedNest]:
        """Raises NotApplicable where checkpoints or mixtures are too few."""
        mixtures, first_m, mixture_n = np.unique(points.mixture_n, return_index=True, return_inverse=True)
        if len(mixtures) < self.min_mixtures:
            raise NotApplicable(f"needs {self.min_mixtures} different mixtures")
        sizes = np.empty(0) if points.params_n is None else np.unique(points.params_n[points.params_n > 0])
        several = len(sizes) >= _MIN_SIZES
        unit = float(np.exp(np.log(sizes).mean())) if several else 1.0
        needed = _MIN_BUDGETS + several
        for m in range(len(mixtures)):
            if len(np.unique(points.tokens_n[mixture_n == m])) < needed:
                raise NotApplicable(f"needs {needed} checkpoints of every mixture")
        places = _at_one_budget(points.take(first_m))
        return [self._one(points, y_n, mixture_n, places, several, unit) for y_n in losses_vn]

    @staticmethod
    def _one(
        points: Points, losses_n: Floats, mixture_n: np.ndarray, places: Points, several: bool, unit: float
    ) -> FittedNest:
        def error(exponents: Floats) -> float:
            return float((_stage_one(points, losses_n, mixture_n, exponents, several, unit)[1] ** 2).sum())

        start = np.array([0.35, 0.35][: 1 + several])
        optimum = minimize(error, start, method="L-BFGS-B", bounds=[(0.02, 2.0)] * len(start))
        coefficients_ml = _stage_one(points, losses_n, mixture_n, optimum.x, several, unit)[0]
        solutions = fit(EXPONENTIAL, places, coefficients_ml.T)
        return FittedNest(
            tuple(solutions), float(optimum.x[0]), float(optimum.x[1]) if several else None, unit
        )


def _stage_one(
    points: Points, losses_n: Floats, mixture_n: np.ndarray, exponents: Floats, several: bool, unit: float
) -> tuple[Floats, Floats]:
    columns_nl = _columns(points, float(exponents[0]), float(exponents[1]) if several else None, unit)
    coefficients, residual_n = [], np.empty_like(losses_n)
    for m in range(int(mixture_n.max()) + 1):
        rows = mixture_n == m
        found_l = np.linalg.lstsq(columns_nl[rows], losses_n[rows], rcond=1e-8)[0]
        coefficients.append(found_l)
        residual_n[rows] = losses_n[rows] - columns_nl[rows] @ found_l
    return np.array(coefficients), residual_n


def _columns(points: Points, beta: float, alpha: float | None, unit: float) -> Floats:
    columns = [np.ones(len(points)), (points.tokens_n / points.token_unit) ** -beta]
    if alpha is not None:
        if points.params_n is None:
            raise NotApplicable("the points name no sizes")
        columns.append((points.params_n / unit) ** -alpha)
    return np.stack(columns, axis=1)


def _at_one_budget(points: Points) -> Points:
    nothing = np.full(len(points), points.token_unit)
    return Points(
        points.shares_nd, points.target_n, nothing, points.token_unit, points.mixture_n, points.run_n
    )
