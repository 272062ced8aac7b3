"""The field of a record that holds its text: by name, or by the path `a.b` into records within records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MISSING = object()
"""What a field that is not there holds."""


def field_of(record: Mapping[str, Any], field: str) -> Any:
    """What a record holds in a field; `a.b` is field b of the record in field a, unless a field is called so."""
    if field in record:
        return record[field]
    value: Any = record
    for name in field.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return MISSING
        value = value[name]
    return value


def text_fields(record: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The fields of a record, at any depth, that hold text."""
    for name, value in record.items():
        if isinstance(value, str):
            yield f"{before}{name}"
        elif isinstance(value, Mapping):
            yield from text_fields(value, f"{before}{name}.")


def fields_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of a record for a message: those with text first, nested ones as `a.b`."""
    texts = list(text_fields(record))
    return tuple(dict.fromkeys((*texts, *(name for name, v in record.items() if not isinstance(v, Mapping)))))


def which_field(field: str, fields: Iterable[str]) -> str:
    """What to do where the field is missing or holds no text, with the fields that may be meant instead."""
    others = [str(name) for name in fields if name != field]
    if not others:
        return f"No field here holds text: write it as a string into {field!r}, or take the file out of paths"
    some = ", ".join(others[:12]) + (", ..." if len(others) > 12 else "")
    return f"Name the field that holds the text with text_field (here: {some})"
