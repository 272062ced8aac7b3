"""Fit every model that the points can carry, score each on rows left out, blend them, and choose; score the choice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.fitting.blend import Blend, blend_weights, cross_fitted
from mixing.fitting.cross_validation import Kind, Score, folds, held_out_predictions, score
from mixing.fitting.engine import Solution, fit_model, refit
from mixing.fitting.engine import fit as engine_fit
from mixing.fitting.mixture_effect import BY_LUCK, luck_alone
from mixing.fitting.polish import Optimum, polish
from mixing.fitting.regressors import REGRESSORS
from mixing.fitting.regressors.repetition import FittedRepetition
from mixing.laws import BASELINES, LAWS
from mixing.laws.base import Fitted, LawOrRegressor, NotApplicable
from mixing.runs.points import Points

MODELS: dict[str, LawOrRegressor] = {**LAWS, **REGRESSORS}
"""Every law and regressor by name, simpler kinds first."""
BLEND = "blend"


@dataclass(frozen=True)
class Candidate:
    """A fitted model of one loss. `held_out_n` are its predictions of rows its fits had not seen (NaN: none), over the
    same rows as the losses; `cv` scores them. `rows` is how many rows it was fitted on, `runs` how many runs, `budgets`
    how many checkpoints have parameters of their own (1: they share them). `optimum` is there once it is polished."""

    name: str
    fitted: Fitted
    train: Score
    cv: Score | None
    held_out_n: Floats | None
    rows: int
    runs: int
    seconds: float
    budgets: int = 1
    optimum: Optimum | None = None

    @property
    def ranks_mixtures(self) -> bool:
        return not isinstance(self.fitted, Solution) or self.fitted.law.ranks_mixtures

    @property
    def complexity(self) -> tuple[int, float]:
        """Formulas before models without one, a blend last; then the number of parameters.

        Those that a law has at every checkpoint count once: they are no more freedom to follow the mixture.
        """
        kind = 0 if isinstance(self.fitted, Solution) else 2 if isinstance(self.fitted, Blend) else 1
        parameters = len(self.fitted.named())
        return kind, parameters / self.budgets


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


@dataclass(frozen=True)
class Choice:
    """The candidate chosen, `by_luck`, the probability that pure luck looks as dependent on the mixture (None: too few
    mixtures to tell), and the error of choosing.

    `cv` scores the whole procedure: each part that is left out is predicted by the candidate that the other parts
    choose, so that no error is the least of many on its own rows. None where there is one part only.
    """

    candidate: Candidate
    by_luck: float | None
    cv: Score | None

    @property
    def mixture_matters(self) -> bool:
        return self.by_luck is None or self.by_luck <= BY_LUCK


def select_law(
    fitted: list[Candidate], points: Points, losses_n: Floats, *, formula_in_size: bool = False
) -> Candidate | None:
    """The candidate that `choose` would take, without the error of choosing; None: no scores.

    It is the constant wherever the mixture does not matter, whatever was left out: who asks wants the best mixture.
    """
    scored = _comparable(fitted, formula_in_size)
    if not scored:
        return None
    return _pick(scored, points, losses_n, np.ones(len(points), dtype=bool), luck_alone(points, losses_n))


def choose(
    fitted: list[Candidate], points: Points, losses_n: Floats, kind: Kind, *, formula_in_size: bool = False
) -> Choice | None:
    """The least held-out error; within one standard error of it (paired by mixture) the simplest. None: no scores.

    On mixtures left out the constant is taken where luck alone would look as dependent on the mixture: among many laws
    one always finds something in luck. All are compared on the rows that all have predicted; a model that predicts less
    than half of what others do (a law of one budget among laws of all) does not compete. With `formula_in_size` only
    laws with a term in N do: at a size that was not trained, trees, processes and their blends only repeat the largest.
    """
    scored = _comparable(fitted, formula_in_size)
    if not scored:
        return None
    by_luck = luck_alone(points, losses_n)

    def pick(rows_n: NDArray[np.bool_], luck: float | None) -> Candidate:
        # Past the trained budgets, or sizes, a law may be right about these where the mixture does nothing.
        return _pick(scored, points, losses_n, rows_n, luck if kind == "leave-mixture-out" else None)

    chosen = pick(np.ones(len(points), dtype=bool), by_luck)
    predicted_n = np.full(len(points), np.nan)
    for part_n in folds(points, "leave-mixture-out"):
        others_n = ~part_n
        if not (others_n & _known_by_all(scored)).any():
            continue
        luck = luck_alone(points.take(others_n), losses_n[others_n]) if kind == "leave-mixture-out" else None
        nested = pick(others_n, luck)
        assert nested.held_out_n is not None
        predicted_n[part_n] = nested.held_out_n[part_n]
    known_n = np.isfinite(predicted_n)
    if not known_n.any():
        return Choice(chosen, by_luck, None)
    cv = score(predicted_n[known_n], losses_n[known_n], points.take(known_n))
    return Choice(chosen, by_luck, cv if chosen.ranks_mixtures else _unranked(cv))


def _unranked(cv: Score) -> Score:
    """The score of means that leave one out: they fall as it rises, which is no ranking of mixtures."""
    return replace(cv, spearman=None, pearson=None)


def _comparable(fitted: list[Candidate], formula_in_size: bool) -> list[Candidate]:
    """Candidates that predict enough rows that their fits had not seen to be compared with each other."""
    scored = [c for c in fitted if c.cv is not None and c.held_out_n is not None]
    if formula_in_size:
        in_size = [c for c in scored if isinstance(c.fitted, Solution) and c.fitted.law.has_sizes]
        scored = in_size or scored
    if not scored:
        return []
    known = [int(np.isfinite(c.held_out_n).sum()) for c in scored if c.held_out_n is not None]
    scored = [c for c, rows in zip(scored, known, strict=True) if 2 * rows > max(known)]
    if not _known_by_all(scored).any():
        return [c for c, rows in zip(scored, known, strict=True) if rows == max(known)][:1]
    return scored


def _known_by_all(scored: list[Candidate]) -> NDArray[np.bool_]:
    return np.asarray(np.all([np.isfinite(c.held_out_n) for c in scored if c.held_out_n is not None], axis=0))


def _pick(
    scored: list[Candidate],
    points: Points,
    losses_n: Floats,
    rows_n: NDArray[np.bool_],
    by_luck: float | None,
) -> Candidate:
    """The candidate that some rows choose."""
    flat = [c for c in scored if not c.ranks_mixtures]
    if flat and by_luck is not None and by_luck > BY_LUCK:
        return flat[0]
    compared_n = rows_n & _known_by_all(scored)
    errors = {c.name: _errors_by_mixture(c, points, losses_n, compared_n) for c in scored}
    best = min(scored, key=lambda c: (float(errors[c.name].mean()), c.complexity))

    def ties(other: Candidate) -> bool:
        more_m = errors[other.name] - errors[best.name]
        return len(more_m) > 1 and bool(more_m.mean() <= more_m.std(ddof=1) / np.sqrt(len(more_m)))

    return min((c for c in scored if c is best or ties(c)), key=lambda c: c.complexity)


def rows_of(model: LawOrRegressor, points: Points) -> NDArray[np.bool_]:
    """The rows that a model is fitted on."""
    use_n = model.usable(points)
    return use_n & points.at_usual_budget() if model.one_budget else use_n


def polished(candidate: Candidate, points: Points, losses_n: Floats) -> Candidate:
    """The candidate with its law's parameters polished by SciPy on all rows, of which it may have seen some.

    What has no formula stays as it is; of a blend the laws are fitted to all rows.
    """
    fitted = candidate.fitted
    # A law of some rows, such as those of one budget, saw all that it may.
    fewer = candidate.rows < len(points) and candidate.runs < len(np.unique(points.run_n))
    if isinstance(fitted, Blend) and fewer:
        members = [
            refit(one, points, losses_n[None, :]) if isinstance(one, Solution) else one
            for one in fitted.members
        ]
        return replace(candidate, fitted=replace(fitted, members=members))
    law = fitted.law if isinstance(fitted, FittedRepetition) else fitted
    if not isinstance(law, Solution):
        return candidate
    places = fitted.places(points) if isinstance(fitted, FittedRepetition) else points
    use_n = rows_of(law.law, places)
    used, y_n = points.take(use_n), losses_n[use_n]
    if law.law.per_budget:
        # It has parameters of checkpoints that it may not have seen.
        law = engine_fit(law.law, used, y_n[None, :])[0]
    elif fewer:
        law = refit(law, places.take(use_n), y_n[None, :])
    better, optimum = polish(law, places.take(use_n), y_n)
    refined: Fitted = replace(fitted, law=better) if isinstance(fitted, FittedRepetition) else better
    train = score(refined.predict(used)[0], y_n, used)
    runs = len(np.unique(used.run_n))
    return replace(candidate, fitted=refined, train=train, optimum=optimum, rows=len(used), runs=runs)


def _candidate(model: LawOrRegressor, points: Points, losses_n: Floats, kind: Kind) -> Candidate:
    start = time.perf_counter()
    use_n = rows_of(model, points)
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
            cv = _unranked(cv)
    return Candidate(
        model.name,
        fitted,
        score(predicted_n, y_n, used),
        cv,
        held_out_n,
        len(used),
        len(np.unique(used.run_n)),
        time.perf_counter() - start,
        len(np.unique(used.tokens_n)) if model.per_budget else 1,
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
