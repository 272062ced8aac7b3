"""Repetition (Muennighoff et al. 2023, arXiv 2305.16264): text read again counts for less, as a wrapper on any law.

A source of U unique tokens that is read for D tokens is worth D' = U + U R_D (1 - exp(-R / R_D)) fresh ones, with
R = D / U - 1 repetitions. The wrapper turns the shares and tokens of a point into effective ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.fitting.engine import fit
from mixing.laws.base import Fitted, Law, Traits
from mixing.laws.repetition import effective
from mixing.runs.points import Points


def effective_points(points: Points, unique_d: Floats, target: Sequence[int] = ()) -> Points:
    """The same points in effective tokens; `unique_d` are the unique tokens of each source, `target` the columns whose
    shares sum to the target share (without them that stays nominal)."""
    read_nd = points.shares_nd * points.tokens_n[:, None]
    worth_nd = effective(read_nd, unique_d[None, :])
    # To nine digits, so that budgets which are equal but for rounding stay one checkpoint.
    tokens_n = np.array([float(f"{total:.9g}") for total in worth_nd.sum(1)])
    shares_nd = worth_nd / worth_nd.sum(1, keepdims=True)
    target_n = shares_nd[:, list(target)].sum(1) if target else points.target_n
    return replace(points, shares_nd=shares_nd, target_n=target_n, tokens_n=tokens_n)


@dataclass(frozen=True)
class Repeated(Traits):
    """Any law, fed effective instead of nominal tokens; a source without a limit has `inf` unique tokens. `target` are
    the columns that make up the target share R."""

    law: Law
    unique_d: tuple[float, ...]
    target: tuple[int, ...] = ()
    source: str = "Muennighoff et al. 2023, arXiv 2305.16264"

    @property
    def name(self) -> str:
        return f"{self.law.name} with repetition"

    @property
    def title(self) -> str:
        return f"{self.law.title}, in effective tokens"

    @property
    def formula(self) -> str:
        return f"{self.law.formula}, with D_j' = U_j + U_j R_D (1 - exp(-(D_j / U_j - 1) / R_D))"

    @property
    def needs(self) -> str:
        return f"{self.law.needs}; the unique tokens of every source"

    @property
    def caution(self) -> str:
        return f"beyond tens of epochs, and text unlike web text; then {self.law.caution}"

    @property
    def min_mixtures(self) -> int:
        return self.law.min_mixtures

    def usable(self, points: Points) -> NDArray[np.bool_]:
        return self.law.usable(points)

    def fit(self, points: Points, losses_vn: Floats) -> Sequence[Fitted]:
        """Raises NotApplicable where the law does."""
        fits = fit(self.law, effective_points(points, np.array(self.unique_d), self.target), losses_vn)
        return [FittedRepetition(one, self.unique_d, self.target) for one in fits]


@dataclass(frozen=True)
class FittedRepetition:
    law: Fitted
    unique_d: tuple[float, ...]
    target: tuple[int, ...] = ()

    def predict(self, points: Points) -> Floats:
        return self.law.predict(self.places(points))

    def places(self, points: Points) -> Points:
        """The points as the law sees them, in effective tokens."""
        return effective_points(points, np.array(self.unique_d), self.target)

    def named(self) -> dict[str, float]:
        return self.law.named()
