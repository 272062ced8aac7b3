"""Amounts as people write and read them: `20e9`, `20B`, `1,600,000`, `90%`, `pythia-70m`."""

from __future__ import annotations

import re

_UNITS = {
    "": 1.0,
    **dict.fromkeys(("k", "thousand"), 1e3),
    **dict.fromkeys(("m", "mn", "million"), 1e6),
    **dict.fromkeys(("b", "bn", "g", "billion"), 1e9),
    **dict.fromkeys(("t", "tn", "trillion"), 1e12),
}
_UNIT = "|".join(sorted(filter(None, _UNITS), key=len, reverse=True))
_SPACES = " \u00a0\u2009\u202f"
"""Blanks that stand between groups of digits; a table's own are as good as a typesetter's."""
TOKENS_PATTERN = r"^[0-9][0-9_, ]*(\.[0-9]+)?([eE]\+?[0-9]+)?\s*[kKmMbBtT]?$"
"""What a JSON Schema says of an amount that is written as text."""


def _number(point: str, group: str) -> re.Pattern[str]:
    """Digits, perhaps in groups of three that one sign divides, decimals, an exponent, a unit."""
    grouped = rf"[1-9][0-9]{{0,2}}(?:(?P<group>[{group}_'’{_SPACES}])[0-9]{{3}})(?:(?P=group)[0-9]{{3}})*"
    digits = rf"(?:{grouped}|[0-9][0-9_]*)(?:{point}[0-9]*)?|{point}[0-9]+"
    return re.compile(
        rf"(?P<digits>[+-]?(?:{digits})(?:[eE][+-]?[0-9]+)?)[{_SPACES}]*(?P<unit>{_UNIT}|%)?"
        r"(?:\s*(?:tokens?|param(?:eter)?s?))?",
        re.IGNORECASE,
    )


_POINT, _COMMA = _number(r"\.", ","), _number(",", r"\.")
WHOLE = 1e-9
"""By which part of itself a count may be off a whole number."""
_SIZE_IN_NAME = re.compile(rf"(?<![A-Za-z0-9.])([0-9]+(?:\.[0-9]+)?)({_UNIT})(?![A-Za-z0-9])", re.IGNORECASE)


def parse_number(text: str, decimal: str = ".") -> float | None:
    """The number in `0.25`, `-1e-3`, `1,600,000`, `1_600_000`, `1 600 000`, `1.6B` or `90%`; None where it is none.

    `decimal` is the sign before decimals: "," for `0,25` and `1.600.000`.
    """
    match = (_COMMA if decimal == "," else _POINT).fullmatch(text.strip().replace("\u2212", "-"))
    if match is None:
        return None
    digits = match["digits"]
    if decimal == ",":
        digits = digits.replace(".", "").replace(",", ".")
    number = float(re.sub(rf"[,_'’{_SPACES}]", "", digits))
    unit = (match["unit"] or "").casefold()
    return number / 100 if unit == "%" else number * _UNITS[unit]


def parse_tokens(text: str, decimal: str = ".") -> float | None:
    """The amount in `500000`, `500_000`, `1,600,000`, `20e9`, `0.5M` or `20B`; None where the text is no amount, or may
    be one of two (`100.000`)."""
    text = text.strip()
    if decimal == "." and reads_two_ways(text) and float(text):
        return None
    if not text[:1].isdigit() or text.endswith("%") or re.search(r"[eE]-", text):
        return None
    return parse_number(text, decimal)


def parse_size(text: str, decimal: str = ".") -> float | None:
    """The parameters of a model size as `parse_tokens` reads it, or of a model's name: `pythia-70m`; else None."""
    if (number := parse_tokens(text, decimal)) is not None:
        return number
    named = _SIZE_IN_NAME.findall(text)
    return float(named[0][0]) * _UNITS[named[0][1].casefold()] if len(named) == 1 else None


def is_whole(number: float) -> bool:
    """Whether a count is one, up to the last digits that arithmetic leaves in `1.6B`."""
    return abs(number - round(number)) <= WHOLE * max(abs(number), 1.0)


def reads_two_ways(text: str) -> bool:
    """Whether a count such as `100.000` may be a hundred, or a hundred thousand."""
    return re.fullmatch(r"[0-9]{1,3}\.[0-9]{3}", text.strip()) is not None


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
