"""The runs table: one tidy row per run, checkpoint and validation set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape

import numpy as np
import polars as pl

from mixing.amounts import format_amount
from mixing.arrays import Floats
from mixing.errors import InputError
from mixing.mixture import SUM_TOLERANCE, Mixture
from mixing.runs.columns import METRIC, SETTINGS, SHARE, STANDARD_ERRORS, named, typed, with_every_column
from mixing.runs.metrics import as_losses, metrics_of_rows
from mixing.runs.repeats import settle_repeats
from mixing.runs.slips import refuse_slips

__all__ = ["SHARE", "STANDARD_ERRORS", "RunTable", "left_out", "make_table"]

ROUNDED = 1e-4
"""Sums of shares that are off 1 by less are rounded."""
LARGEST_LOSS = 1e60
"""Squares of larger losses, and their products, leave the range of floating point."""


@dataclass(frozen=True, repr=False)
class RunTable:
    """Tidy losses of proxy runs.

    `rows` has the columns run, share.<domain> (null in base rows), params, tokens, seed, eval, loss (nats per
    token, or any metric where lower is better), stderr (of the evaluation, in the loss's unit; null where a table
    names none), increment_stderr (of the loss less the base model's, paired over the held-out windows of both; null
    where not known), heldout (names the held-out sample of a row's increment: rows of one sample share its error;
    null for the sample that all other rows share). Rows with `tokens` 0 are the base model before continual
    pre-training. `warnings` say what was repaired on reading; `ended_without_loss` names the runs at whose last
    checkpoint no loss was finite. `metrics` names, by validation set, what its losses were made of, where that is no
    loss or somebody said so (`mixing.runs.metrics`).
    """

    rows: pl.DataFrame
    source: str
    warnings: list[str] = field(default_factory=list)
    ended_without_loss: tuple[str, ...] = ()
    metrics: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"RunTable({self.source}: {self._summary()})"

    def _repr_html_(self) -> str:
        """The table in a notebook: what is in it, then its first rows."""
        warnings = "".join(f"<li>{escape(warning)}</li>" for warning in self.warnings)
        return (
            f"<p><b>{escape(self.source)}</b>: {escape(self._summary())}</p>"
            + (f"<ul>{warnings}</ul>" if warnings else "")
            + self.rows.head(8)._repr_html_()
        )

    def _summary(self) -> str:
        trained = self.trained
        runs = trained["run"].n_unique()
        parts = [f"{runs} run{'' if runs == 1 else 's'}", f"domains {_some(self.domains)}"]
        parts.append(f"evals {_some(self.evals)}")
        # A table without budgets has 1 in the place of its tokens.
        if (most := float(trained["tokens"].max() or 0)) > 1:  # type: ignore[arg-type]
            parts.append(f"{format_amount(most)} tokens")
        return ", ".join(parts) + ("; base rows" if self.base.height else "")

    def to_frame(self) -> pl.DataFrame:
        """The rows as a polars data frame: run, share.<domain>, params, tokens, seed, eval, loss, and errors known."""
        return self.rows

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(c.removeprefix(SHARE) for c in self.rows.columns if c.startswith(SHARE))

    @property
    def evals(self) -> tuple[str, ...]:
        return tuple(self.rows["eval"].unique(maintain_order=True))

    @property
    def trained(self) -> pl.DataFrame:
        """Rows of proxy runs, base rows left out."""
        return self.rows.filter(pl.col("tokens") > 0)

    @property
    def base(self) -> pl.DataFrame:
        """Rows of the base model before continual pre-training."""
        return self.rows.filter(pl.col("tokens") == 0)

    def mixtures(self) -> dict[str, Mixture]:
        """The mixture of every run."""
        columns = [SHARE + d for d in self.domains]
        first = self.trained.unique("run", keep="first", maintain_order=True)
        return {
            row["run"]: Mixture(self.domains, tuple(row[c] for c in columns))
            for row in first.iter_rows(named=True)
        }

    def weighted(self, weights: dict[str, float]) -> pl.DataFrame:
        """The weighted mean over validation sets: run, share.*, params, tokens, seed, heldout and what is of a loss.

        That is loss, stderr and increment_stderr. Sets are taken to err apart from each other; a standard error is
        null where one of the sets' is. Checkpoints that lack one of the sets are left out. Raises InputError for a
        set that the table lacks.
        """
        missing = [name for name in weights if name not in self.evals]
        if missing:
            raise InputError(
                f"{self.source}: no validation set {', '.join(map(repr, missing))}",
                f"Choose among: {', '.join(self.evals[:30])}",
            )
        total = math.fsum(weights.values())
        if not total > 0:
            raise InputError(
                f"{self.source}: the weights of {', '.join(weights)} sum to {total:g}", "Give weights above 0"
            )
        table = pl.DataFrame({"eval": list(weights), "weight": [w / total for w in weights.values()]})
        keys = ["run", *(SHARE + d for d in self.domains), "params", "tokens", "seed", "heldout"]
        return (
            self.rows.join(table, on="eval", how="inner")
            .group_by(keys, maintain_order=True)
            .agg(
                (pl.col("loss") * pl.col("weight")).sum().alias("loss"),
                *(_of_sets_apart(column) for column in STANDARD_ERRORS),
                pl.len().alias("n"),
            )
            .filter(pl.col("n") == len(weights))
            .drop("n")
        )

    def check_has_sizes(self, params: int | None) -> None:
        """Raises InputError where a model size is asked about and the table names none."""
        if params is not None and not self.trained["params"].count():
            raise InputError(
                f"params {params}: {self.source} names no model sizes", "Leave it out, or add a column params"
            )

    def lacking(self, weights: dict[str, float]) -> list[str]:
        """Trained runs without any checkpoint that has all these validation sets."""
        runs = self.trained["run"].unique(maintain_order=True).to_list()
        complete = set(self.weighted(weights).filter(pl.col("tokens") > 0)["run"])
        return [run for run in runs if run not in complete]

    def without(self, runs: set[str]) -> RunTable:
        """The same table without some runs (base rows stay)."""
        rows = self.rows.filter((pl.col("tokens") == 0) | ~pl.col("run").is_in(list(runs)))
        return replace(self, rows=rows)


def _of_sets_apart(column: str) -> pl.Expr:
    """The standard error of a weighted mean over sets that err apart; null where one set's is not known."""
    error = (pl.col(column) * pl.col("weight")).pow(2).sum().sqrt()
    return pl.when(pl.col(column).count() == pl.len()).then(error).alias(column)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 5 else f"{', '.join(names[:3])}, ... ({len(names)})"


def left_out(table: RunTable, weights: dict[str, float]) -> list[str]:
    """A warning where some runs lack validation sets that the question names."""
    lacking = table.lacking(weights)
    if not lacking:
        return []
    named = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
    sets = ", ".join(list(weights)[:5]) + (", ..." if len(weights) > 5 else "")
    return [f"{table.source}: left out, without losses on {sets}: {named}; evaluate these runs to use them"]


def make_table(
    frame: pl.DataFrame,
    source: str,
    notes: Sequence[str] = (),
    *,
    decimal: str = ".",
    keep: Sequence[str] = (),
    in_log_order: bool = False,
    metrics: Mapping[str, str] | None = None,
) -> RunTable:
    """Check a tidy frame: shares on the simplex, finite losses, one value per (run, checkpoint, set).

    Share rows that are off 1 by up to 0.02 are renormalised with a warning. Rows whose loss is missing or not
    finite, repeated rows, and rows that a restarted run logged again are dropped with a warning; `notes` of the reader
    come first among the warnings. `source` names the table in errors, `decimal` is the sign before decimals in text,
    and columns of `keep` stay beside the settings of runs. `in_log_order` promises that a run's rows stand in the
    order of their times; `metrics` says that values are losses already, and of what. Raises InputError, naming column
    and run, for what cannot be repaired.
    """
    frame, renamed = named(frame, source, decimal)
    frame, defaults = with_every_column(frame, source)
    frame, unused = typed(frame, source, decimal, keep)
    shares = [c for c in frame.columns if c.startswith(SHARE)]
    _refuse_impossible_cells(frame, source)
    of_sets = metrics_of_rows(frame, source) if metrics is None else dict(metrics)
    refuse_slips(frame, source, of_sets)
    frame = frame.drop(METRIC, strict=False)
    frame, read_as = as_losses(frame, of_sets, source) if metrics is None else (frame, [])
    ended = _ended_without_loss(frame)
    frame, dropped = _finite_losses(frame, source)
    _refuse_huge_losses(frame, source)
    frame, repaired = _on_simplex(frame, shares, source)
    settings = [c for c in frame.columns if c in SETTINGS or (c in keep and c not in _RUN_COLUMNS)]
    frame, repeated = settle_repeats(frame, source, settings, in_log_order)
    said = [*notes, *renamed, *defaults, *unused, *read_as, *dropped, *repaired, *repeated]
    return RunTable(frame, source, said, ended, of_sets)


_RUN_COLUMNS = ("run", "params", "tokens", "seed", "eval", "loss", "heldout", *STANDARD_ERRORS)


def _refuse_impossible_cells(frame: pl.DataFrame, source: str) -> None:
    for column in ("run", "eval", "tokens"):
        empty = frame[column].is_null()
        if empty.any():
            run = frame["run"][int(empty.arg_true()[0])]
            where = f"row {int(empty.arg_true()[0]) + 1}" if run is None else f"run {run!r}"
            raise InputError(
                f"{source}: column {column!r} has empty cells ({empty.sum()}; {where})",
                "Fill every cell of it",
            )
    if frame.filter(pl.col("tokens") < 0).height:
        raise InputError(
            f"{source}: column 'tokens' has negative values", "Tokens count from 0, the base model"
        )
    for column in STANDARD_ERRORS:
        error = pl.col(column)
        wrong = frame.filter(error.is_not_null() & ~(error.is_finite() & (error >= 0)))
        if wrong.height:
            raise InputError(
                f"{source}: {column} of run {wrong['run'][0]!r} is {wrong[column][0]}",
                "A standard error is a number from 0; leave the cell empty where it is not known",
            )


def _refuse_huge_losses(frame: pl.DataFrame, source: str) -> None:
    largest = frame.filter(pl.col("loss").abs() > LARGEST_LOSS)
    if largest.height:
        raise InputError(
            f"{source}: run {largest['run'][0]!r} has a loss of {largest['loss'][0]:.3g}, too large to fit",
            "Correct it, or give losses in another unit",
        )


def _ended_without_loss(frame: pl.DataFrame) -> tuple[str, ...]:
    """Runs that diverged: at their last checkpoint every loss is NaN or infinite. An empty cell is none of them."""
    trained = frame.filter(pl.col("tokens") > 0)
    last = trained.filter(pl.col("tokens") == pl.col("tokens").max().over("run", "seed"))
    broken = ~pl.col("loss").is_finite() & pl.col("loss").is_not_null()
    ended = last.group_by("run", "seed", maintain_order=True).agg(broken.all().alias("broken"))
    return tuple(ended.filter("broken")["run"].unique().sort())


def _finite_losses(frame: pl.DataFrame, source: str) -> tuple[pl.DataFrame, list[str]]:
    bad = frame.filter(~pl.col("loss").is_finite().fill_null(False))
    if not bad.height:
        return frame, []
    if bad.height == frame.height:
        raise InputError(f"{source}: no finite loss in the table", "Check the loss column")
    runs = bad["run"].unique(maintain_order=True).to_list()
    named = ", ".join(runs[:5]) + (" ..." if len(runs) > 5 else "")
    for kind, of_kind in (("trained", pl.col("tokens") > 0), ("base", pl.col("tokens") == 0)):
        if frame.filter(of_kind).height and bad.filter(of_kind).height == frame.filter(of_kind).height:
            raise InputError(
                f"{source}: no {kind} row has a finite loss (run {named})",
                "Evaluate or train those runs again",
            )
    warning = (
        f"{source}: {bad.height} rows without a finite loss dropped (run {named}); "
        "train those runs again if they diverged"
    )
    return frame.filter(pl.col("loss").is_finite()), [warning]


def _refuse_missing_shares(trained: pl.DataFrame, shares: list[str], matrix_nd: Floats, source: str) -> None:
    """Raises InputError for an empty share where the others leave something for it: it is not 0."""
    empty_nd = trained.select(pl.col(c).is_null() for c in shares).to_numpy()
    short_n = np.abs(matrix_nd.sum(1) - 1) > ROUNDED
    wrong_n = empty_nd.any(1) & short_n & ~empty_nd.all(1)
    if wrong_n.any():
        at = int(wrong_n.argmax())
        raise InputError(
            f"{source}: {shares[int(empty_nd[at].argmax())]} of run {trained['run'][at]!r} is empty, and the other "
            f"shares sum to {matrix_nd[at].sum():.4g}",
            "Fill the cell; a domain that is not used has share 0",
        )


def _no_domains(matrix_nd: Floats, shares: list[str]) -> str:
    """Which columns can be no domain's shares, in words: those above 1, and those without which rows sum to 1."""
    above = [c for c, column_n in zip(shares, matrix_nd.T, strict=True) if column_n.max() > 1 + SUM_TOLERANCE]
    if above and len(above) < len(shares):
        largest = matrix_nd[:, shares.index(above[0])].max()
        return f" ({', '.join(above[:3])} can be no share: up to {largest:g}; remove or rename it)"
    for at, column in enumerate(shares if len(shares) > 2 else ()):
        if (np.abs(np.delete(matrix_nd, at, axis=1).sum(1) - 1) <= ROUNDED).all():
            return f" (without {column} they sum to 1: remove or rename it if it is no domain)"
    return ""


def _on_simplex(frame: pl.DataFrame, shares: list[str], source: str) -> tuple[pl.DataFrame, list[str]]:
    trained = frame.filter(pl.col("tokens") > 0)
    matrix_nd = trained.select(shares).fill_null(0.0).to_numpy()
    runs = trained["run"]
    _refuse_missing_shares(trained, shares, matrix_nd, source)
    bad = ~np.isfinite(matrix_nd).all(1) | (matrix_nd < 0).any(1)
    if bad.any():
        run = runs[int(bad.argmax())]
        raise InputError(f"{source}: run {run!r} has a share below 0 or not finite", "Correct this row")
    sums_n = matrix_nd.sum(1)
    off_n = np.abs(sums_n - 1)
    if (off_n > SUM_TOLERANCE).any():
        at = int(off_n.argmax())
        raise InputError(
            f"{source}: shares of run {runs[at]!r} sum to {sums_n[at]:.4g}, not 1{_no_domains(matrix_nd, shares)}",
            "Shares in percent are written 90%" if 95 < sums_n[at] < 105 else "Correct this row's shares",
        )
    if len(off_n) and (off_n > ROUNDED).all() and (no_domain := _no_domains(matrix_nd, shares)):
        raise InputError(
            f"{source}: shares of no run sum to 1{no_domain}",
            "Leave out or rename a column that is no domain",
        )
    warnings = []
    if (off_n > 1e-6).any():
        count = len(set(runs.filter(pl.Series(off_n > 1e-6))))
        warnings.append(
            f"{source}: shares of {count} runs were off 1 by up to {off_n.max():.3g}; renormalised"
        )
    scaled = trained.with_columns(pl.Series(c, matrix_nd[:, i] / sums_n) for i, c in enumerate(shares))
    varied = scaled.group_by("run").agg(pl.struct(shares).n_unique().alias("n")).filter(pl.col("n") > 1)
    if varied.height:
        # Rounded cells of one run may differ in the last digit; different mixtures may not share a name.
        spread = scaled.group_by("run").agg((pl.col(c).max() - pl.col(c).min()).alias(c) for c in shares)
        worst = spread.with_columns(pl.max_horizontal(shares).alias("spread")).sort("spread", descending=True)
        if worst["spread"][0] > 1e-6:
            raise InputError(
                f"{source}: run {worst['run'][0]!r} has rows with different shares",
                "Give every (mixture, size, seed) a run name of its own",
            )
    base = frame.filter(pl.col("tokens") == 0).with_columns(
        pl.lit(None, dtype=pl.Float64).alias(c) for c in shares
    )
    return pl.concat([base, scaled]), warnings
