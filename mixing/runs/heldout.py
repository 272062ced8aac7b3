"""Losses of single held-out windows, and what they say of a loss's sampling error.

A run's losses are measured on one sample of windows per validation set: at its last budget on all of them, at
earlier ones perhaps on a few of these. A loss on the few is carried to all by its regression on the last loss of the
same windows (two-phase sampling with regression; Cochran 1977, *Sampling Techniques*, 12.6), so that all rows of a
run are losses on the same text. Windows of one document do not err apart, so errors are clustered by document.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from mixing.arrays import Floats, Ints

WINDOW_LOSSES = "window_losses.parquet"
"""Beside the losses of a finished run, a row per budget, validation set and window: tokens, eval, window, document,
loss. Rows of tokens 0 in a proxy's file are its base on windows of the proxy's own."""
OWN_WINDOWS = "confirmation"
"""The name of the held-out sample of a run that brings its base's losses on it along."""


@dataclass(frozen=True)
class Carried:
    """A loss on a few windows, carried to all: `loss`, and what each of the windows adds to its error.

    `influence_w` sums to 0; its clusters' sums of squares are the variance of `loss`.
    """

    loss: float
    influence_w: Floats


def carried(losses_w: Floats, last_w: Floats) -> Carried:
    """The loss on all windows, from `losses_w` (NaN where a window was not measured) and `last_w`, the last losses."""
    few_w = np.isfinite(losses_w)
    n_few, n_all = int(few_w.sum()), len(last_w)
    if n_few == n_all:
        return Carried(float(losses_w.mean()), (losses_w - losses_w.mean()) / n_all)
    y, z = losses_w[few_w], last_w[few_w]
    spread = float(((z - z.mean()) ** 2).sum())
    slope = float(((y - y.mean()) * (z - z.mean())).sum()) / spread if spread > 0 else 0.0
    residual_w = np.zeros(n_all)
    residual_w[few_w] = (y - y.mean()) - slope * (z - z.mean())
    loss = float(y.mean() + slope * (last_w.mean() - z.mean()))
    return Carried(loss, slope * (last_w - last_w.mean()) / n_all + residual_w / n_few)


def clustered_error(influence_w: Floats, document_w: Ints) -> float | None:
    """The standard error of a mean with these influences; None where all windows are of one document."""
    _, cluster_w = np.unique(document_w, return_inverse=True)
    sums = np.bincount(cluster_w, weights=influence_w)
    if len(sums) < 2:
        return None
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)))


def restated(frame: pl.DataFrame, windows: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows of finished runs with `increment_stderr`, from the losses of single windows by run (`WINDOW_LOSSES`).

    The error is that of the row's loss less the base's, over the windows that both were measured on. A run that was
    measured on windows of its own, and its base with it, keeps the increment over these: its loss is restated as the
    base's in the table plus that increment, and `heldout` names the other sample. Rows without losses of single
    windows stay as they are.
    """
    if not windows:
        return frame
    bases = frame.filter(pl.col("tokens") == 0)
    of_run = {run: _by_row(table) for run, table in windows.items()}
    rows = []
    for row in frame.iter_rows(named=True):
        known = of_run.get(row["run"], {})
        base = bases.filter((pl.col("eval") == row["eval"]) & pl.col("params").eq_missing(row["params"]))
        rows.append(row | (_of_row(row, known, base, of_run) if row["tokens"] > 0 else {}))
    columns = {**frame.schema, "increment_stderr": pl.Float64(), "heldout": pl.String()}
    return pl.DataFrame(
        [{"increment_stderr": None, "heldout": None} | row for row in rows],
        schema={"increment_stderr": pl.Float64(), "heldout": pl.String()} | columns,
    ).select(list(columns))


ByRow = dict[tuple[int, str], pl.DataFrame]


def _by_row(windows: pl.DataFrame) -> ByRow:
    """The windows of each (tokens, eval), in the order of their ids."""
    parts = windows.sort("window").partition_by("tokens", "eval", as_dict=True)
    return {(int(tokens), str(name)): part for (tokens, name), part in parts.items()}


def _of_row(
    row: dict[str, object], known: ByRow, base: pl.DataFrame, of_run: dict[str, ByRow]
) -> dict[str, object]:
    """What the windows' losses say of one row of a proxy: nothing where some are missing."""
    name = str(row["eval"])
    budgets = [tokens for tokens, eval_ in known if eval_ == name and tokens > 0]
    here = known.get((int(str(row["tokens"])), name))
    if here is None or not base.height:
        return {}
    own = known.get((0, name))
    before = own if own is not None else of_run.get(base["run"][0], {}).get((0, name))
    last = known[max(budgets), name]
    if before is None or not before["window"].equals(last["window"]):
        return {}
    losses_w = last.join(here, on="window", how="left", maintain_order="left")["loss_right"]
    of_all = carried(losses_w.cast(pl.Float64).fill_null(np.nan).to_numpy(), _floats(last["loss"]))
    before_w = _floats(before["loss"])
    paired_w = of_all.influence_w - (before_w - before_w.mean()) / len(before_w)
    facts: dict[str, object] = {"increment_stderr": clustered_error(paired_w, last["document"].to_numpy())}
    if own is not None:
        loss = float(base["loss"].mean()) + of_all.loss - float(before_w.mean())  # type: ignore[arg-type]
        facts |= {"loss": loss, "heldout": OWN_WINDOWS}
    return facts


def _floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).to_numpy()
