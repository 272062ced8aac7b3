"""Honest scores: a law is judged on mixtures, or budgets, that its fit has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from mixing.arrays import Floats
from mixing.fitting.engine import fit, fit_model
from mixing.laws.base import Law, LawOrRegressor, NotApplicable, Regressor
from mixing.runs.budgets import common_budgets
from mixing.runs.points import Points

Kind = Literal["leave-mixture-out", "leave-largest-T", "leave-largest-N"]
LEAVE_ONE_UP_TO, MANY = 20, 150
"""Up to so many mixtures each is left out alone; beyond, in 10 groups of whole mixtures, and in 5 beyond MANY."""


@dataclass(frozen=True)
class Score:
    """Errors on rows a fit has not seen: `mae` in nats, `mre` relative, `mse` in nats^2, correlations at the largest
    budget that (almost) all mixtures reach, `regret` in nats: the loss at the mixture predicted best less the best
    observed one, there.

    `standard_error` is that of `mae`, over mixtures.
    """

    mae: float
    mre: float
    mse: float
    spearman: float | None
    pearson: float | None
    regret: float | None
    standard_error: float


def score(predicted_n: Floats, observed_n: Floats, points: Points, offset: float = 0.0) -> Score:
    """Score predictions; `offset` is the base loss where losses are increments (it enters only `mre`)."""
    error_n = np.abs(predicted_n - observed_n)
    by_mixture = np.array([error_n[points.mixture_n == m].mean() for m in np.unique(points.mixture_n)])
    last = points.tokens_n == common_budgets(points.tokens_n)[-1]
    spearman = pearson = regret = None
    if last.sum() >= 3 and np.ptp(predicted_n[last]) > 0 and np.ptp(observed_n[last]) > 0:
        # Polars is loaded for the tables already; scipy.stats would take most of a second more.
        pair = pl.DataFrame({"predicted": predicted_n[last], "observed": observed_n[last]})
        spearman = float(pair.select(pl.corr("predicted", "observed", method="spearman")).item())
        pearson = float(pair.select(pl.corr("predicted", "observed")).item())
    if last.sum() >= 2:
        regret = float(observed_n[last][predicted_n[last].argmin()] - observed_n[last].min())
    level_n = np.abs(observed_n + offset)
    # A loss of next to nothing has no relative error worth the name, and dividing by it overflows.
    sizeable = level_n > 1e-9
    relative_n = error_n[sizeable] / level_n[sizeable]
    return Score(
        float(error_n.mean()),
        float(relative_n.mean()) if len(relative_n) else 0.0,
        float((error_n**2).mean()),
        spearman,
        pearson,
        regret,
        float(by_mixture.std(ddof=1) / np.sqrt(len(by_mixture))) if len(by_mixture) > 1 else 0.0,
    )


def folds(points: Points, kind: Kind) -> list[np.ndarray]:
    """Row masks to hold out, each a whole number of mixtures, or the largest budgets.

    With one target share per mixture only interior mixtures are left out: the ends would ask for extrapolation.
    Leaving out the largest size needs two others, from which a law can learn what size does.
    """
    if kind == "leave-largest-N":
        sizes = np.empty(0) if points.params_n is None else np.unique(points.params_n)
        return [points.params_n == sizes[-1]] if len(sizes) >= 3 else []
    if kind == "leave-largest-T":
        ends = np.unique(points.tokens_n)
        if len(ends) < 4:
            return []
        return [points.tokens_n > ends[int(0.6 * (len(ends) - 1))]]
    codes = np.unique(points.mixture_n)
    if not np.isnan(points.target_n).any() and points.shares_nd.shape[1] == 2 and len(codes) > 3:
        ratio = {c: points.target_n[points.mixture_n == c][0] for c in codes}
        ordered = sorted(codes, key=lambda c: ratio[c])
        codes = np.array(ordered[1:-1])
    if len(codes) < 2:
        return []
    if len(codes) <= LEAVE_ONE_UP_TO:
        return [points.mixture_n == c for c in codes]
    shuffled = np.random.default_rng(0).permutation(codes)
    groups = np.array_split(shuffled, 10 if len(codes) <= MANY else 5)
    return [np.isin(points.mixture_n, part) for part in groups]


def held_out_predictions(
    model: LawOrRegressor, points: Points, losses_vn: Floats, kind: Kind
) -> tuple[Floats, np.ndarray] | None:
    """predicted_vn (NaN where never held out) and the mask of held-out rows; None where the law cannot be refitted."""
    predicted_vn = np.full_like(losses_vn, np.nan)
    splits = folds(points, kind)
    if not splits:
        return None
    folds_n = np.any(splits, axis=0)
    if not isinstance(model, Regressor):
        batch = _one_batch(model, points, losses_vn, splits)
        if batch is not None:
            return batch, folds_n
    for mask in splits:
        fitted_on = ~mask
        try:
            solutions = fit_model(model, points.take(fitted_on), losses_vn[:, fitted_on])
        except NotApplicable:
            return None
        for v, solution in enumerate(solutions):
            predicted_vn[v, mask] = solution.predict(points.take(mask))[0]
    return predicted_vn, folds_n


def _one_batch(law: Law, points: Points, losses_vn: Floats, splits: list[np.ndarray]) -> Floats | None:
    """The folds of a law that is the same law without each of them, fitted together; None where it is another."""
    try:
        whole = law.prepare(points)
        if not whole.parameters or any(law.prepare(points.take(~mask)) != whole for mask in splits):
            return None
    except NotApplicable:
        return None
    predicted_vn = np.full_like(losses_vn, np.nan)
    kept_fn = ~np.stack(splits)
    for v, losses_n in enumerate(losses_vn):
        solutions = fit(law, points, np.tile(losses_n, (len(splits), 1)), rows_vn=kept_fn)
        for mask, solution in zip(splits, solutions, strict=True):
            predicted_vn[v, mask] = solution.predict(points.take(mask))[0]
    return predicted_vn
