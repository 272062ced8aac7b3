"""Fitted losses over mixtures of many sources, in replicates: what the optimum is searched on.

A replicate is a law and what it misses (`mixing.decision.mixture.misfit`), drawn from what the runs leave open. Laws
that are carried past the trained budgets or sizes are refitted to runs that scatter around them instead. Every run's
residuals in all losses are drawn together, as they share its luck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mixing.arguments import law_hint
from mixing.arrays import Floats, Ints
from mixing.decision.mixture.misfit import LARGEST, MIN_DOF, Features, draw_features, draw_misfit
from mixing.decision.mixture.objective import LossModel
from mixing.decision.mixture.slices import Slice
from mixing.decision.mixture.versions import MixedModel, SolutionModel, total_share
from mixing.errors import InputError
from mixing.fitting.cross_validation import Kind, Score
from mixing.fitting.engine import Solution, refit
from mixing.fitting.selection import Candidate, candidates, select_law
from mixing.laws import LAWS
from mixing.laws.base import NotApplicable
from mixing.runs.points import Points

REPLICATES = 200
LAWS_AT_ONCE = 3
"""Laws that share the replicates of one loss."""


@dataclass(frozen=True)
class FittedLosses:
    """A model and a law per named loss, and the scatter of one run: `noise`, and scatter_b by replicate (nats)."""

    models: dict[str, LossModel]
    laws: dict[str, str]
    noise: dict[str, float]
    scatter: dict[str, Floats]

    @property
    def law(self) -> str:
        """The law of the general and the target loss; each with its role where they differ."""
        names = {role: self.laws[role] for role in ("general", "target") if role in self.laws}
        if len(set(names.values())) == 1:
            return next(iter(names.values()))
        return ", ".join(f"{law} ({role})" for role, law in names.items())


def fit_losses(
    data: Slice,
    law: str,
    rng: np.random.Generator,
    replicates: int | None = None,
    step: Callable[[], None] | None = None,
) -> FittedLosses:
    """Choose (or take) a law for each loss, fit it, and refit it to replicates drawn over runs.

    Laws that held-out mixtures cannot tell from the chosen one share the replicates: which of them is true is part of
    the doubt. `step` is called after each law of `LAWS` that was tried for a loss.

    Raises NotApplicable where the runs carry no law.
    """
    if law != "auto" and law not in LAWS:
        raise InputError(f"no law {law!r}", law_hint(law, LAWS))
    fits = [_fitted_loss(data, v, law, step) for v in range(len(data.names))]
    residual_vn = np.stack([one.losses_n - one.solutions[0].predict(one.points)[0] for one in fits])
    count = replicates or REPLICATES
    models: dict[str, LossModel] = {}
    scatter: dict[str, Floats] = {}
    if data.follows or data.n_runs > LARGEST:
        scatter_v, draws_bvn = _refit_draws(data, residual_vn, fits, count, rng)
        for v, one in enumerate(fits):
            models[one.name] = _versions(data, v, one, _refitted(one, draws_bvn[:, v]))
            scatter[one.name] = np.full(count, scatter_v[v])
    else:
        white_bvn = _white(residual_vn, count, rng)
        features = draw_features(data.points.shares_nd, rng)
        for v, one in enumerate(fits):
            parts = _with_misfits(one, features, white_bvn[:, v], v, rng)
            models[one.name] = _versions(data, v, one, parts, features)
            scatter[one.name] = parts.scatter_b
    noise = {name: float(np.sqrt((scatter_b**2).mean())) for name, scatter_b in scatter.items()}
    return FittedLosses(models, {one.name: one.solutions[0].law.name for one in fits}, noise, scatter)


@dataclass(frozen=True)
class _FittedLoss:
    """The laws that share the replicates of one loss, the chosen one first, and its held-out score."""

    name: str
    points: Points
    losses_n: Floats
    solutions: list[Solution]
    held_out: Score | None


def _fitted_loss(data: Slice, v: int, law: str, step: Callable[[], None] | None) -> _FittedLoss:
    points = replace(
        data.points, target_n=total_share(data.points.shares_nd, data.own[v]), stderr_n=data.stderr_vn[v]
    )
    solutions, held_out = _select_laws(points, data.losses_vn[v], data.kind, law, step)
    return _FittedLoss(data.names[v], points, data.losses_vn[v], solutions, held_out)


@dataclass(frozen=True)
class _Parts:
    """Versions of each law, the fit first, and features' weights; replicate b is of law `turn_b`."""

    solutions: list[Solution]
    misfits: list[Floats | None]
    turn_b: Ints
    scatter_b: Floats


def _turns(v: int, count: int, laws: int) -> Ints:
    """Which law a replicate is of: it changes from replicate to replicate, and differently for each loss."""
    return np.asarray((np.arange(count) // (v + 1)) % laws)


def _with_misfits(
    one: _FittedLoss, features: Features, white_bn: Floats, v: int, rng: np.random.Generator
) -> _Parts:
    """Every law with draws of what it misses, refitted to where its values move for that."""
    turn_b = _turns(v, len(white_bn), len(one.solutions))
    scatter_b = np.zeros(len(white_bn))
    solutions: list[Solution] = []
    misfits: list[Floats | None] = []
    for k, solution in enumerate(one.solutions):
        rows = np.flatnonzero(turn_b == k)
        misfit = draw_misfit(solution, one.points, one.losses_n, features, white_bn[rows], rng)
        scatter_b[rows] = misfit.scatter_b[1:]
        solutions.append(refit(solution, one.points, solution.predict(one.points)[0] + misfit.moved_bn))
        misfits.append(misfit.misfit_bf)
    return _Parts(solutions, misfits, turn_b, scatter_b)


def _refitted(one: _FittedLoss, draws_bn: Floats) -> _Parts:
    """Every law refitted to runs that scatter around it."""
    turn_b = _turns(0, len(draws_bn), len(one.solutions))
    solutions = [
        _joined(
            solution, refit(solution, one.points, solution.predict(one.points)[0] + draws_bn[turn_b == k])
        )
        for k, solution in enumerate(one.solutions)
    ]
    return _Parts(solutions, [None] * len(solutions), turn_b, np.zeros(len(draws_bn)))


def _versions(
    data: Slice, v: int, one: _FittedLoss, parts: _Parts, features: Features | None = None
) -> LossModel:
    """The model of loss v: the fit, then the replicates in turn."""
    size = None if data.points.params_n is None or data.params is None else float(data.params)
    models: tuple[LossModel, ...] = tuple(
        SolutionModel(solution, data.tokens, one.points.token_unit, size, data.own[v], features, misfit_bf)
        for solution, misfit_bf in zip(parts.solutions, parts.misfits, strict=True)
    )
    if len(models) == 1:
        return models[0]
    index_b = np.zeros(len(parts.turn_b), dtype=np.int64)
    for k in range(len(models)):
        rows = parts.turn_b == k
        index_b[rows] = 1 + np.arange(rows.sum())
    return MixedModel(models, np.concatenate([[0], parts.turn_b]), np.concatenate([[0], index_b]))


def _select_laws(
    points: Points, losses_n: Floats, kind: Kind, law_name: str, step: Callable[[], None] | None
) -> tuple[list[Solution], Score | None]:
    """The law that `mixing.fitting.selection` would choose, then up to two within a standard error of the least error.

    Only formulas compete: an optimum follows their slopes, where trees are flat and a process or a blend knows little
    between the runs.
    """
    # Laws of one ratio see two sources only.
    models = [
        law
        for name, law in LAWS.items()
        if name == law_name or (law_name == "auto" and not law.needs_target_share)
    ]
    reasons: list[str] = []
    scored_laws = candidates(
        points,
        losses_n,
        kind,
        models,
        blend=False,
        refused=lambda model, error: reasons.append(f"{model.name}: {error}"),
        step=step,
    )
    scored_laws = [c for c in scored_laws if c.rows == len(points)]
    if not scored_laws:
        raise NotApplicable("; ".join(reasons) or "no law fits every run")
    best = select_law(scored_laws, points, losses_n) if law_name == "auto" else scored_laws[0]
    if best is None:
        raise NotApplicable("too few mixtures to cross-validate a law")
    return [c.fitted for c in [best, *_rivals(scored_laws, best)] if isinstance(c.fitted, Solution)], best.cv


def _rivals(scored_laws: list[Candidate], best: Candidate) -> list[Candidate]:
    """Other laws whose held-out error is within a standard error of the least, the best first."""
    scored = [(c.cv.mae, c.cv.standard_error, c) for c in scored_laws if c.cv is not None]
    if not scored:
        return []
    least, error, _ = min(scored, key=lambda each: each[0])
    close = sorted((each for each in scored if each[0] <= least + error), key=lambda each: each[0])
    return [c for _, _, c in close if c is not best][: LAWS_AT_ONCE - 1]


def _scatter(residual_vn: Floats, dof_v: Floats, held_out: list[Score | None]) -> Floats:
    """The standard deviation of one run around each law: its held-out error, or by degrees of freedom if more.

    The held-out error knows of the law's misfit, which residuals of a steadied fit hide.
    """
    scatter_v = np.sqrt((residual_vn**2).sum(1) / dof_v)
    for v, score in enumerate(held_out):
        if score is not None and np.isfinite(score.mse):
            limit = float(np.sqrt(score.mse))
            scatter_v[v] = limit if dof_v[v] <= MIN_DOF else max(scatter_v[v], limit)
    return np.asarray(scatter_v)


def _refit_draws(
    data: Slice, residual_vn: Floats, fits: list[_FittedLoss], count: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """A run's scatter around each law, and noise draws_bvn, heavy-tailed as few runs demand.

    Of several checkpoints of a run a part is common to them, as large as their residuals say.
    """
    spent_v = [one.solutions[0].theta_bq.shape[1] + one.solutions[0].linear_bl.shape[1] for one in fits]
    dof_v = np.maximum(data.n_runs - np.array(spent_v, dtype=float), MIN_DOF)
    scatter_v = _scatter(residual_vn, dof_v, [one.held_out for one in fits])
    dof = float(dof_v.min())
    inflation_b = np.sqrt(dof / rng.chisquare(dof, size=count))
    _, code_n, rows_r = np.unique(data.points.run_n, return_inverse=True, return_counts=True)
    mean_vr = np.stack([np.bincount(code_n, r_n) / rows_r for r_n in residual_vn])
    common = float(np.clip((mean_vr[:, code_n] ** 2).sum() / ((residual_vn**2).sum() + 1e-300), 0.0, 1.0))
    white_bvn = np.sqrt(common) * _white(residual_vn, count, rng, len(rows_r))[:, :, code_n]
    if common < 1:
        white_bvn += np.sqrt(1 - common) * _white(residual_vn, count, rng)
    return scatter_v, np.asarray(inflation_b[:, None, None] * scatter_v[:, None] * white_bvn)


def _white(residual_vn: Floats, count: int, rng: np.random.Generator, rows: int | None = None) -> Floats:
    """Standard normal white_bvn; losses of one run are correlated as its residuals are."""
    size_v = np.sqrt((residual_vn**2).sum(1)) + 1e-150
    correlation = residual_vn @ residual_vn.T / (size_v[:, None] * size_v)
    np.fill_diagonal(correlation, 1.0 + 1e-6)
    drawn = rng.standard_normal((count, len(residual_vn), rows or residual_vn.shape[1]))
    return np.asarray(np.einsum("vw,bwn->bvn", np.linalg.cholesky(correlation), drawn))


def _joined(one: Solution, many: Solution) -> Solution:
    return Solution(
        one.law,
        np.concatenate([one.theta_bq[:1], many.theta_bq]),
        np.concatenate([one.linear_bl[:1], many.linear_bl]),
        np.concatenate([one.sse_b[:1], many.sse_b]),
        np.concatenate([one.scatter_b[:1], many.scatter_b]),
    )
