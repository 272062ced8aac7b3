"""Output on a terminal or pipe whose encoding lacks a character: plain characters instead of an error."""

from __future__ import annotations

import codecs
import io
import os
import sys

PLAIN = {
    "±": "+-",
    "−": "-",
    "–": "-",
    "—": "-",
    "─": "-",
    "━": "-",
    "│": "|",
    "┃": "|",
    "•": "*",
    "✓": "+",
    "…": "...",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "×": "x",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "█": "#",
    "▁": "_",
    "\u00a0": " ",
    "\u202f": " ",
}
"""Our signs in ASCII; every other character is written as Python escapes it."""

ERRORS = "mixlaw-plain"


def print_plainly_where_needed() -> None:
    """Let stdout and stderr write any text, whatever their encoding. Call it before anything is printed."""
    codecs.register_error(ERRORS, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def read_arguments_as_unicode() -> None:
    """Start again in Python's UTF-8 mode where names of files and arguments could only be ASCII (a bare C locale)."""
    if codecs.lookup(sys.getfilesystemencoding()).name == "ascii" and sys.executable:
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def takes_unicode() -> bool:
    """Whether stdout can carry every character."""
    return codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name.startswith("utf")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(PLAIN.get(character) or _escaped(character) for character in characters), error.end


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")
