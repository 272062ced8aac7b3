"""Fitted losses over mixtures of many sources, with bootstrap replicates: what the optimum is searched on.

One checkpoint per run, the one that was asked about. Past the trained budgets or sizes every checkpoint counts, and
laws that follow tokens or sizes are judged by how they reach past what they were fitted on. Replicates are a
parametric bootstrap over runs: every run's residuals in all losses are drawn together, as they share its luck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from mixing.arguments import law_hint
from mixing.arrays import Floats, Ints
from mixing.decision.mixture.objective import LossModel, numeric_gradients
from mixing.decision.question import Question
from mixing.errors import InputError
from mixing.fitting.cross_validation import Kind, Score
from mixing.fitting.engine import Solution, refit
from mixing.fitting.selection import Candidate, candidates, select_law
from mixing.laws import LAWS
from mixing.laws.base import NotApplicable
from mixing.runs.budgets import common_budgets
from mixing.runs.points import Points, known_standard_errors, make_points
from mixing.runs.table import SHARE, RunTable, left_out

REPLICATES = 200
SAME_BUDGET = 0.1
"""Checkpoints within this part of the asked budget count as being at it."""
BEYOND = 1.05
"""Asked about budgets this far past those of the runs, laws of tokens are fitted to all checkpoints."""
MIN_BUDGETS, MIN_SIZES = 5, 3
"""Checkpoints, and sizes, from which a law can learn what lies past them."""
MIN_DOF = 3.0
LAWS_AT_ONCE = 3
"""Laws that share the replicates of one loss."""


@dataclass(frozen=True)
class Slice:
    """Rows of runs with losses_vn of named losses, asked about at `tokens` and `params`; `base` are the base model's.

    `reached` is the budget that the rows are at, or reach; `follows` says that they are of many checkpoints or sizes
    and that laws carry them to the question. `own` are the columns of the domains whose text a loss is of, and
    `stderr_vn` the standard errors of the losses, where they are known. `kind` is the split that asks what the
    question asks.
    """

    domains: tuple[str, ...]
    points: Points
    losses_vn: Floats
    stderr_vn: tuple[Floats | None, ...]
    names: tuple[str, ...]
    own: tuple[tuple[int, ...], ...]
    runs: tuple[str, ...]
    tokens: float
    reached: float
    follows: bool
    kind: Kind
    params: int | None
    base: dict[str, float]
    warnings: list[str] = field(default_factory=list)

    @property
    def mixtures_kd(self) -> Floats:
        """The different mixtures that were trained."""
        return np.asarray(np.unique(self.points.shares_nd.round(9), axis=0))

    @property
    def n_runs(self) -> int:
        return len(np.unique(self.points.run_n))

    def reach(self, question: Question) -> float:
        """How many times the budgets of runs and question differ; 1 for a table without a tokens column."""
        if self.reached <= 1:
            return 1.0
        return max(question.tokens / self.reached, self.reached / question.tokens)


@dataclass(frozen=True)
class SolutionModel:
    """A law's solution and its replicates as a LossModel."""

    solution: Solution
    tokens: float
    token_unit: float
    params: float | None
    own: tuple[int, ...]
    smooth: bool = True

    @property
    def count(self) -> int:
        return len(self.solution.linear_bl)

    def losses(self, shares_md: Floats) -> Floats:
        return self.solution.predict(self._points(shares_md))

    def gradients(self, shares_md: Floats) -> Floats:
        return numeric_gradients(self.losses, shares_md)

    def replicate(self, b: int) -> LossModel:
        return replace(self, solution=self.solution.part(slice(b, b + 1)))

    def _points(self, shares_md: Floats) -> Points:
        m = len(shares_md)
        nothing = np.full(m, -1)
        target_m = _total(shares_md, self.own)
        sizes = None if self.params is None else np.full(m, float(self.params))
        return Points(shares_md, target_m, np.full(m, self.tokens), self.token_unit, nothing, nothing, sizes)


@dataclass(frozen=True)
class MixedModel:
    """Versions of several laws: version b is number `index_b` of part `part_b`. The first is the chosen law's fit."""

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
        part: LossModel = self.parts[int(self.part_b[b])]
        return part.replicate(int(self.index_b[b]))

    def _gathered(self, values: list[Floats]) -> Floats:
        return np.stack([values[p][i] for p, i in zip(self.part_b, self.index_b, strict=True)])


@dataclass(frozen=True)
class FittedLosses:
    """A model and a law per named loss, the scatter of one run around it (nats), and the runs behind them."""

    models: dict[str, LossModel]
    laws: dict[str, str]
    noise: dict[str, float]

    @property
    def law(self) -> str:
        """The law of the general and the target loss; each with its role where they differ."""
        names = {role: self.laws[role] for role in ("general", "target") if role in self.laws}
        if len(set(names.values())) == 1:
            return next(iter(names.values()))
        return ", ".join(f"{law} ({role})" for role, law in names.items())


def slice_runs(table: RunTable, question: Question, losses: dict[str, dict[str, float]]) -> Slice:
    """One checkpoint per run, of the asked size (default: the largest) near the asked budget, or near the budget that
    most runs have reached; all checkpoints (and sizes) where the question lies past them and laws can learn how.

    Raises InputError for a size that the table says nothing of, and where no run has all the losses.
    """
    warnings = left_out(table, {name: 1.0 for weights in losses.values() for name in weights})
    sizes = table.trained["params"].drop_nulls().unique().sort().to_list()
    size, across, notes = _size(table, question, sizes)
    warnings += notes
    rows = table.rows
    if sizes and not across:
        rows = rows.filter(pl.col("params").is_null() | (pl.col("params") == size))
    frame, base = _joined_losses(RunTable(rows, table.source), losses)
    at = _common_budget(frame, question.tokens)
    budgets = frame.filter(pl.col("tokens") <= at * (1 + SAME_BUDGET))["tokens"].n_unique()
    beyond = question.tokens > BEYOND * at and budgets >= MIN_BUDGETS
    kind: Kind = "leave-mixture-out"
    if across:
        kind = (
            "leave-largest-N" if len(sizes) >= MIN_SIZES and (size or 0) > sizes[-1] else "leave-mixture-out"
        )
        base = {}
    elif beyond:
        kind = "leave-largest-T"
    if across or beyond:
        rows_used = frame.sort("run", "seed", "tokens")
    else:
        rows_used, notes = _near(frame, at)
        warnings += notes
    points = make_points(rows_used, [SHARE + d for d in table.domains], question.target_domains)
    values = rows_used.select([f"loss:{name}" for name in losses]).to_numpy().T.astype(float)
    errors = tuple(known_standard_errors(rows_used[f"stderr:{name}"]) for name in losses)
    return Slice(
        table.domains,
        points,
        values,
        errors,
        tuple(losses),
        tuple(_own(table.domains, question, name, weights) for name, weights in losses.items()),
        tuple(rows_used["run"]),
        float(question.tokens) if across or beyond else at,
        at,
        across or beyond,
        kind,
        size,
        base,
        warnings,
    )


def _size(table: RunTable, question: Question, sizes: list[int]) -> tuple[int | None, bool, list[str]]:
    """The size that is asked about, whether laws across sizes must answer for it, and warnings. Raises InputError."""
    size = question.params
    if size is None:
        if len(sizes) < 2:
            return (sizes[0] if sizes else None), False, []
        note = f"{len(sizes)} model sizes in the table; the answer is for the largest, {sizes[-1]}"
        return sizes[-1], False, [note]
    if not sizes or size in sizes:
        return size, False, []
    if len(sizes) < 2:
        raise InputError(
            f"{table.source}: no runs of {size} parameters",
            f"All runs have {sizes[0]}; ask about that, or train two sizes more",
        )
    return (
        size,
        True,
        [f"no runs of {size:,} parameters: laws across the table's {len(sizes)} sizes answer for it"],
    )


def _near(frame: pl.DataFrame, budget: float) -> tuple[pl.DataFrame, list[str]]:
    """Each run's checkpoint nearest to a budget, without the runs that have none near it, which a warning counts."""
    distance = (pl.col("tokens") / budget).log().abs()
    frame = frame.filter(distance == distance.min().over("run", "seed")).unique(["run", "seed"], keep="last")
    near = frame.filter(distance <= SAME_BUDGET).sort("run", "seed")
    left = frame.height - near.height
    if not left:
        return near, []
    return near, [f"{left} of {frame.height} runs have no checkpoint near {int(budget):,} tokens: left out"]


def _joined_losses(
    table: RunTable, losses: dict[str, dict[str, float]]
) -> tuple[pl.DataFrame, dict[str, float]]:
    """Trained rows that have all the losses, as columns loss:NAME, and the base model's."""
    frame: pl.DataFrame | None = None
    base: dict[str, float] = {}
    keys = ["run", "tokens", "seed"]
    for name, weights in losses.items():
        rows = table.weighted(weights)
        before = rows.filter(pl.col("tokens") == 0)["loss"]
        if len(before):
            base[name] = float(before.mean())  # type: ignore[arg-type]
        trained = rows.filter(pl.col("tokens") > 0).rename(
            {"loss": f"loss:{name}", "stderr": f"stderr:{name}"}
        )
        if frame is None:
            frame = trained
        else:
            frame = frame.join(
                trained.select(*keys, f"loss:{name}", f"stderr:{name}"), on=keys, nulls_equal=True
            )
    if frame is None or not frame.height:
        raise InputError(
            f"{table.source}: no run has all the named losses", "Evaluate every run on all named sets"
        )
    return frame, base


def _own(
    domains: tuple[str, ...], question: Question, name: str, weights: dict[str, float]
) -> tuple[int, ...]:
    """Columns of the domains that a loss's text comes from: those of its sets' names, or the target's."""
    if name == "target" and question.target_domains:
        return tuple(domains.index(d) for d in question.target_domains)
    folded = [d.casefold() for d in domains]
    columns = [folded.index(key.casefold()) for key in weights if key.casefold() in folded]
    return tuple(columns) if len(columns) == len(weights) < len(domains) else ()


def usual_budget(table: RunTable) -> int | None:
    """The largest budget that (almost) all runs have reached; None for a table without trained rows."""
    trained = table.trained
    return round(_common_budget(trained, float("inf"))) if trained.height else None


def _common_budget(frame: pl.DataFrame, tokens_asked: float) -> float:
    """The budget nearest to the one asked about among those that almost all runs have reached."""
    common_t = common_budgets(frame.select("run", "tokens").unique()["tokens"].to_numpy())
    if np.isinf(tokens_asked):
        return float(common_t[-1])
    return float(min(common_t, key=lambda tokens: (abs(np.log(tokens / tokens_asked)), -tokens)))


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
    runs = data.n_runs
    fits: list[tuple[list[Solution], Score | None, Points]] = []
    residual_vn, dof_v = np.zeros_like(data.losses_vn), np.zeros(len(data.names))
    for v, losses_n in enumerate(data.losses_vn):
        points = replace(
            data.points, target_n=_total(data.points.shares_nd, data.own[v]), stderr_n=data.stderr_vn[v]
        )
        solutions, held_out = _select_laws(points, losses_n, data.kind, law, step)
        fits.append((solutions, held_out, points))
        solution = solutions[0]
        residual_vn[v] = losses_n - solution.predict(points)[0]
        dof_v[v] = max(runs - solution.theta_bq.shape[1] - solution.linear_bl.shape[1], MIN_DOF)
    scatter_v = _scatter(residual_vn, dof_v, [held_out for _, held_out, _ in fits])
    draws_bvn = _draws(
        residual_vn, data.points.run_n, scatter_v, float(dof_v.min()), replicates or REPLICATES, rng
    )
    models = {
        data.names[v]: _with_replicates(data, v, points, solutions, draws_bvn[:, v])
        for v, (solutions, _, points) in enumerate(fits)
    }
    names = {name: solutions[0].law.name for name, (solutions, _, _) in zip(data.names, fits, strict=True)}
    return FittedLosses(models, names, dict(zip(data.names, scatter_v.tolist(), strict=True)))


def _with_replicates(
    data: Slice, v: int, points: Points, solutions: list[Solution], draws_bn: Floats
) -> LossModel:
    """The model of loss v: the chosen law's fit, then refits to replicated runs, of each law in turn."""
    size = None if data.points.params_n is None or data.params is None else float(data.params)
    # Which law a replicate is of changes from replicate to replicate, and differently for each loss.
    turn_b = (np.arange(draws_bn.shape[0]) // (v + 1)) % len(solutions)
    parts: list[LossModel] = []
    part_b, index_b = np.concatenate([[0], turn_b]), np.zeros(len(turn_b) + 1, dtype=np.int64)
    for k, solution in enumerate(solutions):
        rows = np.flatnonzero(turn_b == k)
        many = refit(solution, points, solution.predict(points)[0] + draws_bn[rows])
        parts.append(
            SolutionModel(_joined(solution, many), data.tokens, points.token_unit, size, data.own[v])
        )
        index_b[rows + 1] = 1 + np.arange(len(rows))
    return parts[0] if len(parts) == 1 else MixedModel(tuple(parts), part_b, index_b)


def _total(shares_nd: Floats, columns: tuple[int, ...]) -> Floats:
    """The summed share of some domains; NaN where none is known."""
    return np.asarray(shares_nd[:, list(columns)].sum(1)) if columns else np.full(len(shares_nd), np.nan)


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


def _draws(
    residual_vn: Floats, run_n: Ints, scatter_v: Floats, dof: float, count: int, rng: np.random.Generator
) -> Floats:
    """Noise draws_bvn: losses of one run correlated as its residuals are, heavy-tailed as few runs demand.

    Of several checkpoints of a run a part is common to them, as large as their residuals say.
    """
    size_v = np.sqrt((residual_vn**2).sum(1)) + 1e-150
    correlation = residual_vn @ residual_vn.T / (size_v[:, None] * size_v)
    np.fill_diagonal(correlation, 1.0 + 1e-6)
    root = np.linalg.cholesky(correlation) * scatter_v[:, None]
    inflation_b = np.sqrt(dof / rng.chisquare(dof, size=count))
    _, code_n, rows_r = np.unique(run_n, return_inverse=True, return_counts=True)
    losses = len(residual_vn)
    common = 1.0
    if rows_r.max() > 1:
        mean_vr = np.stack([np.bincount(code_n, r_n) / rows_r for r_n in residual_vn])
        common = float(np.clip((mean_vr[:, code_n] ** 2).sum() / ((residual_vn**2).sum() + 1e-300), 0.0, 1.0))
    white = np.sqrt(common) * rng.standard_normal((count, losses, len(rows_r)))[:, :, code_n]
    if common < 1:
        white += np.sqrt(1 - common) * rng.standard_normal((count, *residual_vn.shape))
    return np.asarray(inflation_b[:, None, None] * np.einsum("vw,bwn->bvn", root, white))


def _joined(one: Solution, many: Solution) -> Solution:
    return Solution(
        one.law,
        np.concatenate([one.theta_bq[:1], many.theta_bq]),
        np.concatenate([one.linear_bl[:1], many.linear_bl]),
        np.concatenate([one.sse_b[:1], many.sse_b]),
        np.concatenate([one.scatter_b[:1], many.scatter_b]),
    )
