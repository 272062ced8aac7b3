"""Amounts of tokens as people write and read them: `20e9`, `20B`, `1,234`."""

from __future__ import annotations

import re

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_AMOUNT = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE]\+?[0-9]+)?)\s*([kKmMbBtT]?)")


def parse_tokens(text: str) -> float | None:
    """The number of tokens in `500000`, `500_000`, `20e9`, `0.5M` or `20B`; None where the text is no amount."""
    match = _AMOUNT.fullmatch(text.strip())
    return float(match[1].replace("_", "")) * _UNITS[match[2].lower()] if match else None


def format_amount(number: float) -> str:
    """An amount for tables: `1,234`, then three digits with a unit: `1.5M`, `20B`."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if number >= size:
            return f"{number / size:.3g}{unit}" if number < 1e3 * size else f"{number / size:,.0f}{unit}"
    return f"{number:,.0f}"


def abbreviate_amount(number: float) -> str:
    """An amount for axes and headlines: 614400 as `0.61M`; two digits, or all before the point."""
    for scale, letter, least in ((1e12, "T", 1e12), (1e9, "B", 1e9), (1e6, "M", 1e5), (1e3, "k", 1e3)):
        if number >= least:
            scaled = number / scale
            return f"{scaled:.0f}{letter}" if scaled >= 10 else f"{scaled:.2g}{letter}"
    return f"{number:.0f}"
