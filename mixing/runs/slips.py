"""Values that are numbers and cannot be what their column says: markers for missing losses, a run in another unit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from mixing.amounts import format_amount
from mixing.errors import InputError
from mixing.runs.metrics import LARGEST_NATS

MARKERS = (99.0, 999.0, 9999.0, 99999.0, 1e6, 1e9)
"""Written for a loss that is not known, where losses are a few nats; 0 and all that is below it are too."""
FEW, FEWEST_CELLS, TOGETHER = 0.1, 10, 4.0
"""Marks are at most such a part of a set's cells, of which there are so many; the others lie within such a factor of
their median. Else they may be a measure of its own."""
MOST_TOKENS = 1e15
"""A hundred times what the longest training runs have read."""
UNITS = (1e3, 1e6, 1e9)
FAR = 300.0
"""How many times fewer tokens, or more, than the usual run's are looked at."""
ALIKE = 0.01


def refuse_slips(frame: pl.DataFrame, source: str, metrics: Mapping[str, str]) -> None:
    """Raises InputError naming a run: for losses that mark a missing value, for tokens of some runs in another unit
    than the others', for more tokens than anybody trains on, and for validation sets that some runs spell otherwise.

    `metrics` names the sets that hold no plain losses; their ranges are checked where they are read.
    """
    _refuse_other_spellings(frame, source)
    for name in frame["eval"].unique(maintain_order=True):
        if name not in metrics:
            _refuse_markers(frame.filter((pl.col("eval") == name) & pl.col("loss").is_finite()), name, source)
    _refuse_other_units(frame.filter(pl.col("tokens") > 0), source)


def _refuse_markers(rows: pl.DataFrame, name: str, source: str) -> None:
    middle = rows["loss"].median()
    if not isinstance(middle, float) or not 0.1 < middle < LARGEST_NATS:
        return
    marked = rows.filter((pl.col("loss") <= 0) | pl.col("loss").is_in(MARKERS))
    others = rows.filter((pl.col("loss") > 0) & ~pl.col("loss").is_in(MARKERS))["loss"]
    together = others.is_between(middle / TOGETHER, middle * TOGETHER).all()
    if rows.height >= FEWEST_CELLS and 0 < marked.height <= FEW * rows.height and together:
        row = marked.row(0, named=True)
        raise InputError(
            f"{source}: run {row['run']!r} has a loss of {row['loss']:g} on {name!r} at {row['tokens']:,} tokens "
            f"({marked.height} such cells), where {middle:.3g} is usual: it looks like a mark for a missing value",
            "Leave the cell empty where the loss is not known",
        )


def _refuse_other_units(trained: pl.DataFrame, source: str) -> None:
    """Runs whose budgets are those of others once they are multiplied by a thousand, a million or a billion."""
    if not trained.height:
        return
    budgets = {
        str(run): np.unique(rows["tokens"].to_numpy().astype(float))
        for (run,), rows in trained.group_by("run", maintain_order=True)
    }
    last = {run: float(own.max()) for run, own in budgets.items()}
    largest = max(last, key=lambda run: last[run])
    if last[largest] > MOST_TOKENS:
        raise InputError(
            f"{source}: run {largest!r} has {last[largest]:.3g} tokens, more than anybody trains on",
            "Correct the column tokens, or its unit",
        )
    usual = float(np.median(list(last.values())))
    others = np.concatenate([own for run, own in budgets.items() if usual / FAR <= last[run] <= usual * FAR])
    for run, own in budgets.items():
        if usual / FAR <= last[run] <= usual * FAR:
            continue
        for unit in UNITS:
            scaled = own * unit if last[run] < usual else own / unit
            if all(np.any(np.abs(others - at) <= ALIKE * at) for at in scaled):
                raise InputError(
                    f"{source}: run {run!r} ends at {last[run]:,.0f} tokens, others at "
                    f"{format_amount(usual)}; times {unit:,.0f} they are the same budgets, as in another unit",
                    "Write all token counts whole, or each with its unit, e.g. 1.6B",
                )


def _refuse_other_spellings(frame: pl.DataFrame, source: str) -> None:
    """Sets whose names differ in case alone, and that no run has both of."""
    names = frame["eval"].unique(maintain_order=True).to_list()
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.casefold(), name)
        if other == name:
            continue
        runs, others = (set(frame.filter(pl.col("eval") == one)["run"]) for one in (name, other))
        if not runs & others:
            raise InputError(
                f"{source}: run {min(runs)!r} has a validation set {name!r}, others have {other!r}",
                "Write its name alike in all rows",
            )
