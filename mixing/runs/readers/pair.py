"""Two tables that name the same runs, one with shares and one with losses: what RegMix and olmix publish."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from mixing.errors import InputError
from mixing.runs.readers.layout import Source
from mixing.runs.readers.wide import long


@dataclass(frozen=True)
class Pair:
    """A table of shares, then one of losses, joined by the column `key`; every other column of numbers counts."""

    name: str
    key: str

    def recognises(self, source: Source) -> bool:
        return len(source.tables) == 2 and all(self.key in table.columns for table in source.tables)

    def read(self, source: Source) -> tuple[pl.DataFrame, list[str]]:
        shares, losses = (_numbers(table) for table in source.tables)
        if not shares or not losses:
            raise InputError(f"{source.name}: no numeric share or loss column", "Name the share table first")
        left = self._renamed(source.tables[0], shares, "share.")
        both = left.join(self._renamed(source.tables[1], losses, "loss."), on="run", how="inner")
        if not both.height:
            raise InputError(
                f"{source.name}: the two tables have no run in common",
                f"Make their {self.key!r} columns agree",
            )
        return long(both), []

    def _renamed(self, table: pl.DataFrame, columns: list[str], prefix: str) -> pl.DataFrame:
        return table.select(
            pl.col(self.key).cast(pl.String).alias("run"),
            *(pl.col(c).alias(prefix + _short(c)) for c in columns),
        )


def _numbers(table: pl.DataFrame) -> list[str]:
    """Columns of numbers, without keys and the nameless row numbers that a data frame's index leaves."""
    keys = re.compile(r"run|index|name|column\d+|")
    return [c for c in table.columns if table[c].dtype.is_numeric() and not keys.fullmatch(c)]


def _short(column: str) -> str:
    """RegMix's `train_the_pile_arxiv` and `metric/the_pile_arxiv_val_loss` are both `arxiv`."""
    name = re.sub(r"^(train_|metric/)(the_pile_)?", "", column)
    return re.sub(r"_val_loss$", "", name)
