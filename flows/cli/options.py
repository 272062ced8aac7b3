"""Options and arguments that several commands share, and how their values are read."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from mixing.amounts import is_whole, parse_number, parse_size, parse_tokens
from mixing.errors import InputError
from mixing.runs.readers.text_table import decoded

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="The study file (YAML).")]
Spec = Annotated[
    str, typer.Argument(metavar="SPEC", help="A mix spec: a file, or models:/NAME@champion in MLflow.")
]
RunsList = Annotated[
    list[str],
    typer.Argument(
        metavar="RUNS...",
        help="Runs tables, read as one: CSV, Parquet, a folder of runs, a study or its name in the home, a published "
        "layout, or mlflow:EXPERIMENT.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Proxies to train at the same time (default: one per core).")
]
Tokens = Annotated[
    str | None, typer.Option(help="Token budget to answer for (20e9, 20B; default: the table's).")
]
Params = Annotated[
    str | None,
    typer.Option(help="Non-embedding parameters to answer for (70M, 1.4e9; default: the table's)."),
]
TargetDomains = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Share columns that count as target, repeatable (default: guessed from the names).",
    ),
]
Figures = Annotated[Path | None, typer.Option(metavar="DIR", help="Draw the figures into this folder.")]
TokenChange = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Share of a domain's tokens or documents that may change without consequence."
    ),
]
Unit = Annotated[str | None, typer.Option(help="window or document, for targets that can draw either.")]
DataRoot = Annotated[
    str | None, typer.Option(help="Where the trainer finds the token files, if they have moved.")
]

DrawnUnit = Literal["window", "document"] | None


def weights(options: list[str], name: str) -> dict[str, float]:
    """Weights by name from `NAME`, `NAME=WEIGHT` (repeated) or `@weights.json`; not yet normalised.

    `name` is the option's, without dashes. Raises InputError naming it.
    """
    merged: dict[str, float] = {}
    for option in options:
        entries = _from_file(option[1:], name) if option.startswith("@") else dict([_weight(option, name)])
        for key, weight in entries.items():
            if key in merged:
                raise InputError(f"--{name}: {key!r} is given twice", "Give every validation set one weight")
            merged[key] = weight
    return merged


def amounts(options: list[str] | None, name: str) -> dict[str, float]:
    """Numbers by name from `NAME=NUMBER` (repeated; 20B, 1,600,000 and 90% are numbers) or `@numbers.json`.

    `name` is the option's, without dashes. Raises InputError naming it.
    """
    merged: dict[str, float] = {}
    for option in options or []:
        entries = _from_file(option[1:], name) if option.startswith("@") else dict([_amount(option, name)])
        for domain, number in entries.items():
            if domain in merged:
                raise InputError(f"--{name}: {domain!r} is given twice", "Give it once")
            merged[domain] = number
    return merged


def token_count(text: str | None, name: str = "tokens") -> int | None:
    """The tokens in `20e9`, `20B` or `20_000_000_000`. Raises InputError naming the option `name`."""
    return _whole_amount(text, name, "tokens", "Write 500000, 2e6 or 20B")


def parameter_count(text: str | None) -> int | None:
    """The parameters in `70M`, `1.4e9` or `70_000_000`. Raises InputError naming --params."""
    return _whole_amount(text, "params", "parameters", "Write 70000000, 1.4e9 or 70M")


def _whole_amount(text: str | None, name: str, what: str, hint: str) -> int | None:
    if text is None:
        return None
    number = parse_size(text) if name == "params" else parse_tokens(text)
    if number is None or not 1 <= number < 1e18:
        raise InputError(f"--{name} {text!r} is not a number of {what} from 1 to 1e18", hint)
    if not is_whole(number):
        raise InputError(f"--{name} {text!r} is not whole", f"Write the unit: {text}B, {text}M")
    return round(number)


_OTHER_NAMES = {"max_shares": "--max", "min_shares": "--min", "target_domains": "--target-domain"}
_SAME_NAMES = (
    "confidence decimal freeze general kl law level max_epochs metric params pool prior protect seed shares supply "
    "target tokens tolerance turning_point where worst_case"
)
OPTIONS = {name: f"--{name.replace('_', '-')}" for name in _SAME_NAMES.split()} | _OTHER_NAMES
"""Arguments of `mixing`, and the options that set them."""

_ANY = "|".join(OPTIONS)
_LEADING = re.compile(rf"(?:{_ANY})(?:, (?:{_ANY}))*(?=[ :])")
_NO_WORD = re.compile(rf"\b(?:{'|'.join(name for name in OPTIONS if '_' in name)})\b")
_ASSIGNED = re.compile(r"\b(metric|pool|decimal)=|\b(?P<where>where) (?=\w+=)")
_ROLE = re.compile(r"(?<=^Name one as )(?:general|target)\b")


@contextmanager
def options_named() -> Iterator[None]:
    """Let errors of `mixing`, which name arguments, name the command line's options instead."""
    try:
        yield
    except InputError as error:
        # A message about an argument begins with it: `level 2 is not ...`, `kl, freeze: ...`.
        leading = _LEADING.match(error.message)
        message = error.message
        if leading is not None:
            message = ", ".join(OPTIONS[name] for name in leading[0].split(", ")) + message[leading.end() :]
        hint = _ROLE.sub(lambda role: OPTIONS[role[0]], error.hint)
        raise InputError(_translated(message), _translated(hint)) from error


def _translated(text: str) -> str:
    text = _ASSIGNED.sub(lambda name: f"{OPTIONS[name[1] or 'where']} ", text)
    return _NO_WORD.sub(lambda name: OPTIONS[name[0]], text)


def drawn_unit(text: str | None) -> DrawnUnit:
    """The unit that --unit names. Raises InputError for one that no target draws."""
    if text is None:
        return None
    if text == "window":
        return "window"
    if text == "document":
        return "document"
    raise InputError(f"--unit {text} is not a unit", "Units: window, document")


def check_figures(folder: Path | None) -> None:
    """Raise InputError where no figures can be written into `folder`, before work is spent on them."""
    if folder is None:
        return
    parent = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"--figures {folder}: {parent} cannot be written to", "Give a folder that can")


def _weight(option: str, name: str) -> tuple[str, float]:
    key, equals, text = option.rpartition("=")
    if not equals:
        return option, 1.0
    weight = parse_number(text)
    if weight is None or not math.isfinite(weight) or weight < 0 or not key:
        raise InputError(f"--{name} {option}: {text!r} is not a weight", "Write NAME or NAME=0.5, 0 or more")
    return key, weight


def _amount(option: str, name: str) -> tuple[str, float]:
    key, _, text = option.rpartition("=")
    number = parse_number(text)
    if key and number is not None and 0 <= number < math.inf:
        return key, number
    raise InputError(
        f"--{name} {option}: not a number of 0 or more", f"Write --{name} NAME=NUMBER or @file.json"
    )


def _from_file(path: str, name: str) -> dict[str, float]:
    where, hint = f"--{name} @{path}", 'Write {"NAME": NUMBER, ...} into it'
    try:
        content = json.loads(decoded(Path(path).read_bytes(), where), object_pairs_hook=_once)
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror})", "Name a JSON file") from None
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({error})", hint) from None
    if not isinstance(content, dict) or not content:
        raise InputError(f"{where}: not a JSON object of numbers", hint)
    return {key: _number_in_file(key, value, where) for key, value in content.items()}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object; of a name that stands twice JSON would take the last."""
    names = [name for name, _ in pairs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} is given twice")
    return dict(pairs)


def _number_in_file(key: str, value: object, where: str) -> float:
    number = parse_number(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf:
        raise InputError(
            f"{where}: {key!r} is {str(value)[:60]}",
            'Write {"NAME": NUMBER, ...} into it, with numbers of 0 or more',
        )
    return float(number)
