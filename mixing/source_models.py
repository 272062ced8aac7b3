"""Fitted losses over mixtures of many sources, with bootstrap replicates: what the optimum is searched on.

One checkpoint per run, the one that was asked about; a law that follows tokens or sizes is asked at that budget and
size. Replicates are a parametric bootstrap over runs: every run's residuals in all losses are drawn together, as they
share its luck.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from mixing.crossval import Score, cross_validate
from mixing.decision import Question
from mixing.errors import InputError
from mixing.fit import Solution, fit, refit
from mixing.laws import LAWS
from mixing.laws.base import Floats, Law, NotApplicable, Points
from mixing.laws.cmr import Cmr
from mixing.optimum import LossModel, numeric_gradients
from mixing.question import make_points
from mixing.runs import SHARE, RunTable

REPLICATES = 200
SAME_BUDGET = 0.1
"""Checkpoints within this part of the asked budget count as being at it."""
MIN_DOF = 3.0


@dataclass(frozen=True)
class Slice:
    """Runs of one size at one budget: losses_vn of named losses, and each named loss of the base model (if known)."""

    domains: tuple[str, ...]
    points: Points
    losses_vn: Floats
    names: tuple[str, ...]
    runs: tuple[str, ...]
    tokens: float
    params: int | None
    base: dict[str, float]
    warnings: list[str] = field(default_factory=list)

    @property
    def mixtures_kd(self) -> Floats:
        """The different mixtures that were trained."""
        return np.asarray(np.unique(self.points.shares_nd.round(9), axis=0))


@dataclass(frozen=True)
class SolutionModel:
    """A law's solution and its replicates as a LossModel."""

    solution: Solution
    tokens: float
    token_unit: float
    params: float | None
    target_columns: tuple[int, ...]
    smooth: bool = True

    @property
    def count(self) -> int:
        return len(self.solution.linear_bl)

    def losses(self, shares_md: Floats) -> Floats:
        return self.solution.predict(self._points(shares_md))

    def gradients(self, shares_md: Floats) -> Floats:
        return numeric_gradients(self.losses, shares_md)

    def only(self, b: int) -> LossModel:
        return replace(self, solution=self.solution.part(slice(b, b + 1)))

    def _points(self, shares_md: Floats) -> Points:
        m = len(shares_md)
        nothing = np.full(m, -1)
        target_m = (
            shares_md[:, list(self.target_columns)].sum(1) if self.target_columns else np.full(m, np.nan)
        )
        sizes = None if self.params is None else np.full(m, float(self.params))
        return Points(shares_md, target_m, np.full(m, self.tokens), self.token_unit, nothing, nothing, sizes)


@dataclass(frozen=True)
class FittedLosses:
    """A model and a law per named loss, the scatter of one run around it (nats), and the runs behind them."""

    models: dict[str, LossModel]
    laws: dict[str, str]
    noise: dict[str, float]
    warnings: list[str]


def slice_runs(table: RunTable, question: Question, losses: dict[str, dict[str, float]]) -> Slice:
    """One checkpoint per run, of the asked size (default: the largest) and near the asked budget, or the nearest
    budget that most runs have reached.

    Raises InputError for a size that no run has, and where no run has all the losses.
    """
    warnings: list[str] = []
    rows = table.rows
    sizes = table.trained["params"].drop_nulls().unique().sort().to_list()
    size = question.params
    if size is not None and sizes and size not in sizes:
        raise InputError(
            f"{table.source}: no runs of {size} parameters",
            f"The table has {', '.join(map(str, sizes))}; ask about one of these",
        )
    if size is None and sizes:
        size = sizes[-1]
        if len(sizes) > 1:
            warnings.append(f"{len(sizes)} model sizes in the table; the answer is for the largest, {size}")
    if size is not None and sizes:
        rows = rows.filter(pl.col("params").is_null() | (pl.col("params") == size))
    one = RunTable(rows, table.source)
    frame: pl.DataFrame | None = None
    base: dict[str, float] = {}
    keys = ["run", "tokens", "seed"]
    for name, weights in losses.items():
        found = one.weighted(weights)
        before = found.filter(pl.col("tokens") == 0)["loss"]
        if len(before):
            base[name] = float(before.mean())  # type: ignore[arg-type]
        trained = found.filter(pl.col("tokens") > 0).rename({"loss": f"loss:{name}"})
        if frame is None:
            frame = trained
        else:
            frame = frame.join(trained.select(*keys, f"loss:{name}"), on=keys, nulls_equal=True)
    assert frame is not None
    if not frame.height:
        raise InputError(
            f"{table.source}: no run has all the named losses", "Evaluate every run on all named sets"
        )
    at = _common_budget(frame, question.tokens)
    near = (pl.col("tokens") / at).log().abs()
    frame = frame.filter(near == near.min().over("run", "seed")).unique(["run", "seed"], keep="last")
    kept = frame.filter((pl.col("tokens") / at).log().abs() <= SAME_BUDGET).sort("run", "seed")
    if kept.height < frame.height:
        warnings.append(
            f"{frame.height - kept.height} of {frame.height} runs have no checkpoint near {int(at):,} tokens: left out"
        )
    points = make_points(kept, [SHARE + d for d in table.domains], question.target_domains)
    values = kept.select([f"loss:{name}" for name in losses]).to_numpy().T.astype(float)
    return Slice(table.domains, points, values, tuple(losses), tuple(kept["run"]), at, size, base, warnings)


def usual_budget(table: RunTable) -> int | None:
    """The largest budget that (almost) all runs have reached; None for a table without trained rows."""
    trained = table.trained
    return round(_common_budget(trained, float("inf"))) if trained.height else None


def _common_budget(frame: pl.DataFrame, asked: float) -> float:
    """The budget nearest to the asked one among those with (almost) the most runs."""
    runs = frame.group_by("tokens").agg(pl.col("run").n_unique().alias("runs"))
    common = runs.filter(pl.col("runs") >= 0.8 * pl.col("runs").max())
    if np.isinf(asked):
        return float(common["tokens"].max())  # type: ignore[arg-type]
    return float(common.sort((pl.col("tokens") / asked).log().abs(), -pl.col("tokens"))["tokens"][0])


def fit_losses(
    data: Slice, question: Question, law: str, rng: np.random.Generator, replicates: int | None = None
) -> FittedLosses:
    """Choose (or take) a law for each loss, fit it, and refit it to replicates drawn over runs.

    Raises NotApplicable where the runs carry no law.
    """
    if law != "auto" and law not in LAWS:
        raise InputError(f"no law {law!r}", f"Choose among: auto, {', '.join(LAWS)}")
    warnings: list[str] = []
    chosen: dict[str, Law] = {}
    held_out: dict[str, Score | None] = {}
    for name, losses_n in zip(data.names, data.losses_vn, strict=True):
        chosen[name], held_out[name] = _choose(data.points, losses_n, law)
    solutions, residual_vn, dof_v = [], np.zeros_like(data.losses_vn), np.zeros(len(data.names))
    for v, name in enumerate(data.names):
        solution = fit(chosen[name], data.points, data.losses_vn[v][None])[0]
        solutions.append(solution)
        residual_vn[v] = data.losses_vn[v] - solution.predict(data.points)[0]
        spent = solution.theta_bq.shape[1] + solution.linear_bl.shape[1]
        dof_v[v] = max(len(data.points) - spent, MIN_DOF)
    scatter_v = _scatter(residual_vn, dof_v, [held_out[name] for name in data.names])
    draws_bvn = _draws(residual_vn, scatter_v, float(dof_v.min()), replicates or REPLICATES, rng)
    columns = tuple(data.domains.index(d) for d in question.target_domains)
    models: dict[str, LossModel] = {}
    for v, (name, solution) in enumerate(zip(data.names, solutions, strict=True)):
        fitted_n = solution.predict(data.points)[0]
        many = refit(solution, data.points, fitted_n + draws_bvn[:, v])
        size = None if data.points.params_n is None or data.params is None else float(data.params)
        models[name] = SolutionModel(
            _joined(solution, many), data.tokens, data.points.token_unit, size, columns
        )
    names = {name: found.name for name, found in chosen.items()}
    return FittedLosses(models, names, dict(zip(data.names, scatter_v.tolist(), strict=True)), warnings)


def _choose(points: Points, losses_n: Floats, asked: str) -> tuple[Law, Score | None]:
    """The least held-out error by mixture; ties within one standard error go to fewer parameters."""
    scores: list[tuple[Law, int, Score | None]] = []
    reasons = []
    for candidate in LAWS.values():
        # Ratio laws know two sources; trees and the like have no slope that an optimum could be followed on.
        if asked not in ("auto", candidate.name) or not hasattr(candidate, "prepare"):
            continue
        if asked == "auto" and isinstance(candidate, Cmr):
            continue
        try:
            prepared = candidate.prepare(points)
            spent = len(prepared.parameters) + len(prepared.linear)
            found = cross_validate(candidate, points, losses_n[None], "leave-mixture-out")
        except NotApplicable as error:
            reasons.append(f"{candidate.name}: {error}")
            continue
        scores.append((candidate, spent, found[0] if found else None))
    if not scores:
        raise NotApplicable("; ".join(reasons) or "no law")
    judged = [(law, spent, s) for law, spent, s in scores if s is not None and np.isfinite(s.mae)]
    if not judged:
        return scores[0][0], None
    best = min(judged, key=lambda j: j[2].mae)
    limit = best[2].mae + best[2].standard_error
    law, _, score = min((j for j in judged if j[2].mae <= limit), key=lambda j: j[1])
    return law, score


def _scatter(residual_vn: Floats, dof_v: Floats, held_out: list[Score | None]) -> Floats:
    """The standard deviation of one run around each law: by degrees of freedom, never above its held-out error."""
    scatter_v = np.sqrt((residual_vn**2).sum(1) / dof_v)
    for v, score in enumerate(held_out):
        if score is not None and score.mse > 0:
            scatter_v[v] = min(scatter_v[v], float(np.sqrt(score.mse)))
    return np.asarray(scatter_v)


def _draws(
    residual_vn: Floats, scatter_v: Floats, dof: float, count: int, rng: np.random.Generator
) -> Floats:
    """Noise draws_bvn: losses of one run correlated as its residuals are, heavy-tailed as few runs demand."""
    size_v = np.sqrt((residual_vn**2).sum(1)) + 1e-150
    correlation = residual_vn @ residual_vn.T / (size_v[:, None] * size_v)
    np.fill_diagonal(correlation, 1.0 + 1e-6)
    root = np.linalg.cholesky(correlation) * scatter_v[:, None]
    inflation_b = np.sqrt(dof / rng.chisquare(dof, size=count))
    white = rng.standard_normal((count, *residual_vn.shape))
    return np.asarray(inflation_b[:, None, None] * np.einsum("vw,bwn->bvn", root, white))


def _joined(one: Solution, many: Solution) -> Solution:
    return Solution(
        one.law,
        np.concatenate([one.theta_bq[:1], many.theta_bq]),
        np.concatenate([one.linear_bl[:1], many.linear_bl]),
        np.concatenate([one.sse_b[:1], many.sse_b]),
        np.concatenate([one.scatter_b[:1], many.scatter_b]),
    )
