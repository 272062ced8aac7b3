"""Fitted losses in versions, as the optimiser sees them: laws with corrections, averages of laws, bounds on a loss."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixing.arrays import Floats, Ints
from mixing.decision.mixture.misfit import Features
from mixing.decision.mixture.objective import LossModel, numeric_gradients
from mixing.fitting.engine import Solution
from mixing.runs.points import Points


@dataclass(frozen=True)
class SolutionModel:
    """A law's solution in b versions, each with what the law misses: features times `misfit_bf` (nats; None: nothing).

    `own` are the columns of the domains whose text the loss is of.
    """

    solution: Solution
    tokens: float
    token_unit: float
    params: float | None
    own: tuple[int, ...]
    features: Features | None = None
    misfit_bf: Floats | None = None
    smooth: bool = True

    @property
    def count(self) -> int:
        return len(self.solution.linear_bl)

    def losses(self, shares_md: Floats) -> Floats:
        losses_bm = self.solution.predict(self._points(shares_md))
        if self.features is None or self.misfit_bf is None:
            return losses_bm
        return np.asarray(losses_bm + self.misfit_bf @ self.features.at(shares_md).T)

    def gradients(self, shares_md: Floats) -> Floats:
        return numeric_gradients(self.losses, shares_md)

    def replicate(self, b: int) -> LossModel:
        misfit = None if self.misfit_bf is None else self.misfit_bf[b : b + 1]
        return replace(self, solution=self.solution.part(slice(b, b + 1)), misfit_bf=misfit)

    def _points(self, shares_md: Floats) -> Points:
        m = len(shares_md)
        nothing = np.full(m, -1)
        target_m = total_share(shares_md, self.own)
        sizes = None if self.params is None else np.full(m, float(self.params))
        return Points(shares_md, target_m, np.full(m, self.tokens), self.token_unit, nothing, nothing, sizes)


@dataclass(frozen=True)
class MixedModel:
    """Versions of several laws. Version 0 is the mean of the parts' own first versions, version b > 0 is number
    `index_b` of part `part_b`."""

    parts: tuple[LossModel, ...]
    part_b: Ints
    index_b: Ints

    @property
    def count(self) -> int:
        return len(self.part_b)

    @property
    def smooth(self) -> bool:
        return all(part.smooth for part in self.parts)

    def losses(self, shares_md: Floats) -> Floats:
        return self._gathered([part.losses(shares_md) for part in self.parts])

    def gradients(self, shares_md: Floats) -> Floats:
        return self._gathered([part.gradients(shares_md) for part in self.parts])

    def replicate(self, b: int) -> LossModel:
        if b == 0:
            first = tuple(part.replicate(0) for part in self.parts)
            return MixedModel(first, np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))
        part: LossModel = self.parts[int(self.part_b[b])]
        return part.replicate(int(self.index_b[b]))

    def _gathered(self, values: list[Floats]) -> Floats:
        mean = np.mean([value[0] for value in values], axis=0)
        rest = [values[p][i] for p, i in zip(self.part_b[1:], self.index_b[1:], strict=True)]
        return np.stack([mean, *rest])


@dataclass(frozen=True)
class Margin:
    """How far a loss is above its limit_b, `spreads` standard deviations over the replicates added; one version."""

    model: LossModel
    limit_b: Floats
    spreads: float

    @property
    def count(self) -> int:
        return 1

    @property
    def smooth(self) -> bool:
        return self.model.smooth

    def losses(self, shares_md: Floats) -> Floats:
        over_bm = self.model.losses(shares_md)[1:] - self.limit_b[1:, None]
        return np.asarray(over_bm.mean(0) + self.spreads * over_bm.std(0))[None]

    def gradients(self, shares_md: Floats) -> Floats:
        return numeric_gradients(self.losses, shares_md)

    def replicate(self, b: int) -> LossModel:
        del b
        return self


def total_share(shares_nd: Floats, columns: tuple[int, ...]) -> Floats:
    """The summed share of some domains; NaN where none is known."""
    return np.asarray(shares_nd[:, list(columns)].sum(1)) if columns else np.full(len(shares_nd), np.nan)
