"""The forms in which people write a blend of Megatron and of what is built on it.

JSON of `--per-split-data-args-path`; text of `--data-args-path`; a command line or script with `--data-path`; the
configuration of NeMo (`data_prefix`, `paths`) and of Megatron-Bridge (`blend`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mixing.errors import InputError
from mixing.export.target import Entry, FileStage, Reading
from mixing.export.text import parse_config, parse_json, take, weight, with_underscores

FLAGS = ("--data-path", "--train-data-path")
FILES = ("--data-args-path", "--per-split-data-args-path")
KEYS = ("train", "blend", "blend_per_split", "data_path", "train_data_path", "data_prefix", "paths")
"""Keys of configurations under which a blend stands."""
ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)(?:\[@\])?\}?")
BY_SIZE = "Without weights, Megatron blends by size, which the file does not say"


def read_blend(text: str) -> Reading:
    """The training blend in any of the forms. Raises InputError for a file that has none, or several."""
    start = text.lstrip()[:1]
    if any(flag in text for flag in (*FLAGS, *FILES)):
        return _of_command(text)
    if start in ("{", "["):
        return _of_config(parse_json(text)) if start == "{" else _reading(_list(text))
    words = text.split()
    if words and _is_number(words[0]):
        return _reading(words)
    try:
        config = parse_config(text)
    except InputError as error:
        raise InputError(
            f"neither JSON, nor a configuration, nor pairs of weight and prefix ({error.message})",
            "Give the trainer's own file, or the command with --data-path",
        ) from None
    return _of_config(config)


def _list(text: str) -> Any:
    return parse_json(f'{{"train": {text}}}')["train"]


def _of_config(config: Mapping[str, Any]) -> Reading:
    blends = list(_blends(config, ""))
    if not blends:
        raise InputError("train: is missing", "Give the trainer's own file")
    if len(blends) > 1:
        raise InputError(
            f"several blends: {', '.join(where for where, _ in blends)}", "Leave the one to be read"
        )
    where, blend = blends[0]
    others = [
        name for name in ("valid", "validation", "test") if isinstance(config, dict) and config.get(name)
    ]
    note = f"not part of a mix spec, and not read: the blend of {' and '.join(others)}" if others else ""
    return _reading(_train_part(blend, where), where, (note,) if note else ())


def _blends(values: Any, where: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(values, dict):
        return
    for key, value in with_underscores(values).items():
        place = f"{where}.{key}" if where else key
        if key in KEYS and value is not None:
            yield place, value
        else:
            yield from _blends(value, place)


def _train_part(blend: Any, where: str) -> Any:
    """The training blend of a dict by split, or of a list of three splits."""
    if isinstance(blend, dict):
        return take(blend, "train", (list, str))
    if where.endswith("blend_per_split") and isinstance(blend, list) and blend:
        return blend[0]
    return blend


def _reading(blend: Any, where: str = "train", notes: tuple[str, ...] = ()) -> Reading:
    """A blend as pairs in one list or text, or as a list of prefixes and one of weights."""
    if isinstance(blend, str):
        blend = blend.split()
    if not isinstance(blend, list):
        raise InputError(f"{where}: {str(blend)[:40]!r} is not a blend", BY_SIZE)
    if len(blend) == 2 and isinstance(blend[0], list):
        prefixes, weights = blend
        if not isinstance(weights, list) or len(weights) != len(prefixes):
            raise InputError(f"{where}: has not one weight for each of {len(prefixes)} prefixes", BY_SIZE)
        blend = [part for pair in zip(weights, prefixes, strict=True) for part in pair]
    words = [str(word) for word in blend]
    if len(words) < 2 or len(words) % 2 or not all(_is_number(word) for word in words[::2]):
        raise InputError(f"{where}: is not pairs of weight and prefix", BY_SIZE)
    entries = tuple(
        Entry(None, (prefix.strip(),), weight(value, f"{where}.{2 * index}"))
        for index, (value, prefix) in enumerate(zip(words[::2], words[1::2], strict=True))
    )
    return Reading("window", (FileStage(0, entries),), notes=notes)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _of_command(text: str) -> Reading:
    """A command line, or a script whose variables are filled in as far as it sets them itself."""
    try:
        words = shlex.split(text.replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise InputError(f"not a command line ({error})", "Give the line with --data-path alone") from None
    words = list(_expanded(words))
    options = _options(words)
    named = [flag for flag in FLAGS if flag in options]
    if not named:
        file = next(flag for flag in FILES if flag in options) if any(f in options for f in FILES) else ""
        named_file = " ".join(options.get(file, ["its file"]))
        raise InputError(f"{file or '--data-path'}: the blend stands in {named_file}", "Give that file")
    if len(named) > 1:
        raise InputError(f"several blends: {' and '.join(named)}", "Leave the one to be read")
    reading = _reading(options[named[0]], named[0])
    length, batch, steps, samples = (
        _whole(options, name)
        for name in ("--seq-length", "--global-batch-size", "--train-iters", "--train-samples")
    )
    sequences = samples or (batch * steps if batch and steps else None)
    return Reading(
        "window",
        reading.stages,
        total_tokens=length * sequences if length and sequences else None,
        sequence_length=length,
        global_batch_tokens=length * batch if length and batch else None,
        cumulative=True,
    )


def _expanded(words: Sequence[str]) -> Iterator[str]:
    """Words of a script without its assignments, whose values stand in for their names."""
    values: dict[str, str] = {}
    array = ""
    for word in words:
        match = ASSIGNED.fullmatch(word)
        if match is not None and match[2].startswith("("):
            array, word = match[1], match[2][1:]
            values[array] = ""
        elif match is not None and not array:
            values[match[1]] = VARIABLE.sub(lambda found: values.get(found[1], found[0]), match[2])
            continue
        if array:
            filled = VARIABLE.sub(lambda found: values.get(found[1], found[0]), word.rstrip(")"))
            values[array] += f" {filled}"
            array = "" if word.endswith(")") else array
            continue
        filled = VARIABLE.sub(lambda found: values.get(found[1], found[0]), word)
        yield from filled.split() if filled != word else (word,)


def _options(words: Sequence[str]) -> dict[str, list[str]]:
    """The values of every option, in the form `--name value ...` or `--name=value`."""
    options: dict[str, list[str]] = {}
    current: list[str] = []
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name in options and name in FLAGS:
                raise InputError(f"{name}: is given twice", "Leave the one to be read")
            current = options[name] = [value] if equals else []
        elif word in ("&&", "||", ";", "|", "&") or word.startswith(">"):
            current = []
        else:
            current.append(word)
    return {name: _split(values) if name in FLAGS else values for name, values in options.items()}


def _split(values: Sequence[str]) -> list[str]:
    """One quoted text holds the whole blend."""
    return values[0].split() if len(values) == 1 else list(values)


def _whole(options: Mapping[str, list[str]], name: str) -> int | None:
    values = options.get(name, [])
    return int(values[0]) if values and values[0].isdigit() and int(values[0]) > 0 else None
