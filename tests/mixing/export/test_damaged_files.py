"""Trainers' files that are damaged, edited or not what they say: one line of error each, never a traceback."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from mixing.errors import InputError
from mixing.export.exporting import export
from mixing.export.importing import import_spec
from mixing.export.registry import TARGETS
from tests.mixing.spec.examples import example_spec, staged_spec

JUNK: list[Any] = [None, "x", "", -1, 0, 1.5, True, [], {}, [1], ["a", "b"], {"a": 1}, {"web": "x"}, "1e999"]


def damaged(value: Any) -> Iterator[Any]:
    """The value with one part of it replaced by each piece of junk, or left out."""
    yield from JUNK
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {name: kept for name, kept in value.items() if name != key}
            for other in damaged(inner):
                yield {**value, key: other}
    elif isinstance(value, list):
        for index, inner in enumerate(value[:1]):
            yield [*value[:index], *value[index + 1 :]]
            for other in damaged(inner):
                yield [*value[:index], other, *value[index + 1 :]]


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "torchtitan"])
def test_damaged_files(target: str) -> None:
    spec = staged_spec() if TARGETS[target].staged else example_spec()
    text = export(spec, target).files[0].text
    is_json = text.startswith("{")
    comments = "" if is_json else "".join(line for line in text.splitlines(True) if line.startswith("#"))
    for value in damaged(json.loads(text) if is_json else yaml.safe_load(text)):
        changed = json.dumps(value) if is_json else comments + yaml.safe_dump(value)
        for like in (spec, None):
            with contextlib.suppress(InputError):
                import_spec([changed], target, name="file", like=like, total_tokens=102_400)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "text", ["", "[", "{", "x = 1\n", "WEIGHTS = {1: 'a'}", "WEIGHTS = f()", "\0", "- 1\n", "é"]
)
def test_other_files(target: str, text: str) -> None:
    with pytest.raises(InputError):
        import_spec([text], target, name="file", total_tokens=1000)
