"""Points: where in mixtures, tokens and model sizes a loss was measured, or is asked about. Laws are fitted on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mixing.arrays import Floats, Ints
from mixing.runs.budgets import SAME_BUDGET, usual_budget
from mixing.runs.table import SHARE


@dataclass(frozen=True)
class Points:
    """Where a loss was, or is to be, known: n rows of (mixture, checkpoint).

    `shares_nd` are token shares by domain, `target_n` the target share R (their sum over the target domains; NaN
    where a table has no such role), `tokens_n` training tokens, `token_unit` the tokens that count as T = 1 in a
    law, `mixture_n` a code shared by rows of one mixture, `run_n` by rows of one run, `params_n` the model's
    parameters (None where a table names no sizes), `stderr_n` the standard errors with which the loss was evaluated
    (None where a table names none).
    """

    shares_nd: Floats
    target_n: Floats
    tokens_n: Floats
    token_unit: float
    mixture_n: Ints
    run_n: Ints
    params_n: Floats | None = None
    stderr_n: Floats | None = None

    def __len__(self) -> int:
        return len(self.tokens_n)

    @cached_property
    def log_shares_nd(self) -> Floats:
        """ln h, and 0 where a source is absent; a search asks for it thousands of times."""
        return np.asarray(np.log(np.where(self.shares_nd > 0, self.shares_nd, 1.0)))

    @cached_property
    def usual_budget(self) -> float:
        """The largest budget (tokens) that almost all runs have reached."""
        return usual_budget(self.run_n, self.tokens_n)

    def at_usual_budget(self) -> NDArray[np.bool_]:
        """Rows at that budget."""
        return np.asarray(np.abs(np.log(self.tokens_n / self.usual_budget)) <= SAME_BUDGET)

    def interior(self) -> NDArray[np.bool_]:
        """Rows whose target share lies strictly between 0 and 1."""
        return np.asarray((self.target_n > 1e-6) & (self.target_n < 1 - 1e-6))

    def at(self, targets_n: Floats, tokens_n: Floats) -> Points:
        """Points of the same kind elsewhere: only the target share and the tokens are set."""
        nothing = np.full(len(targets_n), -1)
        return Points(
            np.stack([1 - targets_n, targets_n], 1), targets_n, tokens_n, self.token_unit, nothing, nothing
        )

    def take(self, rows: NDArray[np.bool_] | Ints) -> Points:
        return Points(
            self.shares_nd[rows],
            self.target_n[rows],
            self.tokens_n[rows],
            self.token_unit,
            self.mixture_n[rows],
            self.run_n[rows],
            None if self.params_n is None else self.params_n[rows],
            None if self.stderr_n is None else self.stderr_n[rows],
        )


def make_points(
    frame: pl.DataFrame, shares: list[str], target_domains: tuple[str, ...], token_unit: float | None = None
) -> Points:
    """Points of a frame with share columns, tokens, run and seed; T = 1 at the largest budget by default."""
    shares_nd = frame.select(shares).fill_null(0.0).to_numpy().astype(float)
    columns = [shares.index(SHARE + d) for d in target_domains]
    target_n = shares_nd[:, columns].sum(1) if columns else np.full(len(shares_nd), np.nan)
    tokens_n = frame["tokens"].to_numpy().astype(float)
    keys = frame.select(pl.struct("run", "seed").rank("dense").alias("r"))["r"].to_numpy()
    _, mixture_n = np.unique(shares_nd.round(9), axis=0, return_inverse=True)
    unit = token_unit or float(tokens_n.max())
    params_n = None
    if "params" in frame.columns and not frame["params"].is_null().all():
        params_n = frame["params"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    stderr_n = known_standard_errors(frame["stderr"]) if "stderr" in frame.columns else None
    return Points(
        shares_nd,
        target_n,
        tokens_n,
        unit,
        mixture_n.astype(np.int64),
        keys.astype(np.int64),
        params_n,
        stderr_n,
    )


def known_standard_errors(column: pl.Series) -> Floats | None:
    """Standard errors of rows; where some are missing they count as the median one."""
    middle = column.median()
    return None if middle is None else column.fill_null(middle).to_numpy()
