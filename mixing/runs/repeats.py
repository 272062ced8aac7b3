"""Rows of one run, budget and validation set that stand more than once: repeated, restarted, two seeds in one name."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from mixing.errors import InputError

KEYS = ("run", "seed", "params")
SAME = 1e-9
"""Losses that differ by less than this part of themselves are one loss, written twice."""


def settle_repeats(
    frame: pl.DataFrame, source: str, settings: list[str], in_log_order: bool
) -> tuple[pl.DataFrame, list[str]]:
    """The frame with one row per run, budget and set, and notes on what was left out.

    Repeated rows count once. Where a run's steps go back (a restart from a checkpoint) the later rows count, and those
    that the run had logged from there on do not: rows must then stand as they were logged, as all other runs' do, or
    as `in_log_order` promises. Base rows are judged where they are used. Raises InputError naming the run where its
    rows contradict each other otherwise.
    """
    keys = [*KEYS, *settings]
    rows = frame.with_row_index("_row").with_columns(pl.struct("tokens", "eval").alias("_at"))
    spread = (pl.col("loss").max() - pl.col("loss").min()) > SAME * pl.col("loss").abs().max()
    trained = rows.filter((pl.col("tokens") > 0) & pl.col("loss").is_finite())
    apart = trained.group_by(*keys, "_at").agg(spread.alias("apart")).filter("apart")
    notes: list[str] = []
    gone: set[int] = set()
    if apart.height:
        contradicting = apart.select(keys).unique().sort(keys)
        ordered = in_log_order or _in_log_order(
            trained.join(contradicting, on=keys, how="anti", nulls_equal=True), keys
        )
        for key in contradicting.iter_rows(named=True):
            of_run = rows.join(
                pl.DataFrame([key], schema=contradicting.schema), on=keys, nulls_equal=True
            ).sort("_row")
            left, note = _settled_run(of_run.filter(pl.col("tokens") > 0), source, ordered, in_log_order)
            gone |= left
            notes.append(note)
    kept = rows.filter(~pl.col("_row").is_in(list(gone)))
    unique = kept.unique([*keys, "tokens", "eval", "loss"], keep="first", maintain_order=True)
    # Base rows of a run may still differ: which of them counts is asked where one is needed.
    last = pl.when(pl.col("tokens") > 0).then(0).otherwise(pl.col("loss"))
    unique = unique.with_columns(last.alias("_base")).unique(
        [*keys, "tokens", "eval", "_base"], keep="first", maintain_order=True
    )
    if repeated := kept.height - unique.height:
        notes.append(f"{source}: {repeated} repeated rows dropped, the first of each kept")
    return unique.drop("_row", "_at", "_base"), notes


def _in_log_order(trained: pl.DataFrame, keys: list[str]) -> bool:
    """Whether the rows of every run stand in the order in which they are logged."""
    steps = trained.sort("_row").select((pl.col("tokens").diff() < 0).any().over(*keys, "eval").alias("back"))
    return not steps["back"].any()


@dataclass(frozen=True)
class _Row:
    at: int
    tokens: int
    loss: float


@dataclass(frozen=True)
class _Restart:
    """Where one loss of a run went back, the rows that this overruled, and how far they are off at most."""

    back: tuple[int, int]
    overruled: tuple[_Row, ...]
    off: float


def _settled_run(rows: pl.DataFrame, source: str, ordered: bool, in_log_order: bool) -> tuple[set[int], str]:
    """The rows of one run that a restart overruled, and a note. Raises InputError where it was none."""
    run = rows["run"][0]
    restarts = []
    for of_set in rows.sort("_row").partition_by("eval", maintain_order=True):
        logged = [_Row(*row) for row in of_set.select("_row", "tokens", "loss").iter_rows()]
        restart = _restart(logged, in_log_order) if ordered else None
        if restart is None:
            raise _two_in_one(source, run, rows)
        restarts.append(restart)
    first = max(restarts, key=lambda restart: len(restart.overruled))
    overruled = {row.at for restart in restarts for row in restart.overruled}
    last, start = first.back
    return overruled, (
        f"{source}: run {run!r} goes back from {last:,} to {start:,} tokens (a restart): the later rows count, its "
        f"{len(overruled)} earlier ones from there on are left out; they differ by up to "
        f"{max(restart.off for restart in restarts):.3g}"
    )


def _restart(logged: list[_Row], in_log_order: bool) -> _Restart | None:
    """How one loss of a run, as it was logged, went back; None where that is no restart.

    None: a step that stands twice in place, unless rows are in the order of their times, and a second start from the
    first step that ends no later than the one before.
    """
    kept, overruled, back, in_place = [logged[0]], list[_Row](), (0, 0), 0
    for row in logged[1:]:
        last = kept[-1]
        if row.tokens > last.tokens:
            kept.append(row)
            continue
        if row.tokens == last.tokens:
            if not _apart(row.loss, last.loss):
                continue
            in_place += 1
        elif row.tokens == logged[0].tokens and last.tokens >= max(
            r.tokens for r in logged if r.at >= row.at
        ):
            return None
        gone = [earlier for earlier in kept if earlier.tokens >= row.tokens]
        back = max(back, (last.tokens, row.tokens))
        overruled += gone
        kept = [*kept[: len(kept) - len(gone)], row]
    later = {row.tokens: row.loss for row in kept}
    off = max((abs(row.loss - later[row.tokens]) for row in overruled if row.tokens in later), default=0.0)
    everywhere = in_place > 1 and in_place >= len({row.tokens for row in logged})
    if (in_place and not in_log_order) or everywhere:
        return None
    return _Restart(back, tuple(overruled), off)


def _apart(one: float, other: float) -> bool:
    return abs(one - other) > SAME * max(abs(one), abs(other))


def _two_in_one(source: str, run: str, rows: pl.DataFrame) -> InputError:
    worst = (
        rows.group_by("tokens", "eval")
        .agg(pl.len().alias("n"), (pl.col("loss").max() - pl.col("loss").min()).alias("off"))
        .filter(pl.col("off") > 0)
        .sort("off", "tokens", "eval", descending=[True, False, False])
    )
    places = worst.height
    tokens, name, n, off = worst.select("tokens", "eval", "n", "off").row(0)
    return InputError(
        f"{source}: run {run!r} has {n} different losses on {name!r} at {tokens:,} tokens ({off:.3g} apart"
        + (f"; and so at {places - 1} more places)" if places > 1 else ")"),
        "Two seeds need a column seed, or run names of their own; of a restarted run delete the rows that do not count",
    )
