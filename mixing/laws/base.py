"""What a law is: it says what it predicts, and never optimises (that is `mixing.fitting.engine`'s)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Points:
    """Where a loss was, or is to be, known: n rows of (mixture, checkpoint).

    `shares_nd` are token shares by domain, `target_n` the target share R (their sum over the target domains; NaN
    where a table has no such role), `tokens_n` training tokens, `token_unit` the tokens that count as T = 1 in a
    law, `mixture_n` a code shared by rows of one mixture, `run_n` by rows of one run, `params_n` the model's
    parameters (None where a table names no sizes), `stderr_n` the standard errors with which the loss was evaluated
    (None where a table names none).
    """

    shares_nd: Floats
    target_n: Floats
    tokens_n: Floats
    token_unit: float
    mixture_n: Ints
    run_n: Ints
    params_n: Floats | None = None
    stderr_n: Floats | None = None

    def __len__(self) -> int:
        return len(self.tokens_n)

    def interior(self) -> NDArray[np.bool_]:
        """Rows whose target share lies strictly between 0 and 1."""
        return np.asarray((self.target_n > 1e-6) & (self.target_n < 1 - 1e-6))

    def at(self, targets_n: Floats, tokens_n: Floats) -> Points:
        """Points of the same kind elsewhere: only the target share and the tokens are set."""
        nothing = np.full(len(targets_n), -1)
        return Points(
            np.stack([1 - targets_n, targets_n], 1), targets_n, tokens_n, self.token_unit, nothing, nothing
        )

    def take(self, rows: NDArray[np.bool_] | Ints) -> Points:
        return Points(
            self.shares_nd[rows],
            self.target_n[rows],
            self.tokens_n[rows],
            self.token_unit,
            self.mixture_n[rows],
            self.run_n[rows],
            None if self.params_n is None else self.params_n[rows],
            None if self.stderr_n is None else self.stderr_n[rows],
        )


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


class Law(Protocol):
    """prediction_n = sum_l linear_l * basis_nl(theta), with theta inside its bounds.

    `prepare` sees the points that a fit will use, refuses with NotApplicable, and returns the law ready for
    them (e.g. knowing the checkpoints it may predict at).
    """

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def formula(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def needs(self) -> str:
        """The columns of a table that it uses, in words."""
        ...

    @property
    def caution(self) -> str:
        """Where it must not be trusted, in words."""
        ...

    @property
    def min_mixtures(self) -> int: ...

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Nonlinear parameters, q of them."""
        ...

    @property
    def linear(self) -> tuple[str, ...]:
        """Names of the linear parameters, l of them; those that start with + may not be negative."""
        ...

    def usable(self, points: Points) -> NDArray[np.bool_]:
        """Which rows the law may be fitted on and asked about."""
        ...

    def prepare(self, points: Points) -> Law: ...

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
class Regressor(Protocol):
    """A model without a formula that `mixing.fitting.engine` could search: it fits itself."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def formula(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def needs(self) -> str:
        """The columns of a table that it uses, in words."""
        ...

    @property
    def caution(self) -> str:
        """Where it must not be trusted, in words."""
        ...

    @property
    def min_mixtures(self) -> int: ...

    def usable(self, points: Points) -> NDArray[np.bool_]: ...

    def fit(self, points: Points, losses_vn: Floats) -> Sequence[Fitted]:
        """A fit per loss; raises NotApplicable."""
        ...


Model = Law | Regressor
