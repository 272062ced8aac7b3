"""A bucket of a corpus: the records whose field has one value, or a number in one range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mixing.corpora.fields import MISSING


@dataclass(frozen=True)
class Bucket:
    """Bucket `number` (0 is the first) of those that `values` or `edges` cut a corpus into, by a field of its records.

    With edges e_1 < e_2 < ..., bucket i holds e_i <= value < e_(i+1); the first and the last are open.
    """

    field: str
    number: int
    values: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    def number_of(self, value: Any) -> int | None:
        """The bucket that a value belongs to; None where it is in none."""
        if value is MISSING or value is None:
            return None
        if self.values:
            return self.values.index(str(value)) if str(value) in self.values else None
        try:
            number = float(value)
        except (TypeError, ValueError):
            return None
        return sum(number >= edge for edge in self.edges) if number == number else None

    def chooser(self, on_other: Callable[[bool], None]) -> Callable[[Callable[[str], Any]], bool]:
        """Whether a record, given what looks up its fields, is in this bucket.

        `on_other` is told of each that is not, and whether it is in another one.
        """

        def keep(field_of: Callable[[str], Any]) -> bool:
            number = self.number_of(field_of(self.field))
            if number != self.number:
                on_other(number is not None)
            return number == self.number

        return keep
