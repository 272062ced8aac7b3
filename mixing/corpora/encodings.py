"""Bytes to text in the encodings that a corpus is said to have, never in one that is guessed."""

from __future__ import annotations

import codecs
import io
from typing import IO

from mixing.errors import InputError

UTF8 = "utf-8"
UNITS = {"utf-16": 2, "utf-16-le": 2, "utf-16-be": 2, "utf-32": 4, "utf-32-le": 4, "utf-32-be": 4}
"""Encodings whose line break is not the byte 0A, with their bytes per unit."""
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, the longer first."""


def encoding_name(name: str) -> str:
    """Python's name of an encoding of text: `latin-1` is iso8859-1.

    Raises InputError for a name that is none.
    """
    try:
        b"a\0\0\0".decode(name)
    except LookupError:
        raise InputError(
            f"{name!r} is no encoding of text that is known",
            "Name one such as utf-8, latin-1, cp1252, utf-16, shift_jis or gb18030",
        ) from None
    except (UnicodeError, ValueError):
        pass
    return codecs.lookup(name).name


def is_wide(encoding: str) -> bool:
    """Whether the lines of an encoding are no lines of bytes."""
    return codecs.lookup(encoding).name in UNITS


def mark_of(head: bytes) -> str | None:
    """The encoding that a byte order mark names, UTF-8 aside; None where there is none."""
    return next((encoding for mark, encoding in MARKS if head.startswith(mark)), None)


def decoded(raw: bytes, encodings: tuple[str, ...], *, cut: bool = False) -> str | None:
    """`raw` in the first of the encodings that it is valid in, without a byte order mark; None: in none of them.

    With `cut`, a character may be unfinished at the end.
    """
    for encoding in encodings:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(raw) if cut else raw.decode(encoding)
        except UnicodeError:
            continue
        return text.removeprefix("\ufeff")
    return None


def text_stream(stream: IO[bytes], head: bytes, encodings: tuple[str, ...]) -> io.TextIOWrapper:
    """A stream, which begins with `head`, as text in the first of its encodings; its invalid bytes become lone
    surrogates, for `repaired`. Of several that are wide, the first in which `head` is valid."""
    encoding = encodings[0]
    if any(map(is_wide, encodings)):
        encoding = next((e for e in encodings if decoded(head, (e,), cut=True) is not None), encoding)
    if codecs.lookup(encoding).name == UTF8:
        encoding = "utf-8-sig"
    return io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")


def repaired(text: str, encodings: tuple[str, ...]) -> str | None:
    """A text of `text_stream` that has invalid bytes, in another of the encodings; None where it is in none."""
    if any(map(is_wide, encodings)):
        return None
    try:
        raw = text.encode(encodings[0], "surrogateescape")
    except UnicodeEncodeError:
        return None  # surrogates of the text's own, as "\ud800" in JSON
    return decoded(raw, encodings)
