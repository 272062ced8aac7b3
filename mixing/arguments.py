"""Arguments of the Python door, checked: a wrong type is one clear sentence, as a wrong value is."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping

from mixing.amounts import is_whole, parse_number, parse_size, parse_tokens
from mixing.errors import InputError


def number(value: object, name: str) -> float:
    """`value` as a number. Raises InputError naming the argument `name` where it is none."""
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise InputError(f"{name} {_shown(value)}: not a number", "Give a number, e.g. 0.02")
    return float(value)


def amount(value: object, name: str) -> int:
    """Tokens or parameters, 1 or more: a number, or text such as "20B". Raises InputError naming the argument."""
    read = parse_size if name == "params" else parse_tokens
    parsed = read(value) if isinstance(value, str) else number(value, name)
    if parsed is None or not math.isfinite(parsed) or parsed < 1:
        raise InputError(
            f"{name} {_shown(value)}: not an amount of 1 or more", 'Give a number, 20_000_000_000 or "20B"'
        )
    if not is_whole(parsed):
        raise InputError(f"{name} {_shown(value)}: not whole", 'Give all of it, or its unit: "1.6B"')
    return round(parsed)


def whole(value: object, name: str) -> int:
    """A whole number of 0 or more. Raises InputError naming the argument."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 0:
        raise InputError(f"{name} {_shown(value)}: not a whole number of 0 or more", "Give one, e.g. 0")
    return int(value)


def numbers_by_name(values: object, name: str) -> dict[str, float]:
    """`{name: number}`; None is none. A number may be text such as "20B" or "90%".

    Raises InputError naming the argument.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InputError(f"{name} {_shown(values)}: not a mapping", f'Give {name}={{"NAME": NUMBER, ...}}')
    numbers = {}
    for key, value in values.items():
        parsed = parse_number(value) if isinstance(value, str) else None
        numbers[str(key)] = number(value, f"{name} {key}:") if parsed is None else parsed
    return numbers


def law_hint(name: str, laws: Iterable[str]) -> str:
    """The hint on a law that there is none of: those named much like it."""
    alike = difflib.get_close_matches(name, laws, n=3, cutoff=0.5)
    meant = f"Did you mean {' or '.join(alike)}? " if alike else ""
    return f"{meant}Give auto, or the name of a law in docs/laws.md"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
