"""Reading and writing the spec's YAML: safe, bounded, and with errors that name the field."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterable
from importlib import resources
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError as SchemaError
from jsonschema.exceptions import best_match
from pydantic import ValidationError

from mixing.errors import InputError

HEADER = """\
# Mix spec written by mixlaw; shares are of training tokens.
# `mixlaw export THIS_FILE --to TARGET` writes a trainer's own file.
"""


def write_yaml(data: dict[str, Any]) -> str:
    """YAML in the order of `data`, unicode as it is, preceded by a line that says what the file is."""
    return HEADER + yaml.safe_dump(
        data, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=False
    )


@functools.cache
def _validator() -> Draft202012Validator:
    text = resources.files("mixing.spec").joinpath("mixspec.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def check_schema(data: Any, where: str) -> None:
    """Hold `data` against the shipped JSON Schema. Raises InputError naming file and field."""
    error = best_match(_validator().iter_errors(data))
    if error is not None:
        raise InputError(f"{where}: {_describe(error)}", "See mixspec.schema.json in the package `mixing`")


def _describe(error: SchemaError) -> str:
    path = [str(step) for step in error.absolute_path]
    schema: Any = error.schema
    expected: Any = error.validator_value
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(schema.get("properties", {}))
        field = next(name for name in error.instance if name not in known)
        near = difflib.get_close_matches(field, known, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"{dotted([*path, field[:80]])}: is not a field; {advice}"
    if error.validator == "required" and isinstance(error.instance, dict):
        missing = next(name for name in expected if name not in error.instance)
        return f"{dotted([*path, missing])}: is missing"
    got = repr(error.instance)
    got = got if len(got) <= 60 else f"{got[:57]}..."
    expectation = {
        "type": "is not of type {}",
        "minimum": "is below {}",
        "maximum": "is above {}",
        "exclusiveMinimum": "is not above {}",
        "exclusiveMaximum": "is not below {}",
        "const": "is not {}",
        "enum": "is not one of {}",
        "minItems": "has fewer items than {}",
        "maxItems": "has more items than {}",
        "minProperties": "has fewer entries than {}",
    }.get(str(error.validator))
    if expectation is None:
        return f"{dotted(path)}: {got} does not fit the schema ({error.validator})"
    return f"{dotted(path)}: {got} {expectation.format(expected)}"


def dotted(path: Iterable[str | int]) -> str:
    """`domains.web.share`; the file itself is `(top level)`."""
    return ".".join(str(step) for step in path) or "(top level)"


def problem(error: ValidationError) -> str:
    """One line for the first thing wrong: field, then what is wrong with it."""
    first, *others = error.errors(include_url=False)
    message = first["msg"].removeprefix("Value error, ")
    line = f"{dotted(first['loc'])}: {message}" if first["loc"] else message
    return line if not others else f"{line} (and {len(others)} more)"
