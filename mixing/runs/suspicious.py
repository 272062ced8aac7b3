"""Runs and checkpoints that say nothing about their mixture: diverged runs, copies, single losses far off their course.

Pure functions of a runs table; `without_suspicious` leaves them out and names each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.runs.table import SHARE, RunTable

FAR_ABOVE = 2.0
"""A run diverged if every loss rose over the base by more than so many times what the runs usually move."""
APART = 3.0
"""And lies, in every loss, so many interquartile ranges above the median run of its budget."""
APART_WITHOUT_BASE = 10.0
FEWEST_RUNS = 4
"""Runs from which one can be told from the others."""
STRAY_SIGMAS = 8.0
"""A checkpoint is stray if its loss is off its run's course by so many robust standard deviations of the others."""
STRAY_PART = 0.2
"""And by this part of the standard deviation of all runs' losses at its budget, so that no curve of a law counts."""
STRAY_TIMES = 4.0
"""And by so many times what four fifths of the other runs are off there: steep mixtures bend more than others."""
FEWEST_CHECKPOINTS = 4
MANY = 30
FEWEST_DIGITS = 3
"""Losses rounded to so many decimals agree by chance."""
FEW_LINES, MOST_NAMED = 3, 12
"""Stray losses that get a warning each; more than that share one, which names the worst."""
MAD = 1.4826
_KEYS = ["run", "seed", "params"]


@dataclass(frozen=True)
class StrayLoss:
    """One loss that is off its run's course by `off` nats (above 0: too high)."""

    run: str
    seed: int | None
    tokens: int
    eval: str
    off: float


def without_suspicious(table: RunTable, evals: list[str] | None = None) -> RunTable:
    """The table without diverged runs, copies of runs and stray losses; a warning names each that was left out.

    `evals` are the validation sets that are looked at (default: all).
    """
    diverged = diverged_runs(table, evals)
    copies = copied_runs(table.without(set(diverged)))
    kept = table.without(set(diverged) | set(copies))
    stray = stray_losses(kept, evals)
    warnings = [f"run {run} left out: {why}" for run, why in sorted(diverged.items())]
    warnings += [
        f"run {run} has the mixture and the losses of {first} to the last digit: they count once"
        for run, first in sorted(copies.items())
    ]
    warnings += _of_strays(stray)
    if not warnings:
        return table
    return replace(kept, rows=_without_losses(kept.rows, stray), warnings=[*table.warnings, *warnings])


def _of_strays(stray: list[StrayLoss]) -> list[str]:
    """Each loss that was left out, in a warning of its own as long as they are few."""
    if len(stray) <= FEW_LINES:
        return [
            f"run {one.run} at {one.tokens:,} tokens: its {one.eval} loss is {abs(one.off):.4g} "
            f"{'above' if one.off > 0 else 'below'} its run's course; left out"
            for one in stray
        ]
    worst = sorted(stray, key=lambda one: -abs(one.off))
    named = ", ".join(
        f"{one.eval} of {one.run} at {one.tokens:,} tokens ({one.off:+.4g})" for one in worst[:MOST_NAMED]
    )
    more = f" and {len(worst) - MOST_NAMED} more" if len(worst) > MOST_NAMED else ""
    return [f"{len(stray)} single losses lie off their runs' courses and were left out: {named}{more}"]


def diverged_runs(table: RunTable, evals: list[str] | None = None) -> dict[str, str]:
    """Runs that broke, each with the reason: no finite loss at the end, or every loss far above base and other runs.

    A mixture may raise one loss a lot, but lowers another; only where all rise by far has training failed. With one
    validation set a run is judged by it alone. Without base rows the distance from the other runs must be larger.
    """
    out = dict.fromkeys(table.ended_without_loss, "no finite loss at its last checkpoint")
    rows = table.trained if evals is None else table.trained.filter(pl.col("eval").is_in(evals))
    last = rows.filter(pl.col("tokens") == pl.col("tokens").max().over(*_KEYS))
    last = last.filter(~pl.col("run").is_in(list(out)))
    if last.select(_KEYS).n_unique() < FEWEST_RUNS:
        return out
    base = table.base.group_by("eval").agg(pl.col("loss").mean().alias("base"))
    others = ["eval", "tokens", "params"]
    last = last.join(base, on="eval", how="left").with_columns(
        rise=pl.col("loss") - pl.col("base"),
        middle=pl.col("loss").median().over(others),
        width=(pl.col("loss").quantile(0.75, "linear") - pl.col("loss").quantile(0.25, "linear")).over(
            others
        ),
        peers=pl.len().over(others),
    )
    moved = last.group_by(_KEYS).agg(pl.col("rise").abs().max().alias("moved"))["moved"].drop_nulls()
    usual = float(moved.median()) if len(moved) else 0.0  # type: ignore[arg-type]
    above = pl.col("loss") - pl.col("middle")
    with_base = (pl.col("rise") > FAR_ABOVE * usual) & (above > APART * pl.col("width"))
    far = (
        pl.when(pl.col("base").is_null())
        .then(above > APART_WITHOUT_BASE * pl.col("width"))
        .otherwise(with_base)
    )
    judged = (
        last.filter(pl.col("peers") >= FEWEST_RUNS)
        .group_by("run", maintain_order=True)
        .agg((far & (above > 0)).all().alias("far"), above.min().alias("above"))
        .filter("far")
    )
    for run, least in judged.select("run", "above").iter_rows():
        out[run] = (
            f"every loss is at least {least:.3g} above the median run's at its last checkpoint: it diverged"
        )
    return out


def copied_runs(table: RunTable) -> dict[str, str]:
    """Runs whose mixture and losses are those of another run to the last digit, each with the run it repeats.

    Losses that are all rounded to `FEWEST_DIGITS` decimals may agree by chance and are not compared.
    """
    shares = [SHARE + domain for domain in table.domains]
    digits = pl.col("loss") != pl.col("loss").round(FEWEST_DIGITS)
    runs = (
        table.trained.sort("seed", "params", "tokens", "eval")
        .group_by("run")
        .agg(
            pl.struct(*shares, "params", "tokens", "eval", "loss").hash().alias("rows"),
            digits.any().alias("fine"),
        )
        .filter("fine")
        .sort("run")
    )
    first: dict[tuple[int, ...], str] = {}
    copies: dict[str, str] = {}
    for run, rows in runs.select("run", "rows").iter_rows():
        origin = first.setdefault(tuple(rows), run)
        if origin != run:
            copies[run] = origin
    return copies


def stray_losses(table: RunTable, evals: list[str] | None = None) -> list[StrayLoss]:
    """Single losses far off the course of their run, where the run's other checkpoints and other runs show it.

    What all runs do at a budget is taken off first. A checkpoint's loss is then compared with the line through its
    neighbours over log tokens, within a run; at either end with the line through the nearest two. Of neighbours that
    both look off, the one farther off is named.
    """
    out: list[StrayLoss] = []
    trained = table.trained
    for name in evals or table.evals:
        rows = trained.filter(pl.col("eval") == name).sort(*_KEYS, "tokens")
        sizes = rows.partition_by("params", maintain_order=True)
        out += [stray for size in sizes for stray in _stray_of(size, name)]
    return out


def _stray_of(rows: pl.DataFrame, name: str) -> list[StrayLoss]:
    """The stray losses of one validation set and model size."""
    rows = rows.with_columns(
        pl.len().over(_KEYS).alias("checkpoints"), pl.col("loss").std().over("tokens").alias("spread")
    )
    rows = rows.filter(
        (pl.col("checkpoints") >= FEWEST_CHECKPOINTS) & (pl.len().over("tokens") >= FEWEST_RUNS)
    )
    # What all runs do at a budget, by their steps to it: a median of losses would jump with a stray one.
    steps = (
        rows.with_columns(step=pl.col("loss").diff().over(_KEYS))
        .group_by("tokens")
        .agg(pl.col("step").median())
    )
    common = steps.sort("tokens").select("tokens", common=pl.col("step").fill_null(0.0).cum_sum())
    rows = (
        rows.join(common, on="tokens")
        .sort(*_KEYS, "tokens")
        .with_columns(rest=pl.col("loss") - pl.col("common"))
    )
    courses = [c for c in rows.partition_by(_KEYS, maintain_order=True) if c.height >= FEWEST_CHECKPOINTS]
    if len(courses) < FEWEST_RUNS:
        return []
    offs = [_off_course(np.log(c["tokens"].to_numpy()), c["rest"].to_numpy()) for c in courses]
    inner = MAD * float(np.median(np.abs(np.concatenate([off[1:-1] for off in offs]))))
    outer = MAD * float(np.median(np.abs(np.concatenate([off[[0, -1]] for off in offs]))))
    usual_rt = _usual(courses, offs)
    out: list[StrayLoss] = []
    for course, usual in zip(courses, usual_rt, strict=True):
        limit = np.maximum(STRAY_PART * course["spread"].to_numpy(), STRAY_TIMES * usual)
        limit = np.maximum(limit, STRAY_SIGMAS * np.where(_ends(course.height), max(outer, inner), inner))
        for row, off in _strays(np.log(course["tokens"].to_numpy()), course["rest"].to_numpy(), limit):
            out.append(StrayLoss(course["run"][row], course["seed"][row], course["tokens"][row], name, off))
    return out


def _usual(courses: list[pl.DataFrame], offs: list[Floats]) -> list[Floats]:
    """What four fifths of the other runs are off at each checkpoint of a run; steep mixtures bend more than most."""
    budgets = np.unique(np.concatenate([c["tokens"].to_numpy() for c in courses]))
    off_rt = np.stack(
        [
            np.interp(budgets, c["tokens"].to_numpy(), np.abs(off))
            for c, off in zip(courses, offs, strict=True)
        ]
    )
    every = np.quantile(off_rt, 0.8, axis=0)
    out = []
    for at, course in enumerate(courses):
        # One run among many moves no quantile.
        usual = every if len(courses) > MANY else np.quantile(np.delete(off_rt, at, axis=0), 0.8, axis=0)
        out.append(usual[np.searchsorted(budgets, course["tokens"].to_numpy())])
    return out


def _strays(log_tokens: Floats, rest: Floats, limit: Floats) -> list[tuple[int, float]]:
    """Rows of one run's course beyond their limits, each with how far; what is left is within."""
    out: list[tuple[int, float]] = []
    left = np.arange(len(rest))

    def worst(rows: NDArray[np.int64]) -> float:
        return float((np.abs(_off_course(log_tokens[rows], rest[rows])) / (limit[rows] + 1e-300)).max())

    while len(left) >= FEWEST_CHECKPOINTS and worst(left) > 1:
        # A stray loss puts its neighbours off course too: it is the one without which the rest fits best.
        at = int(np.argmin([worst(np.delete(left, k)) for k in range(len(left))]))
        off = float(_off_course(log_tokens[left], rest[left])[at])
        out.append((int(left[at]), off))
        left = np.delete(left, at)
    # A course that takes two to mend is no stray checkpoint but a run of another kind.
    return out if len(out) <= max(1, len(rest) // FEWEST_CHECKPOINTS // 2) else []


def _ends(count: int) -> NDArray[np.bool_]:
    return np.isin(np.arange(count), (0, count - 1))


def _off_course(log_tokens: Floats, rest: Floats) -> Floats:
    """How far each value is from the line through its two neighbours (at an end: the nearest two)."""
    before = np.arange(len(rest)) - 1
    after = before + 2
    before[0], after[0] = 1, 2
    before[-1], after[-1] = len(rest) - 3, len(rest) - 2
    slope = (rest[after] - rest[before]) / (log_tokens[after] - log_tokens[before])
    return np.asarray(rest - rest[before] - slope * (log_tokens - log_tokens[before]))


def _without_losses(rows: pl.DataFrame, stray: list[StrayLoss]) -> pl.DataFrame:
    if not stray:
        return rows
    keys = ["run", "seed", "tokens", "eval"]
    out = pl.DataFrame(
        [[one.run, one.seed, one.tokens, one.eval] for one in stray],
        orient="row",
        schema=[(k, rows.schema[k]) for k in keys],
    )
    return rows.join(out, on=keys, how="anti", nulls_equal=True)
