"""Readable JSON and YAML: one line per domain, unicode as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from mixing.errors import InputError
from mixing.strict_yaml import read_yaml


def json_text(values: Mapping[str, Any]) -> str:
    """A line per key: indented JSON would put every number on its own."""
    lines = [f"  {json.dumps(key, ensure_ascii=False)}: {_inline(value)}" for key, value in values.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _inline(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def json_rows(values: Mapping[str, Any]) -> str:
    """Like `json_text`, with a line for every element of a list of objects, and for every value of an object."""
    blocks = []
    for key, value in values.items():
        head = f"  {json.dumps(key, ensure_ascii=False)}: "
        if isinstance(value, list) and value and isinstance(value[0], dict):
            blocks.append(head + "[\n" + ",\n".join(f"    {_inline(row)}" for row in value) + "\n  ]")
        else:
            blocks.append(head + _inline(value))
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def yaml_text(values: Mapping[str, Any], comments: tuple[str, ...] = ()) -> str:
    """YAML in the given order, a line per key, innermost lists and mappings on one line, after comment lines."""
    blocks = [f"# {line}\n" for line in comments]
    for key, value in values.items():
        # An endless width: a folded line would split long paths over several.
        blocks.append(
            yaml.safe_dump(
                {key: value},
                sort_keys=False,
                allow_unicode=True,
                width=1_000_000,
                default_flow_style=None if isinstance(value, dict | list) else False,
            )
        )
    return "".join(blocks)


def parse_json(text: str) -> Any:
    """The object in a trainer's JSON file. Raises InputError for anything else."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"not JSON: {error}", "Give the trainer's own file") from None
    return _object(value)


def parse_yaml(text: str) -> Any:
    """The mapping in a trainer's YAML file. Raises InputError for anything else."""
    return _object(read_yaml(text.encode(), "the file"))


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError("not an object with named values", "Give the trainer's own file")
    return value


def take(values: Any, key: str, kind: type | tuple[type, ...]) -> Any:
    """`values[key]`, which must be a `kind`. Raises InputError naming the key."""
    if not isinstance(values, dict) or key not in values:
        raise InputError(f"{key}: is missing", "Give the trainer's own file")
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, kind):
        raise InputError(
            f"{key}: {str(value)[:40]!r} is not what belongs there", "Give the trainer's own file"
        )
    return value


def count(values: Any, key: str, least: int = 1) -> int | None:
    """`values[key]`, a whole number of at least `least`; None where it is not given. InputError names the key."""
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 10**18:
        raise InputError(f"{key}: {str(value)[:40]!r} is not a whole number", "Give the trainer's own file")
    return value


def weight(value: Any, where: str) -> float:
    """A weight of 0 or more, as a number or as text. Raises InputError naming `where`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not 0 <= number < float("inf"):
        raise InputError(f"{where}: {str(value)[:40]!r} is not a weight", "Weights are numbers of 0 or more")
    return number
