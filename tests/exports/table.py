"""What the loaders gave, collected for the table at the end of `make test-exports`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    target: str
    loader: str
    unit: str
    items: int
    asked: dict[str, float]
    realised: dict[str, float]
    within: bool


ROWS: list[Row] = []


def lines() -> list[str]:
    """The table, a line per target and unit."""
    heads = ("target", "unit", "items", "asked", "realised", "within", "verified with")
    rows = [
        (
            row.target,
            row.unit,
            str(row.items),
            _shares(row.asked),
            _shares(row.realised),
            "yes" if row.within else "NO",
            row.loader,
        )
        for row in ROWS
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]


def _shares(shares: dict[str, float]) -> str:
    return " / ".join(f"{share:.4f}" for share in shares.values())
