"""Losses of single held-out windows, and what they say of a loss's sampling error.

A run's losses are measured on one sample of windows per validation set: at its last budget on all of them, at
earlier ones perhaps on a few of these. A loss on the few is carried to all by its regression on losses that are known
of every window, the last one and the base's (two-phase sampling with regression; Cochran 1977, *Sampling Techniques*,
12.6), so that all rows of a run are losses on the same text. Windows of one document do not err apart, so errors are
clustered by document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mixing.arrays import Floats, Ints
from mixing.errors import InputError

WINDOW_COLUMNS = ["tokens", "eval", "window", "document", "loss"]
WINDOW_LOSSES = "window_losses.parquet"
"""Beside the losses of a finished run, a row per budget, validation set and window: tokens, eval, window, document,
loss. Rows of tokens 0 in a proxy's file are its base on windows of the proxy's own."""
FEWEST_FOR_SLOPES = 16
OWN_WINDOWS = "confirmation"
"""The name of the held-out sample of a run that brings its base's losses on it along."""


@dataclass(frozen=True)
class Carried:
    """A loss on a few windows, carried to all: `loss`, and what each of the windows adds to its error.

    `influence_w` sums to 0; its clusters' sums of squares are the variance of `loss`.
    """

    loss: float
    influence_w: Floats


def carried(losses_w: Floats, last_w: Floats, *others: Floats) -> Carried:
    """The loss on all windows, from `losses_w` (NaN where a window was not measured) and `last_w`, the last losses.

    `others` are further losses that are known of every window, such as the base's: the last and the base's together
    leave less open than either.
    """
    few_w = np.isfinite(losses_w)
    n_few, n_all = int(few_w.sum()), len(last_w)
    if n_few == n_all:
        return Carried(float(losses_w.mean()), (losses_w - losses_w.mean()) / n_all)
    known_wk = np.stack([last_w, *others], axis=1)
    slope_k = np.zeros(known_wk.shape[1])
    y, known_fk = losses_w[few_w], known_wk[few_w]
    centred_fk = known_fk - known_fk.mean(0)
    if n_few >= FEWEST_FOR_SLOPES:
        slope_k = np.linalg.lstsq(centred_fk, y - y.mean(), rcond=None)[0]
    else:
        slope_k[0] = 1.0  # slopes of a few points leave no residuals to tell their error by
    residual_w = np.zeros(n_all)
    residual_w[few_w] = y - y.mean() - centred_fk @ slope_k
    loss = float(y.mean() + (known_wk.mean(0) - known_fk.mean(0)) @ slope_k)
    return Carried(loss, (known_wk - known_wk.mean(0)) @ slope_k / n_all + residual_w / n_few)


def clustered_error(influence_w: Floats, document_w: Ints) -> float | None:
    """The standard error of a mean with these influences; None where all windows are of one document."""
    _, cluster_w = np.unique(document_w, return_inverse=True)
    sums = np.bincount(cluster_w, weights=influence_w)
    if len(sums) < 2:
        return None
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)))


def with_sampling_errors(frame: pl.DataFrame, folder: Path, runs: Sequence[str]) -> pl.DataFrame:
    """`restated` with the windows' losses of the finished runs `runs` in `folder`, as far as they left any.

    Raises InputError for a file that cannot be read.
    """
    if not {"run", "params", "tokens", "eval", "loss"} <= set(frame.columns):
        return frame  # of another trainer, in another layout
    _check_own_windows(frame, folder)
    windows = {}
    for path in (windows_file(folder, run) for run in runs):
        if not path.exists():
            continue
        try:
            windows[path.parent.name] = pl.read_parquet(path, columns=WINDOW_COLUMNS, glob=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(
                f"{path}: cannot be read ({str(error).splitlines()[0]})",
                "Delete that run's folder and train it again",
            ) from error
    return restated(frame, windows)


def _check_own_windows(frame: pl.DataFrame, folder: Path) -> None:
    """Raises InputError for a run on a held-out sample of its own whose windows, and its base's, are not there."""
    if "heldout" not in frame.columns:
        return
    for run in frame.filter(pl.col("heldout").is_not_null())["run"].unique().sort():
        if not windows_file(folder, run).exists():
            raise InputError(
                f"{windows_file(folder, run)}: not there, and the run's losses are on text that its base was measured "
                "on nowhere else",
                "Delete that run's folder and train it again",
            )


def windows_file(folder: Path, run: str) -> Path:
    return folder / run / WINDOW_LOSSES


def restated(frame: pl.DataFrame, windows: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows of finished runs with `increment_stderr`, from the losses of single windows by run (`WINDOW_LOSSES`).

    The error is that of the row's loss less the base's, over the windows that both were measured on. A loss on a few
    windows is carried to all with the base's losses too, which the run itself did not know. A run that was
    measured on windows of its own, and its base with it, keeps the increment over these: its loss is restated as the
    base's in the table plus that increment, and `heldout` names the other sample. Rows without losses of single
    windows stay as they are.
    """
    if not windows:
        return frame
    of_run = {run: _by_row(table) for run, table in windows.items()}
    bases: dict[tuple[str, object], _Base] = {}
    for row in frame.filter(pl.col("tokens") == 0).iter_rows(named=True):
        own = of_run.get(row["run"], {}).get((0, row["eval"]))
        bases.setdefault((row["eval"], row["params"]), _Base(row["loss"], own))
    found = [
        _of_row(row, of_run.get(row["run"], {}), bases.get((row["eval"], row["params"])))
        for row in frame.select("run", "params", "tokens", "eval", "loss").iter_rows(named=True)
    ]
    return frame.with_columns(
        pl.Series("loss", [row.loss for row in found], dtype=pl.Float64),
        pl.Series("increment_stderr", [row.stderr for row in found], dtype=pl.Float64),
        pl.Series("heldout", [row.heldout for row in found], dtype=pl.String),
    )


@dataclass(frozen=True)
class _Base:
    """The base's loss in the table, and the losses of its windows."""

    loss: float
    windows: pl.DataFrame | None


@dataclass(frozen=True)
class _Restated:
    loss: float
    stderr: float | None = None
    heldout: str | None = None


ByRow = dict[tuple[int, str], pl.DataFrame]


def _by_row(windows: pl.DataFrame) -> ByRow:
    """The windows of each (tokens, eval), in the order of their ids."""
    parts = windows.sort("window").partition_by("tokens", "eval", as_dict=True)
    return {(int(tokens), str(name)): part for (tokens, name), part in parts.items()}


def _of_row(row: dict[str, Any], known: ByRow, base: _Base | None) -> _Restated:
    """What the windows' losses say of one row of a run: nothing new where some are missing."""
    name, tokens = row["eval"], row["tokens"]
    here = known.get((tokens, name))
    if tokens == 0 or here is None or base is None:
        return _Restated(row["loss"])
    own = known.get((0, name))
    before = base.windows if own is None else own
    last = known[max(at for at, of in known if of == name), name]
    if before is None or not before["window"].equals(last["window"]):
        return _Restated(row["loss"])
    losses_w = last.join(here, on="window", how="left", maintain_order="left")["loss_right"]
    before_w = _floats(before["loss"])
    of_all = carried(_floats(losses_w.fill_null(np.nan)), _floats(last["loss"]), before_w)
    paired_w = of_all.influence_w - (before_w - before_w.mean()) / len(before_w)
    stderr = clustered_error(paired_w, last["document"].to_numpy())
    if own is None:
        # What was measured on all windows stays to the digit.
        return _Restated(row["loss"] if here.height == last.height else of_all.loss, stderr)
    return _Restated(base.loss + of_all.loss - float(before_w.mean()), stderr, OWN_WINDOWS)


def _floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).to_numpy()
