"""Cells of a runs table as numbers: what people write for counts, sizes, shares and losses, and for "not known"."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from mixing.amounts import WHOLE, parse_number, parse_size, parse_tokens, reads_two_ways
from mixing.errors import InputError

Kind = Literal["count", "size", "share", "measure"]
"""Whole counts, model sizes (which may be names), shares, and other numbers: losses, standard errors, seeds."""

_WORDS = """
    na n/a n.a. n.a #n/a #na #n/a! <na> <nan> none null nil nul - -- --- – — . ? / missing unknown undefined empty
    n/d nd nat tbd (null) (none) \\n #value! #ref! #name? #null!
"""
NOTHING = frozenset([*_WORDS.split(), "", "not available", "no data", "#n/a n/a"])
"""Words for a cell without a value, case aside."""
NOT_FINITE = frozenset(("nan", "-nan", "+nan", "#num!", "#div/0!", "1.#qnan", "-1.#ind", "1.#ind"))
"""Words for a loss that was computed and is no number: a run that diverged."""
MOST_NAMED = 3
_PLAIN = re.compile(r"[-+\u2212]?[0-9.,]+(?:[eE][-+]?[0-9]+)?\s*%?")
_POINTS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+")
_COMMA = re.compile(r"[-+\u2212]?[0-9]+,[0-9]+%?")


@dataclass(frozen=True)
class Cells:
    """The columns of a table in `source`; `decimal` is the sign before decimals."""

    frame: pl.DataFrame
    source: str
    decimal: str = "."

    def numbers(self, column: str, kind: Kind) -> pl.Series:
        """A column as floats, null where a cell says nothing. Raises InputError naming the column and a run."""
        cells = self.frame[column]
        if cells.dtype.is_numeric() or cells.dtype == pl.Null:
            values = cells.cast(pl.Float64)
        else:
            values = self._of_text(cells.cast(pl.String).str.strip_chars(), kind)
        if kind in ("count", "size"):
            self._refuse_parts(values, column)
        return values

    def whole(self, column: str, kind: Kind = "count") -> pl.Series:
        """Counts as integers; the same, and for a cell that is not finite."""
        values = self.numbers(column, kind)
        wrong = values.is_infinite() | values.is_nan() if column == "tokens" else values.is_infinite()
        if wrong.any():
            at = int(wrong.fill_null(False).arg_true()[0])
            raise InputError(
                f"{self.source}: column {column!r}: {self.place(at)} has {values[at]}, not a number",
                "Correct it",
            )
        if kind == "measure":
            self._refuse_parts(values, column)
        return values.fill_nan(None).round().cast(pl.Int64)

    def says_number(self, column: str) -> pl.Series:
        """Which cells are numbers, as shares or other measures are written."""
        cells = self.frame[column]
        if cells.dtype.is_numeric():
            return cells.is_not_null()
        return self._parsed(cells.cast(pl.String).str.strip_chars(), "share").is_not_null()

    def says_nothing(self, column: str) -> pl.Series:
        """Which cells are empty, or have a word for that."""
        cells = self.frame[column]
        if cells.dtype.is_numeric():
            return cells.is_null()
        return _nothing(cells.cast(pl.String).str.strip_chars())

    def place(self, row: int) -> str:
        """A row for people: its run, or where it names none, its number."""
        for name in ("run", "index", "mix_id"):
            if name in self.frame.columns and (run := self.frame[name][row]) is not None:
                return f"run {str(run)!r}"
        return f"row {row + 1}"

    def _of_text(self, cells: pl.Series, kind: Kind) -> pl.Series:
        values = self._parsed(cells, kind)
        wrong = (values.is_null() & ~_nothing(cells)).arg_true().to_list()
        if wrong:
            shown = ", ".join(f"{cells[at]!r} in {self.place(at)}" for at in wrong[:MOST_NAMED])
            more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
            raise InputError(
                f"{self.source}: column {cells.name!r} holds what is not a number: {shown}{more}",
                self._hint([str(cells[at]) for at in wrong], kind),
            )
        return values

    def _hint(self, texts: list[str], kind: Kind) -> str:
        if self.decimal == "." and any(_COMMA.fullmatch(text) for text in texts):
            return "Write decimal points; or if commas are decimal here, say decimal=','"
        if (
            kind in ("count", "size")
            and self.decimal == "."
            and any(_POINTS.fullmatch(text) for text in texts)
        ):
            return "Points may divide thousands here: write 100000, or if they do, say decimal=','"
        if kind == "measure" and any(text.endswith("%") for text in texts):
            return "Losses have no percent; of accuracies write the number, and say metric=accuracy"
        if kind in ("count", "size"):
            return "Write 1600000000, 1,600,000,000 or 1.6B; leave a cell empty that is not known"
        return "Correct it, or leave the cell empty if it is not known"

    def _parsed(self, cells: pl.Series, kind: Kind) -> pl.Series:
        """Null for a cell without a number in it."""
        parse = _parser(kind, self.decimal)
        words = cells.unique().drop_nulls().to_list()
        numbers = {word: parse(word) for word in words}
        return cells.replace_strict(
            list(numbers), list(numbers.values()), return_dtype=pl.Float64, default=None
        ).rename(cells.name)

    def _refuse_parts(self, values: pl.Series, column: str) -> None:
        """Raises InputError for a count that is not whole."""
        off = (values - values.round()).abs() > WHOLE * pl.select(
            pl.max_horizontal(values.abs(), 1.0)
        ).to_series()
        for at in (off & values.is_finite()).fill_null(False).arg_true()[:1]:
            unit = (
                "A seed is a whole number"
                if column == "seed"
                else f"Write it whole, or its unit: {values[at]:g}B"
            )
            raise InputError(
                f"{self.source}: column {column!r}: {self.place(at)} has {values[at]:g}, which is not whole",
                unit,
            )


def _nothing(cells: pl.Series) -> pl.Series:
    return cells.is_null() | cells.str.to_lowercase().is_in(NOTHING | NOT_FINITE)


def _parser(kind: Kind, decimal: str) -> Callable[[str], float | None]:
    def amount(text: str) -> float | None:
        read = parse_size if kind == "size" else parse_tokens
        if decimal == "." and reads_two_ways(text) and float(text):
            return None
        number = read(text, decimal)
        # A count below 0 is a number, and is refused as one.
        return _float(text) if number is None and decimal == "." else number

    def plain(text: str) -> float | None:
        if kind == "measure" and text.endswith("%"):
            return None
        if text.casefold() in NOT_FINITE:
            return float("nan") if kind == "measure" else None
        if decimal == ".":
            if (number := _float(text)) is not None:
                return number
            # In a share or a loss a comma is no sign of thousands.
            return parse_number(text) if _PLAIN.fullmatch(text) and "," not in text else None
        return parse_number(text, decimal) if _PLAIN.fullmatch(text) else _infinite(text)

    return amount if kind in ("count", "size") else plain


def _float(text: str) -> float | None:
    try:
        number = float(text) if "_" not in text else None
    except ValueError:
        return None
    return number if number is None or number == number else None


def _infinite(text: str) -> float | None:
    number = _float(text)
    return number if number is not None and abs(number) == float("inf") else None
