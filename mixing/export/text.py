"""Readable JSON and YAML: one line per domain, unicode as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from mixing.errors import InputError
from mixing.strict_yaml import read_yaml

REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.]+)\}")
MOST_REFERENCES = 5
"""How far one reference may lead to the next."""


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


def parse_config(text: str) -> Any:
    """The mapping in a trainer's configuration, JSON or YAML, with OmegaConf's `${a.b}` filled in where it can be."""
    data = parse_json(text) if text.lstrip().startswith("{") and _is_json(text) else parse_yaml(text)
    return _filled_in(data, data)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _filled_in(value: Any, whole: dict[str, Any], depth: int = 0) -> Any:
    if isinstance(value, dict):
        return {key: _filled_in(inner, whole, depth) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled_in(inner, whole, depth) for inner in value]
    if not isinstance(value, str) or "${" not in value or depth > MOST_REFERENCES:
        return value
    only = REFERENCE.fullmatch(value)
    if only is not None:
        found = _at(whole, only[1])
        return value if found is None else _filled_in(found, whole, depth + 1)
    return REFERENCE.sub(lambda match: _inner(whole, match, depth), value)


def _inner(whole: dict[str, Any], match: re.Match[str], depth: int) -> str:
    found = _at(whole, match[1])
    return str(_filled_in(found, whole, depth + 1)) if isinstance(found, str | int | float) else match[0]


def _at(values: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(values, dict) or key not in values:
            return None
        values = values[key]
    return values if isinstance(values, str | int | float) else None


def with_underscores(values: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with `_` for each `-` in its keys: trainers that take their keys as options read both.

    Raises InputError where one key stands in both forms.
    """
    changed: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name in changed:
            raise InputError(f"{key}: is given twice, with - and with _", "Keep one of them")
        changed[name] = value
    return changed


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
