"""The table of keys in docs/study.md, written from the models' descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from flows.study.keys import Key, keys_of
from flows.study.models import Study

HEADER = "| key | default | meaning |\n|---|---|---|\n"
MARKED = re.compile(r"(<!-- keys -->\n).*?(<!-- end of keys -->)", re.DOTALL)


def page_with_keys(page: str) -> str:
    """The page with what stands between its two marks written anew. Raises ValueError where they are missing."""
    if not MARKED.search(page):
        raise ValueError("the page has no marks <!-- keys --> and <!-- end of keys -->")
    return MARKED.sub(lambda match: match[1] + keys_table() + match[2], page)


def keys_table() -> str:
    """All keys of a study file as one Markdown table."""
    rows = (f"| {key} | {default} | {_cell(meaning)} |\n" for key, default, meaning in _rows(Study, ""))
    return HEADER + "".join(rows)


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for key in keys_of(model):
        if key.below is None:
            yield f"`{prefix}{key.name}`", _default(key), key.description
            continue
        name = f"{prefix}{key.name}"
        if not prefix:
            yield f"**`{name}{'.<name>' if key.named else ''}`**", _presence(key), key.description
            yield from _rows(key.below, ".")
        else:
            # One key deep is deep enough for a row of its own: .train.vocab_size.
            yield from _rows(key.below, f"{name}.")


def _presence(key: Key) -> str:
    if key.required:
        return "required"
    return "left out" if key.default is None else ""


def _default(key: Key) -> str:
    if key.required:
        return "required"
    return "" if key.default in (None, ()) else _value(key.default)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return (
        f"`{value}`" if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
