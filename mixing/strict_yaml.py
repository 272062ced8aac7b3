"""YAML from people and from other programs: safe types only, no key twice, bounded in size and depth."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from mixing.errors import InputError

MAX_BYTES = 4 * 2**20
"""Largest file that is read."""
MAX_DEPTH = 20
"""Deepest nesting that is read."""

# libyaml where PyYAML was built with it: twenty times faster on a spec of thousands of shards.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_StrictLoader: Any = type("_StrictLoader", (_SafeLoader,), {"__doc__": "Safe; keys are text, each once."})


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    # YAML's own rule for a repeated key is that the last one silently wins.
    keys: set[str] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        line = _line(key_node.start_mark)
        if not isinstance(key, str):
            raise InputError(f"{line}the key {str(key)[:40]!r} is not text", "Put it in quotes")
        if key in keys:
            raise InputError(f"{line}{key[:80]!r} is given twice", "Keep one of them")
        keys.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_yaml(text: bytes, where: str, *, aliases: bool = False) -> Any:
    """The value in a YAML document: dicts with text keys, lists, and scalars.

    `where` names the file in errors. `aliases` allows `&anchor` and `*alias`; leave it off for files that other
    people made, since a few lines of aliases can stand for gigabytes.

    Raises InputError, with file and line, for text that is not UTF-8 or not YAML, a key that is repeated or not
    text, an object of a type beyond YAML's own, and a file larger than `MAX_BYTES` or nested deeper than
    `MAX_DEPTH`.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{where}: is larger than {MAX_BYTES // 2**20} MiB", "Give a smaller YAML file")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: is not UTF-8 text (byte {error.start})", "Save it as UTF-8") from error
    try:
        _refuse_bombs(decoded, aliases)
        return yaml.load(decoded, Loader=_StrictLoader)
    except InputError as error:
        raise InputError(f"{where}: {error.message}", error.hint) from None
    except yaml.MarkedYAMLError as error:
        line = _line(error.problem_mark or error.context_mark)
        raise InputError(
            f"{where}: {line}not YAML ({error.problem or 'no reason given'})",
            "Correct this line, or the indentation before it",
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{where}: not YAML ({str(error).splitlines()[0]})", "Correct the YAML") from error


def _refuse_bombs(text: str, aliases: bool) -> None:
    depth = 0
    # Events are read one at a time, so this is safe before anything is composed recursively.
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.AliasEvent) and not aliases:
            raise InputError(f"{_line(event.start_mark)}YAML aliases are not allowed", "Write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise InputError(
                    f"{_line(event.start_mark)}nested deeper than {MAX_DEPTH} levels", "Nest it less deeply"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}: " if mark else ""
