"""Fit every model that the points can carry, score each on rows left out, blend them, and choose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.fitting.blend import Blend, blend_weights, cross_fitted
from mixing.fitting.cross_validation import Kind, Score, folds, held_out_predictions, score
from mixing.fitting.engine import Solution, fit_model
from mixing.fitting.regressors import REGRESSORS
from mixing.laws import BASELINES, LAWS
from mixing.laws.base import Fitted, LawOrRegressor, NotApplicable
from mixing.runs.points import Points

MODELS: dict[str, LawOrRegressor] = {**LAWS, **REGRESSORS}
"""Every law and regressor by name, simpler kinds first."""
BLEND = "blend"


@dataclass(frozen=True)
class Candidate:
    """A fitted model of one loss. `held_out_n` are its predictions of rows its fits had not seen (NaN: none), over the
    same rows as the losses; `cv` scores them. `rows` is how many rows it was fitted on, `runs` how many runs."""

    name: str
    fitted: Fitted
    train: Score
    cv: Score | None
    held_out_n: Floats | None
    rows: int
    runs: int
    seconds: float

    @property
    def complexity(self) -> tuple[int, int]:
        """Formulas before models without one, a blend last; then the number of parameters."""
        kind = 0 if isinstance(self.fitted, Solution) else 2 if isinstance(self.fitted, Blend) else 1
        return kind, len(self.fitted.named())


def candidates(
    points: Points,
    losses_n: Floats,
    kind: Kind,
    models: Iterable[LawOrRegressor],
    *,
    blend: bool = True,
    refused: Callable[[LawOrRegressor, NotApplicable], None] | None = None,
    step: Callable[[], None] | None = None,
) -> list[Candidate]:
    """Fit and cross-validate each model, then blend them.

    Models that the points cannot carry are left out; `refused` gets each of them with the reason. `step` is called
    after every model.
    """
    fitted = []
    for model in models:
        try:
            fitted.append(_candidate(model, points, losses_n, kind))
        except NotApplicable as error:
            if refused is not None:
                refused(model, error)
        if step is not None:
            step()
    if blend:
        blended = _blend(fitted, points, losses_n, kind)
        if blended is not None:
            fitted.append(blended)
    return fitted


def select_law(
    fitted: list[Candidate], points: Points, losses_n: Floats, *, formula_in_size: bool = False
) -> Candidate | None:
    """The least held-out error; within one standard error of it (paired by mixture) the simplest. None: no scores.

    All are compared on the rows that all have predicted; a model that predicts less than half of what others do (a
    law of one budget among laws of all) does not compete. With `formula_in_size` only laws with a term in N do: at a
    size that was not trained, trees, processes and their blends only repeat the largest one.
    """
    scored = [c for c in fitted if c.cv is not None and c.held_out_n is not None]
    if formula_in_size:
        in_size = [c for c in scored if isinstance(c.fitted, Solution) and c.fitted.law.has_sizes]
        scored = in_size or scored
    if not scored:
        return None
    scored_rows = {c.name: np.isfinite(c.held_out_n) for c in scored if c.held_out_n is not None}
    most = max(int(known_n.sum()) for known_n in scored_rows.values())
    scored = [c for c in scored if 2 * scored_rows[c.name].sum() > most]
    common_n = np.all([scored_rows[c.name] for c in scored], axis=0)
    if not common_n.any():
        scored = [c for c in scored if scored_rows[c.name].sum() == most][:1]
        common_n = scored_rows[scored[0].name]
    errors = {c.name: _errors_by_mixture(c, points, losses_n, common_n) for c in scored}
    best = min(scored, key=lambda c: (float(errors[c.name].mean()), c.complexity))

    def ties(other: Candidate) -> bool:
        more_m = errors[other.name] - errors[best.name]
        return len(more_m) > 1 and bool(more_m.mean() <= more_m.std(ddof=1) / np.sqrt(len(more_m)))

    return min((c for c in scored if c is best or ties(c)), key=lambda c: c.complexity)


def _candidate(model: LawOrRegressor, points: Points, losses_n: Floats, kind: Kind) -> Candidate:
    start = time.perf_counter()
    use_n = model.usable(points)
    if model.one_budget:
        use_n &= points.tokens_n == points.tokens_n.max()
    if not use_n.any():
        raise NotApplicable("no usable rows")
    used, y_n = points.take(use_n), losses_n[use_n]
    fitted = fit_model(model, used, y_n[None, :])[0]
    predicted_n = fitted.predict(used)[0]
    if not np.isfinite(predicted_n).all():
        raise NotApplicable("its fit is not finite")
    result = held_out_predictions(model, used, y_n[None, :], kind)
    held_out_n = cv = None
    if result is not None and np.isfinite(result[0][0, result[1]]).all():
        held_out_n = np.full(len(losses_n), np.nan)
        held_out_n[use_n] = result[0][0]
        mask_n = result[1]
        cv = score(result[0][0, mask_n], y_n[mask_n], used.take(mask_n))
        if not model.ranks_mixtures:
            # Means that leave one out fall as it rises: no ranking of mixtures.
            cv = replace(cv, spearman=None, pearson=None)
    return Candidate(
        model.name,
        fitted,
        score(predicted_n, y_n, used),
        cv,
        held_out_n,
        len(used),
        len(np.unique(used.run_n)),
        time.perf_counter() - start,
    )


def _blend(competing: list[Candidate], points: Points, losses_n: Floats, kind: Kind) -> Candidate | None:
    """A blend of all that predict every held-out row, scored with weights that the scored fold has not seen."""
    start = time.perf_counter()
    splits = folds(points, kind)
    if len(splits) < 2:
        return None
    scored_n = np.any(splits, axis=0)
    members = [
        c
        for c in competing
        if c.held_out_n is not None
        and c.rows == len(losses_n)
        and np.array_equal(np.isfinite(c.held_out_n), scored_n)
        and c.name not in BASELINES
    ]
    if len(members) < 2 or scored_n.sum() < 2 * len(members):
        return None
    held_out_mn = np.stack([c.held_out_n for c in members if c.held_out_n is not None])
    weights_m = blend_weights(held_out_mn[:, scored_n], losses_n[scored_n])
    weighted = [(c, float(w)) for c, w in zip(members, weights_m, strict=True) if w > 0]
    if len(weighted) < 2:
        return None
    fitted = Blend([c.fitted for c, _ in weighted], {c.name: w for c, w in weighted})
    predicted_n = cross_fitted(held_out_mn, losses_n, splits)
    return Candidate(
        BLEND,
        fitted,
        score(fitted.predict(points)[0], losses_n, points),
        score(predicted_n[scored_n], losses_n[scored_n], points.take(scored_n)),
        predicted_n,
        len(losses_n),
        len(np.unique(points.run_n)),
        time.perf_counter() - start,
    )


def _errors_by_mixture(
    candidate: Candidate, points: Points, losses_n: Floats, rows_n: NDArray[np.bool_]
) -> Floats:
    assert candidate.held_out_n is not None
    error_n = np.abs(candidate.held_out_n - losses_n)[rows_n]
    codes_n = points.mixture_n[rows_n]
    return np.array([error_n[codes_n == code].mean() for code in np.unique(codes_n)])
