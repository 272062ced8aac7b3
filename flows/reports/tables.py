"""Results on stdout: one JSON object, or text and tables for people."""

from __future__ import annotations

import io
import json
import math
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.settings.terminal import takes_unicode


def console() -> Console:
    """stdout; wide enough for every table where it is a file or a pipe."""
    terminal = Console(highlight=False, soft_wrap=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=160)


def print_file(text: str) -> None:
    """A file on stdout: UTF-8 whatever the terminal's encoding, since that is what its readers expect."""
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:  # a notebook, or a text in memory
        sys.stdout.write(text)
        return
    sys.stdout.flush()
    binary.write(text.encode())
    binary.flush()


def print_json(value: dict[str, Any]) -> None:
    """Exactly one JSON object; numbers that JSON cannot hold are null."""
    # Escapes are the same text to every reader of JSON.
    print(json.dumps(_plain(value), ensure_ascii=not takes_unicode(), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> Group:
    """A table under its title, whose first `left` columns are text and whose others are numbers."""
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="")
    for place, column in enumerate(columns):
        grid.add_column(column, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return Group(Text(title, style="bold"), Padding(grid, (0, 0, 0, 2), expand=False), Text())


def indented(line: str, console: Console, first: str = "  ", style: str = "") -> Text:
    """A line of prose after `first`, wrapped two columns in."""
    text = textwrap.fill(
        line,
        max(console.width, 24),
        initial_indent=first,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return Text(text, style=style)


def plain(*parts: RenderableType) -> str:
    """The parts one under the other as text without colours, in lines as long as they need."""
    out = Console(file=io.StringIO(), width=500, color_system=None, highlight=False)
    for part in parts:
        out.print(part, markup=False)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.rstrip().split("\n"))


def size(number: float) -> str:
    """Bytes as `1.5 MB`."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number:.0f} B"
