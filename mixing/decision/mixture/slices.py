"""The rows of a runs table that a question about many sources is answered from.

One checkpoint per run, the one that was asked about. Past the trained budgets or sizes every checkpoint counts, and
laws that follow tokens or sizes are judged by how they reach past what they were fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from mixing.arrays import Floats
from mixing.decision.direction import Values
from mixing.decision.question import Question
from mixing.errors import InputError
from mixing.fitting.cross_validation import Kind
from mixing.runs.base_rows import base_loss
from mixing.runs.budgets import common_budgets, runs_beyond, tiny_budget, usual_budget_of
from mixing.runs.points import Points, known_standard_errors, make_points
from mixing.runs.sizes import rows_of_size, said_of, usual_size
from mixing.runs.table import SHARE, RunTable, left_out

SAME_BUDGET = 0.1
"""Checkpoints within this part of the asked budget count as being at it."""
BEYOND = 1.05
"""Asked about budgets this far past those of the runs, laws of tokens are fitted to all checkpoints."""
MIN_BUDGETS, MIN_SIZES = 5, 3
"""Checkpoints, and sizes, from which a law can learn what lies past them."""


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

    def values(self) -> dict[str, Values]:
        """The losses of the roles at one budget, and the shares of their own text; none where rows are of several."""
        found: dict[str, Values] = {}
        for role in ("general", "target"):
            if role in self.names and not self.follows:
                at = self.names.index(role)
                own_n = self.points.shares_nd[:, list(self.own[at])].sum(1) if self.own[at] else np.empty(0)
                found[role] = Values(self.losses_vn[at], own_n, self.base.get(role))
        return found

    def reach(self, question: Question) -> float:
        """How many times the budgets of runs and question differ; 1 for a table without a tokens column."""
        if self.reached <= 1:
            return 1.0
        return max(question.tokens / self.reached, self.reached / question.tokens)


def slice_runs(table: RunTable, question: Question, losses: dict[str, dict[str, float]]) -> Slice:
    """One checkpoint per run, of the asked size (default: `usual_size`) near the asked budget, or near the budget that
    most runs have reached; all checkpoints (and sizes) where the question lies past them and laws can learn how.

    Raises InputError for a size that the table says nothing of, and where no run has all the losses.
    """
    warnings = left_out(table, {name: 1.0 for weights in losses.values() for name in weights})
    sizes = table.trained["params"].drop_nulls().unique().sort().to_list()
    size, across, notes = _size(table, question, sizes)
    warnings += notes
    if size is not None and not across and size in sizes:
        table, notes = rows_of_size(table, size)
        warnings += notes
    frame, base, notes = _joined_losses(table, losses)
    warnings += notes
    at = _common_budget(frame, question.tokens)
    usual = usual_budget_of(frame)
    warnings += tiny_budget(usual)
    warnings += runs_beyond(frame["run"].to_list(), frame["tokens"].to_numpy().astype(float), usual)
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
        usual = usual_size(table.trained)
        return (
            usual,
            False,
            [f"{len(sizes)} model sizes in the table; the answer is for {said_of(usual, sizes)}"],
        )
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
) -> tuple[pl.DataFrame, dict[str, float], list[str]]:
    """Trained rows that have all the losses, as columns loss:NAME, the base model's, and notes on these."""
    frame: pl.DataFrame | None = None
    base: dict[str, float] = {}
    notes: list[str] = []
    keys = ["run", "tokens", "seed"]
    for name, weights in losses.items():
        rows = table.weighted(weights)
        before, said = base_loss(table, weights)
        notes += [note for note in said if note not in notes]
        if before is not None:
            base[name] = before
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
    return frame, base, notes


def _own(
    domains: tuple[str, ...], question: Question, name: str, weights: dict[str, float]
) -> tuple[int, ...]:
    """Columns of the domains that a loss's text comes from: those of its sets' names, or the target's."""
    if name == "target" and question.target_domains:
        return tuple(domains.index(d) for d in question.target_domains)
    folded = [d.casefold() for d in domains]
    columns = [folded.index(key.casefold()) for key in weights if key.casefold() in folded]
    return tuple(columns) if len(columns) == len(weights) < len(domains) else ()


def _common_budget(frame: pl.DataFrame, tokens_asked: float) -> float:
    """The budget nearest to the one asked about among those that almost all runs have reached."""
    common_t = common_budgets(frame.select("run", "tokens").unique()["tokens"].to_numpy())
    return float(min(common_t, key=lambda tokens: (abs(np.log(tokens / tokens_asked)), -tokens)))
