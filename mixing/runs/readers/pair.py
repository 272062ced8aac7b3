"""Two tables that name the same runs, one with shares and one with losses: what RegMix and olmix publish."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from mixing.errors import InputError
from mixing.mixture import SUM_TOLERANCE
from mixing.runs.cells import Cells
from mixing.runs.columns import METRIC, SETTINGS, named
from mixing.runs.readers.layout import Source
from mixing.runs.readers.wide import long

ROW_NUMBERS = re.compile(
    r"run|index|name|column\d+|unnamed: \d+(\.\d+)*|level_\d+|row(_?(id|nr|number|index))?|id|idx|#|no\.?|rank|",
    re.IGNORECASE,
)
"""Columns that number or name rows: keys, and what the index of a data frame leaves."""
NO_LOSS = re.compile(
    r"(global_)?steps?|epochs?|iter(ation)?s?|time(stamp)?|date|seconds|runtime|wall_?(time|clock)|grad_?norm|"
    r".*per_second|.*_time|gpu.*|memory.*|batch_?size|weight_decay|dropout|warmup.*",
    re.IGNORECASE,
)
"""Columns of a log that are no loss, unless a domain has that name."""
FACTS = ("tokens", "params", "seed", METRIC, *SETTINGS)


@dataclass(frozen=True)
class Pair:
    """A table of shares, then one of losses, joined by the column `key`; every other column of numbers counts."""

    name: str
    key: str

    def recognises(self, source: Source) -> bool:
        return len(source.tables) == 2 and all(self.key in table.columns for table in source.tables)

    def read(self, source: Source, decimal: str = ".") -> tuple[pl.DataFrame, list[str]]:
        shares, notes = self._numbers(source.tables[0], source.name, "share", decimal)
        domains = {_short(c) for c in shares.columns if c not in FACTS}
        losses, said = self._numbers(source.tables[1], source.name, "loss", decimal, domains)
        shares, more = _only_shares(shares, source.name)
        notes += [*said, *more]
        columns = [[c for c in table.columns if c not in ("run", *FACTS)] for table in (shares, losses)]
        if not all(columns):
            raise InputError(f"{source.name}: no numeric share or loss column", "Name the share table first")
        left, right = _renamed(shares, "share.", source.name), _renamed(losses, "loss.", source.name)
        facts = [c for c in FACTS if c in left.columns and c in right.columns]
        both = right.join(left.drop(facts), on="run", how="left", maintain_order="left")
        mixed = pl.col("run").is_in(left["run"].to_list())
        base = (
            Cells(both, source.name, decimal).numbers("tokens", "count") == 0
            if "tokens" in both.columns
            else None
        )
        used = both.filter(mixed if base is None else mixed | base)
        if not both.filter(mixed).height:
            raise InputError(
                f"{source.name}: the two tables have no run in common",
                f"Make their {self.key!r} columns agree",
            )
        notes += _alone(source.name, "losses", set(left["run"]) - set(right["run"]))
        notes += _alone(source.name, "shares", set(right["run"]) - set(used["run"]))
        return long(used), notes

    def _numbers(
        self, table: pl.DataFrame, source: str, kind: str, decimal: str, domains: set[str] | None = None
    ) -> tuple[pl.DataFrame, list[str]]:
        """The columns of numbers as run and numbers, with the facts of runs; a note names the others.

        Raises InputError, naming the cell, for a column of numbers with a word in it.
        """
        key = pl.col(self.key).cast(pl.String).str.strip_chars()
        # A table that was written with gaps has its numbers of runs as 1.0.
        table = table.with_columns(key.str.replace(r"^(\d+)\.0+$", "$1").alias("run"))
        table, notes = named(table, source, decimal)
        cells = Cells(table, source, decimal)
        out, unused = [table["run"]], []
        for column in table.columns:
            if column == "run" or column == self.key:
                continue
            if column in FACTS:
                out.append(table[column])
                continue
            mine = _short(column)
            if (ROW_NUMBERS.fullmatch(column) or (domains is not None and NO_LOSS.fullmatch(column))) and (
                domains is None or mine not in domains
            ):
                unused.append(column)
            elif cells.says_number(column).any():
                out.append(cells.numbers(column, "share" if kind == "share" else "measure").alias(column))
            else:
                unused.append(column)
        if unused:
            shown = ", ".join(map(repr, unused[:8])) + (
                f" and {len(unused) - 8} more" if len(unused) > 8 else ""
            )
            notes.append(f"{source}: columns of the {kind} table not used: {shown}")
        return pl.DataFrame(out), notes


def _only_shares(table: pl.DataFrame, source: str) -> tuple[pl.DataFrame, list[str]]:
    """Without the columns that can be no share, where rows sum to 1 only without them; a note names them."""
    columns = [c for c in table.columns if c not in ("run", *FACTS)]
    if not columns:
        return table, []
    shares_nd = table.select(pl.col(columns).fill_null(0.0)).to_numpy().astype(float)
    if (np.abs(shares_nd.sum(1) - 1) <= SUM_TOLERANCE).all():
        return table, []
    outside_d = np.asarray(((shares_nd < 0) | (shares_nd > 1 + SUM_TOLERANCE)).any(0))
    rest_n = shares_nd[:, ~outside_d].sum(1)
    if not outside_d.any() or not (np.abs(rest_n - 1) <= SUM_TOLERANCE).all():
        return table, []
    others = [column for column, outside in zip(columns, outside_d, strict=True) if outside]
    return table.drop(others), [
        f"{source}: columns that can be no share left out: {', '.join(map(repr, others[:8]))}"
    ]


def _alone(source: str, lacks: str, runs: set[str]) -> list[str]:
    if not runs:
        return []
    names = sorted(runs)
    return [f"{source}: left out, without {lacks}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"]


def _renamed(table: pl.DataFrame, prefix: str, source: str) -> pl.DataFrame:
    names = {c: prefix + _short(c) for c in table.columns if c not in ("run", *FACTS)}
    for name in names.values():
        same = [c for c, other in names.items() if other == name]
        if len(same) > 1:
            raise InputError(
                f"{source}: columns {same[0]!r} and {same[1]!r} are both {name}", "Keep one of them"
            )
    return table.rename(names)


def _short(column: str) -> str:
    """RegMix's `train_the_pile_arxiv` and `metric/the_pile_arxiv_val_loss` are both `arxiv`."""
    name = re.sub(r"^(train_|metric/)(the_pile_)?", "", column)
    return re.sub(r"_val_loss$", "", name)
