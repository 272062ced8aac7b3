"""The clean twin of a validation set: its documents that do not recur in training text, measured beside the whole.

Near-duplicates of a validation set in training text make its loss fall for another reason than the one that is
measured. A run's losses of single windows tell the increment on the clean documents, without another evaluation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from mixing.runs.heldout import clustered_error

FEWEST_CLEAN, FEWEST_REPEATED = 8, 3
"""Documents of either kind below which their difference is told by too few to have an error."""


@dataclass(frozen=True)
class CleanTwin:
    """The increment of one run on a validation set at its last budget, on all documents and on the clean ones (nats).

    `stderr` is that of `clean_increment - increment`, over documents.
    """

    run: str
    eval: str
    tokens: int
    increment: float
    clean_increment: float
    stderr: float

    @property
    def gap(self) -> float:
        """How much higher the increment is on clean documents."""
        return self.clean_increment - self.increment


def clean_twins(
    windows: Mapping[str, pl.DataFrame], base: str, repeated: Mapping[str, Collection[int]]
) -> list[CleanTwin]:
    """The clean twin of every run and validation set with repeated documents.

    `windows` are the losses of single windows by run (`mixing.runs.heldout.WINDOW_COLUMNS`), `base` the run that holds
    the base's; a run with rows of tokens 0 brings its own. `repeated` are numbers of documents by validation set. Left
    out is what has too few documents of either kind, or was not measured on its base's windows.
    """
    twins = []
    for run, table in windows.items():
        before = table if run != base and table["tokens"].min() == 0 else windows[base]
        for name in repeated:
            after = table.filter(pl.col("eval") == name)
            if run != base and after.height:
                last = after.filter(pl.col("tokens") == pl.col("tokens").max())
                first = before.filter((pl.col("eval") == name) & (pl.col("tokens") == 0))
                twin = _of_run(run, last, first, repeated[name])
                twins += [twin] if twin is not None else []
    return twins


def _of_run(run: str, last: pl.DataFrame, first: pl.DataFrame, repeated: Collection[int]) -> CleanTwin | None:
    pairs = last.join(first, on="window", suffix="_base").sort("window")
    if pairs.height < last.height:
        return None
    increment_w = (pairs["loss"] - pairs["loss_base"]).cast(pl.Float64).to_numpy()
    document_w = pairs["document"].to_numpy()
    clean_w = ~np.isin(document_w, np.fromiter(repeated, np.int64, len(repeated)))
    clean, dirty = (len(np.unique(document_w[which_w])) for which_w in (clean_w, ~clean_w))
    if clean < FEWEST_CLEAN or dirty < FEWEST_REPEATED:
        return None
    of_all, of_clean = float(increment_w.mean()), float(increment_w[clean_w].mean())
    influence_w = np.where(clean_w, (increment_w - of_clean) / clean_w.sum(), 0.0)
    influence_w -= (increment_w - of_all) / len(increment_w)
    stderr = clustered_error(influence_w, document_w)
    assert stderr is not None  # there are several documents
    return CleanTwin(run, str(last["eval"][0]), int(last["tokens"][0]), of_all, of_clean, stderr)
