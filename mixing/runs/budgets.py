"""The budgets at which runs can be compared: those that almost all of them have reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from mixing.amounts import format_amount
from mixing.arrays import Floats, Ints

ALMOST_ALL = 0.8
"""A budget is common that at least this part as many runs have reached as the budget with the most."""
SAME_BUDGET = 0.01
"""Checkpoints whose tokens differ by less than this part are at one budget."""
FEW_RUNS = 4
FEWEST_TOKENS = 10_000
OWN_BUDGETS = 0.5
"""Where no budget has checkpoints of so many of the runs, they have none in common."""


def common_budgets(tokens_n: Floats) -> Floats:
    """The budgets (tokens) that almost all runs reached, ascending; one entry of `tokens_n` per run and budget."""
    budgets, counts = np.unique(tokens_n, return_counts=True)
    return np.asarray(budgets[counts >= ALMOST_ALL * counts.max()], dtype=float)


def usual_budget(run_n: Ints, tokens_n: Floats) -> float:
    """The largest budget (tokens) that almost all runs have reached, of rows with a code of their run.

    Checkpoints within a hundredth of each other are at one budget. Runs that have none in common, each with checkpoints
    of its own, have reached the last budget that four fifths of them have passed.
    """
    order_n = np.argsort(tokens_n, kind="stable")
    budget_n = np.empty(len(tokens_n), dtype=np.int64)
    budget_n[order_n] = np.cumsum(np.diff(np.log(tokens_n[order_n]), prepend=-np.inf) > SAME_BUDGET) - 1
    runs, code_n = np.unique(run_n, return_inverse=True)
    pairs = np.unique(np.stack([budget_n, code_n]), axis=1)
    reached_t = np.bincount(pairs[0])
    if reached_t.max() < OWN_BUDGETS * len(runs):
        last_r = np.zeros(len(runs))
        np.maximum.at(last_r, code_n, tokens_n)
        return float(np.sort(last_r)[::-1][int(np.ceil(ALMOST_ALL * len(runs))) - 1])
    most = int(reached_t.max())
    # Of few runs, four or more, one may be missing.
    enough = min(ALMOST_ALL * most, most - 1) if most >= FEW_RUNS else most
    last = int(np.flatnonzero(reached_t >= enough)[-1])
    return float(tokens_n[budget_n == last].max())


def usual_budget_of(trained: pl.DataFrame) -> int:
    """The same of trained rows of a table, with columns run, seed, params and tokens."""
    codes = trained.select(pl.struct("run", "seed", "params").rank("dense").alias("code"))["code"]
    tokens_n = trained["tokens"].to_numpy().astype(float)
    return round(usual_budget(codes.to_numpy().astype(np.int64), tokens_n))


def runs_beyond(runs_n: Sequence[str], tokens_n: Floats, budget: float) -> list[str]:
    """A note on runs with checkpoints past a budget that almost all runs reached; empty where none has."""
    beyond_n = tokens_n > (1 + SAME_BUDGET) * budget
    names = sorted({run for run, beyond in zip(runs_n, beyond_n, strict=True) if beyond})
    if not names:
        return []
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    last = format_amount(float(tokens_n.max()))
    count = "1 run goes" if len(names) == 1 else f"{len(names)} runs go"
    return [
        f"{count} further than the {format_amount(budget)} tokens that almost all reached: {shown}, to {last}"
    ]


def tiny_budget(tokens: float) -> list[str]:
    """A warning for a budget that no model is trained for, unless the table has none (every run is at 1)."""
    if not 1 < tokens < FEWEST_TOKENS:
        return []
    return [
        f"runs end at {tokens:,.0f} tokens: are these thousands, millions, billions, or steps? Write 1.6B, or name the "
        "column tokens_B"
    ]
