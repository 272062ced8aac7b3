"""The columns of a runs table: by which names each is known, in which type it is kept, and which are not used."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from mixing.amounts import parse_size
from mixing.errors import InputError
from mixing.runs.cells import Cells

SHARE = "share."
STANDARD_ERRORS = ("stderr", "increment_stderr")
SETTINGS = ("base", "group", "lr", "schedule")
"""What runs of one mixture may differ in besides their seed; never mixed unless the user says so."""
METRIC = "metric"

_OTHER_NAMES = {
    "params": ("model_size", "n_params", "num_params", "parameters"),
    "tokens": ("n_tokens", "num_tokens", "train_tokens", "tokens_seen", "training_tokens"),
    "lr": ("learning_rate", "max_lr", "peak_lr"),
    "schedule": ("lr_schedule", "lr_scheduler", "lr_scheduler_type", "scheduler"),
    "base": ("base_model", "base_checkpoint"),
    "eval": ("val_domain", "validation_set", "eval_set"),
}
_STEPS = ("step", "steps", "global_step", "iteration", "iter")
_IN_UNIT = re.compile(
    r"(?:n_|num_)?(tokens|params)(?:_in)?[_ ]*[(\[]?(k|m|b|t|thousands|millions|billions|trillions)[)\]]?",
    re.IGNORECASE,
)
_UNIT_FIRST = re.compile(r"(k|m|b|t)_?(tokens|params)", re.IGNORECASE)
_SCALES = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


def named(frame: pl.DataFrame, source: str, decimal: str) -> tuple[pl.DataFrame, list[str]]:
    """The frame with columns under our names, and notes on what was read as what.

    A column such as `tokens_B` is read in its unit. Raises InputError where a column is there under two names, and
    where there are several checkpoints of a run, counted in steps.
    """
    notes: list[str] = []
    for ours, others in _OTHER_NAMES.items():
        here = [name for name in others if name in frame.columns]
        if ours in frame.columns or not here:
            continue
        if len(here) > 1:
            raise InputError(
                f"{source}: columns {' and '.join(map(repr, here))} are both {ours}", "Keep one of them"
            )
        frame = frame.rename({here[0]: ours})
    frame = _models(frame)
    for name in frame.columns:
        unit, unit_first = _IN_UNIT.fullmatch(name), _UNIT_FIRST.fullmatch(name)
        if unit is not None:
            ours, scale = unit[1].casefold(), unit[2]
        elif unit_first is not None:
            ours, scale = unit_first[2].casefold(), unit_first[1]
        else:
            continue
        if ours in frame.columns:
            raise InputError(f"{source}: columns {ours!r} and {name!r} are both {ours}", "Keep one of them")
        scaled = Cells(frame, source, decimal).numbers(name, "measure") * _SCALES[scale[0].casefold()]
        frame = frame.with_columns(scaled.alias(ours)).drop(name)
        notes.append(f"{source}: column {name!r} read as {ours}, in {scale}")
    _refuse_steps(frame, source)
    return frame, notes


def _models(frame: pl.DataFrame) -> pl.DataFrame:
    """A column `model` of several names: their sizes where all have one, else several bases."""
    if "model" not in frame.columns:
        return frame
    names = frame["model"].drop_nulls().cast(pl.String).unique().to_list()
    if "params" not in frame.columns and names and all(parse_size(name) is not None for name in names):
        return frame.rename({"model": "params"})
    return frame.rename({"model": "base"}) if len(names) > 1 and "base" not in frame.columns else frame


def _refuse_steps(frame: pl.DataFrame, source: str) -> None:
    steps = next((name for name in _STEPS if name in frame.columns), None)
    if steps is None or not {"run", "eval"} <= set(frame.columns) or "tokens" in frame.columns:
        return
    several = frame.group_by("run", "eval").agg(pl.col(steps).n_unique().alias("n")).filter(pl.col("n") > 1)
    if several.height:
        raise InputError(
            f"{source}: no column 'tokens', and run {several['run'].min()!r} has several values of {steps!r}",
            f"Add a column tokens: {steps} times the tokens of a {steps.rstrip('s')} (0 for the base model)",
        )


def with_every_column(frame: pl.DataFrame, source: str) -> tuple[pl.DataFrame, list[str]]:
    """The frame with columns that may be left out filled in; raises InputError where another is missing."""
    if not any(column.startswith(SHARE) for column in frame.columns):
        columns = ", ".join(frame.columns[:12])
        raise InputError(
            f"{source}: no share.<domain> column (columns as read: {columns[:200]})",
            "See the runs table in docs/runs-table.md",
        )
    for column in ("run", "eval", "loss"):
        if column not in frame.columns:
            raise InputError(f"{source}: no column {column!r}", "See the runs table in docs/runs-table.md")
    warnings = []
    if "tokens" not in frame.columns:
        frame = frame.with_columns(tokens=pl.lit(1))
        warnings.append(f"{source}: no tokens column, so every run counts as one checkpoint")
    for column in ("params", "seed", *STANDARD_ERRORS, "heldout"):
        if column not in frame.columns:
            frame = frame.with_columns(pl.lit(None).alias(column))
    return frame, warnings


def typed(
    frame: pl.DataFrame, source: str, decimal: str, keep: Sequence[str]
) -> tuple[pl.DataFrame, list[str]]:
    """The columns of a runs table in their types, with settings and those of `keep`; a note names all others.

    Raises InputError naming the column and the run of a cell that cannot be read.
    """
    cells = Cells(frame, source, decimal)
    shares = [c for c in frame.columns if c.startswith(SHARE)]
    kept = [c for c in dict.fromkeys((*SETTINGS, METRIC, *keep)) if c in frame.columns]
    known = pl.DataFrame(
        [
            _text(frame["run"]),
            *(cells.numbers(c, "share").alias(c) for c in shares),
            cells.whole("params", "size").alias("params"),
            cells.whole("tokens").alias("tokens"),
            cells.whole("seed", "measure").alias("seed"),
            _text(frame["eval"]),
            *(cells.numbers(c, "measure").alias(c) for c in ("loss", *STANDARD_ERRORS)),
            _word(cells, "heldout"),
            *(_word(cells, c) for c in kept if c not in ("run", "eval", *shares)),
        ]
    )
    return known, _unused(frame, known, source)


def _text(cells: pl.Series) -> pl.Series:
    text = cells.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _word(cells: Cells, column: str) -> pl.Series:
    """Text, null for a cell that says nothing."""
    text = cells.frame[column].cast(pl.String).str.strip_chars()
    return text.set(cells.says_nothing(column), None)


def _unused(frame: pl.DataFrame, known: pl.DataFrame, source: str) -> list[str]:
    """A note on the columns that nothing is read from; those of one value differ in nothing."""
    unused = [c for c in frame.columns if c not in known.columns and not frame[c].is_null().all()]
    if not unused:
        return []
    named = ", ".join(_with_values(frame, c) for c in unused[:8]) + (
        f" and {len(unused) - 8} more" if len(unused) > 8 else ""
    )
    return [f"{source}: columns not used: {named}"]


def _with_values(frame: pl.DataFrame, column: str) -> str:
    """A column's name, with the number of its values where runs differ in it."""
    of_run = frame.group_by("run").agg(pl.col(column).n_unique().alias("n"))["n"].max()
    values = frame[column].n_unique()
    return f"{column!r} ({values} values: runs differ in it)" if of_run == 1 and values > 1 else repr(column)
