"""The base model's losses: one model, so that rows which disagree are no luck of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import polars as pl

from mixing.errors import InputError
from mixing.runs.table import RunTable

AGREE = 2e-3
"""Two evaluations of one model on one text differ by less, whatever the hardware."""
MOST = 0.02
"""However much runs scatter, two evaluations of one model do not differ by more."""
SCATTERS, ERRORS = 4.0, 5.0
"""How many times the scatter of checkpoints, or the standard errors of evaluations, base rows may be apart."""
MAD = 1.4826


def base_loss(table: RunTable, weights: Mapping[str, float]) -> tuple[float | None, list[str]]:
    """The base model's weighted mean loss (nats; None where a set has no base row), and notes on what was averaged.

    Rows of one set that are apart by little are averaged. Raises InputError, naming the run and both values, where
    they disagree beyond the scatter of evaluations.
    """
    notes: list[str] = []
    losses = []
    for name in weights:
        rows = table.base.filter(pl.col("eval") == name).sort("run")
        if not rows.height:
            return None, notes
        losses_n = rows["loss"].to_numpy()
        middle = float(np.median(losses_n))
        off = float(np.abs(losses_n - middle).max())
        if off > _limit(table, name, rows):
            raise _disagree(table, name, rows, middle)
        if np.ptp(losses_n) > 1e-6 * max(abs(middle), 1.0):
            notes.append(
                f"{table.source}: {rows.height} base rows of {name} differ by up to {np.ptp(losses_n):.2g}: "
                "their mean counts"
            )
        losses.append(float(losses_n.mean()))
    total = math.fsum(weights.values())
    return math.fsum(w / total * loss for w, loss in zip(weights.values(), losses, strict=True)), notes


def _limit(table: RunTable, name: str, rows: pl.DataFrame) -> float:
    """How far base rows of a set may be apart."""
    error = rows["stderr"].max()
    known = float(error) if isinstance(error, float) else 0.0
    return max(AGREE, ERRORS * known, min(SCATTERS * _scatter(table, name), MOST))


def _scatter(table: RunTable, name: str) -> float:
    """How far checkpoints are off the line through their neighbours, usually; 0 where runs have fewer than three."""
    keys = ["run", "seed", "params"]
    rows = table.trained.filter(pl.col("eval") == name).sort(*keys, "tokens")
    at, loss = pl.col("tokens").log(), pl.col("loss")
    slope = (loss.shift(-1) - loss.shift(1)) / (at.shift(-1) - at.shift(1))
    off = (loss - loss.shift(1) - slope * (at - at.shift(1))).over(keys)
    median = rows.select(off.abs().fill_nan(None).median())["loss"][0]
    return MAD * float(median) if median is not None else 0.0


def _disagree(table: RunTable, name: str, rows: pl.DataFrame, middle: float) -> InputError:
    far = rows.with_columns((pl.col("loss") - middle).abs().alias("off")).sort(
        "off", "run", descending=[True, False]
    )
    run, value = far["run"][0], far["loss"][0]
    near = far.row(-1, named=True)
    return InputError(
        f"{table.source}: base rows (tokens 0) of {name!r} disagree: run {run!r} has {value:.4f}, run {near['run']!r} "
        f"{near['loss']:.4f}, and there is one base model",
        "Delete the row that is wrong; of several bases say in a column base which run starts from which",
    )
