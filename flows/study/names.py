"""Names of domains and validation sets: of letters and digits in any script."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 63
JOINERS = "\u200c\u200d"
"""Without a width; Persian and Indic words need them."""


def normal_name(name: str) -> str:
    """The name in Unicode's composed form: `Ä` typed and `Ä` from a Mac's file system are one letter."""
    return unicodedata.normalize("NFC", name)


def is_name(name: str) -> bool:
    """Whether a name is of letters and digits in any script, `-` and `_`, and begins with a letter or digit."""
    return (
        0 < len(name) <= LONGEST
        and _is_letter(name[0])
        and all(_is_letter(character) or character in "-_" for character in name)
    )


def name_of(folder: str) -> str:
    """A name for a folder: other characters become `-`. Empty where nothing is left."""
    name = "".join(c if _is_letter(c) or c in "-_" else "-" for c in normal_name(folder))
    return re.sub(r"-{2,}", "-", name).strip("-_" + JOINERS)[:LONGEST]


def _is_letter(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M" or character in JOINERS
