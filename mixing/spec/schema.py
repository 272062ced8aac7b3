"""The JSON Schema of mix specs: made from the model, shipped in the package, and held against every file.

Write the shipped file again: `python -m mixing.spec.schema > mixing/spec/mixspec.schema.json`.
"""

from __future__ import annotations

import difflib
import functools
import json
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError as SchemaError
from jsonschema.exceptions import best_match

from mixing.errors import InputError
from mixing.spec.model import VERSION, MixSpec
from mixing.spec.validation import dotted


def schema_text() -> str:
    """The JSON Schema of the mix spec, as shipped in `mixing/spec/mixspec.schema.json`."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:mixlaw:mixspec:{VERSION}",
        **MixSpec.model_json_schema(),
    }
    # A file must say its version, although a MixSpec made in code may leave it out.
    schema["required"] = ["mixspec", *schema["required"]]
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


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
        fields = list(schema.get("properties", {}))
        field = next(name for name in error.instance if name not in fields)
        near = difflib.get_close_matches(field, fields, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(fields)}"
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


if __name__ == "__main__":
    print(schema_text(), end="")
