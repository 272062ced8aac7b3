"""What a law is: it says what it predicts and what it is, and never optimises (that is `mixing.fitting.engine`'s).

**The life of a law.** `mixing.laws.LAWS` holds laws as they are before any data. For each loss:

1. `usable(points)` says which rows of a table the law can be fitted on and asked about.
2. `prepare(points)` sees those rows, refuses with NotApplicable where they cannot carry the law, and returns the law
   ready for them: it now knows its sources, its checkpoints, and which of its terms the table can tell apart.
3. `starts(points, losses_n)` guesses nonlinear parameters theta, from which the engine searches.
4. `basis(theta, points)` gives the columns that the linear parameters weigh, and `jacobian` the slopes of the
   prediction by theta. The engine calls both many times, then solves for the linear parameters.

A prediction is `sum_l linear_l * basis_nl(theta)`. A Regressor has no formula that the engine could search: it has
`usable`, and its own `fit` in the place of all the rest.

**The letters after an array's name are its axes**, in order: `losses_vn` has a row per loss and a column per point,
`basis_bnl` is (problems, points, linear parameters). A name without such letters is a scalar or a plain vector.

| letter | axis |
|---|---|
| n | points: rows of (run, checkpoint) |
| v | losses: validation sets, or weighted means of them |
| b | problems solved at once, or draws: starts, folds, replicates |
| q, l, p | parameters: nonlinear (theta), linear, all |
| s | starting values |
| d | sources (domains), the share columns |
| t | checkpoints, by tokens |
| m | mixtures, or models that are compared |
| r | runs, or target shares |
| g | the grid of target shares on which a decision is looked for |
| f | folds |

Other letters are local to a function (`_cskj` in the posterior of a loss: forms, scatters, misfits, contrasts).
A letter that stands twice (`_bqq`) is a square matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.runs.points import Points


@dataclass(frozen=True)
class Parameter:
    """A parameter that enters a law nonlinearly, with its bounds and what it means.

    A law with as many parameters as sources is steadied by what is expected before any run: `expected` +- `spread`
    (one standard deviation), weighed against the scatter of the runs. An infinite spread says nothing.
    """

    name: str
    low: float
    high: float
    meaning: str
    expected: float = 0.0
    spread: float = float("inf")


class NotApplicable(Exception):
    """The table lacks what a law needs; the text says what."""


class Traits(Protocol):
    """What a model is, for those who choose among models; a model overrides what is otherwise with it.

    Laws and regressors inherit these defaults, so that none is ever recognised by its name or class.
    """

    @property
    def baseline(self) -> bool:
        """Always fitted and shown: what the others must beat."""
        return False

    @property
    def ranks_mixtures(self) -> bool:
        """Its predictions differ between mixtures."""
        return True

    @property
    def one_budget(self) -> bool:
        """It is fitted on the rows of one budget, the largest, and knows no other."""
        return False

    @property
    def per_budget(self) -> bool:
        """It has parameters of its own for every budget of the table."""
        return False

    @property
    def has_sizes(self) -> bool:
        """It has a term in the model size N, so it may be asked about sizes that were not trained."""
        return False

    @property
    def needs_target_share(self) -> bool:
        """It sees the target share R of a mixture and nothing else: a law of two sources, or of two roles."""
        return False

    def usable(self, points: Points) -> NDArray[np.bool_]:
        """Which rows the model may be fitted on and asked about."""
        return np.ones(len(points), dtype=bool)


class FormulaTraits(Traits, Protocol):
    """What a law is besides: what a loss over tokens does under its formula."""

    @property
    def floor(self) -> str:
        """The linear parameter that is the loss's floor, if it may not be negative ("" for none).

        Of a metric that may itself be negative the engine lets the floor be negative too.
        """
        return ""

    @property
    def turns(self) -> bool:
        """Its loss can rise and then fall over tokens."""
        return False

    def basis_slope(self, theta_bq: Floats, points: Points) -> Floats | None:
        """d basis / d ln T, slope_bnl; None where the law does not say."""
        return None


class Model(Traits, Protocol):
    """What a law and a regressor have in common: how they are presented, and what they are (`Traits`)."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def formula(self) -> str: ...

    @property
    def source(self) -> str:
        """The paper that it comes from, with its identifier."""
        ...

    @property
    def needs(self) -> str:
        """The columns of a table that it uses, in words."""
        ...

    @property
    def caution(self) -> str:
        """Where it must not be trusted, in words."""
        ...

    @property
    def min_mixtures(self) -> int:
        """Different mixtures below which it is refused."""
        ...


class Law(Model, FormulaTraits, Protocol):
    """prediction_n = sum_l linear_l * basis_nl(theta), with theta inside its bounds."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Nonlinear parameters, q of them."""
        ...

    @property
    def linear(self) -> tuple[str, ...]:
        """Names of the linear parameters, l of them; those that start with + may not be negative."""
        ...

    def prepare(self, points: Points) -> Law:
        """The law ready for the points that a fit will use; raises NotApplicable where they cannot carry it."""
        ...

    def starts(self, points: Points, losses_n: Floats) -> Floats:
        """Starting values starts_sq, at least one row and as many for every loss, guessed from the data."""
        ...

    def basis(self, theta_bq: Floats, points: Points) -> Floats:
        """basis_bnl for a batch of parameter vectors."""
        ...

    def jacobian(self, theta_bq: Floats, linear_bl: Floats, points: Points) -> Floats:
        """d prediction / d theta at fixed linear parameters, jacobian_bqn."""
        ...


class Fitted(Protocol):
    """What a fit leaves: predictions anywhere, and parameters by name."""

    def predict(self, points: Points) -> Floats:
        """prediction_bn, b = 1 for one fit."""
        ...

    def named(self) -> dict[str, float]: ...


@runtime_checkable
class Regressor(Model, Protocol):
    """A model without a formula that `mixing.fitting.engine` could search: it fits itself."""

    def fit(self, points: Points, losses_vn: Floats) -> Sequence[Fitted]:
        """A fit per loss; raises NotApplicable."""
        ...


LawOrRegressor = Law | Regressor
