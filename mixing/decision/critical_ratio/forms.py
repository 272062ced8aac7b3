"""The forms that a loss over target share may have: what a posterior averages over.

Each form gives one column g(R); the loss is a + b g(R) plus a misfit. Published laws give powers of the target
share (Gu et al. 2024), of the replay share (D-CPT, Que et al. 2024, for the general loss) and an exponential (Ye et
al. 2025). None of them has a kink, a threshold or a cliff, and few runs cannot show that one is there: so a hinge, a
logistic onset and a steep step at every place stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixing.arrays import Floats
from mixing.laws.power import power

STEP_WIDTH = 0.02
"""A cliff: the loss rises over this much of the target share."""
FLAT = 1e-3
"""A form that moves by less than this part of its range between the trained shares is not seen by them."""


@dataclass(frozen=True)
class Form:
    """One family: `columns` maps n target shares to columns_nc, one for each of its shapes; `weight` a priori."""

    name: str
    columns: Callable[[Floats], Floats]
    weight: float


def _powers(source: Callable[[Floats], Floats], exponents_c: Floats) -> Callable[[Floats], Floats]:
    return lambda shares_n: power(source(shares_n)[:, None], exponents_c)


def _hinges(shares_n: Floats) -> Floats:
    return np.maximum(shares_n[:, None] - np.linspace(0.03, 0.97, 48), 0.0)


def _onsets(shares_n: Floats) -> Floats:
    places_c, slopes_c = (
        grid.ravel() for grid in np.meshgrid(np.linspace(0.03, 0.97, 48), [8.0, 16.0, 32.0])
    )
    return np.asarray(1 / (1 + np.exp(-slopes_c * (shares_n[:, None] - places_c))))


def _steps(shares_n: Floats) -> Floats:
    return np.clip((shares_n[:, None] - np.linspace(0.02, 0.98, 97)) / STEP_WIDTH, 0.0, 1.0)


FORMS = (
    Form("target", _powers(lambda r: r, np.linspace(-1.0, 8.0, 19)), 0.22),
    Form("replay", _powers(lambda r: 1 - r, np.linspace(-1.5, 3.0, 19)), 0.22),
    Form("exponential", _powers(np.exp, np.linspace(-4.0, 8.0, 17) + 1e-3), 0.22),
    Form("hinge", _hinges, 0.13),
    Form("onset", _onsets, 0.13),
    Form("step", _steps, 0.08),
)
LINE = (Form("line", lambda shares_n: shares_n[:, None], 1.0),)


@dataclass(frozen=True)
class Columns:
    """c cells of several forms: values at the trained and at the grid's shares, and the prior of each."""

    trained_rc: Floats
    grid_gc: Floats
    log_prior_c: Floats
    form_c: Floats


def columns_of(forms: tuple[Form, ...], trained_r: Floats, grid_g: Floats) -> Columns:
    """The columns that the trained shares can tell from a constant, with mean 0 and spread 1 over those shares."""
    trained, grid, priors, numbers = [], [], [], []
    for number, form in enumerate(forms):
        values_rc, values_gc = form.columns(trained_r), form.columns(grid_g)
        spread_c = values_rc.std(0)
        seen_c = spread_c > FLAT * np.ptp(values_gc, axis=0)
        middle_c, spread_c = values_rc.mean(0)[seen_c], spread_c[seen_c]
        trained.append((values_rc[:, seen_c] - middle_c) / spread_c)
        grid.append((values_gc[:, seen_c] - middle_c) / spread_c)
        priors.append(np.full(int(seen_c.sum()), np.log(form.weight / values_rc.shape[1])))
        numbers.append(np.full(int(seen_c.sum()), number))
    return Columns(
        np.concatenate(trained, 1), np.concatenate(grid, 1), np.concatenate(priors), np.concatenate(numbers)
    )
