"""Reading a study file, with errors of one line that name the file and the key."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from flows.study.keys import models_in
from flows.study.models import Study
from mixing.errors import InputError
from mixing.strict_yaml import read_yaml


def load_study(path: Path | str) -> Study:
    """Read and check a study file.

    Raises InputError, one line that names the file and the key, for a file that is missing or not YAML, a key that
    is unknown (with the nearest valid one), repeated or missing, or a value out of range.
    """
    path = Path(path)
    document = _document(path)
    try:
        return Study.of(document, path)
    except ValidationError as error:
        raise _first_fault(path, error) from None


def _document(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such study file", "Write one with: mixlaw init DIR") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})", "A study file is YAML text") from None
    document = read_yaml(text, str(path), aliases=True)
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a study file", "It starts with a line such as  study: my-study")
    return document


def _first_fault(path: Path, error: ValidationError) -> InputError:
    """The first fault as one line; a misspelt key is named before the key that is then missing."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    fault = faults[0]
    where = ".".join(str(step) for step in fault["loc"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    key = str(fault["loc"][-1]) if fault["loc"] else ""
    if fault["type"] == "extra_forbidden":
        valid = _valid_keys(fault["loc"])
        near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
        return InputError(
            f"{path}: {where}: unknown key{more}",
            f"Did you mean {near[0]}?" if near else f"Valid here: {', '.join(valid)}",
        )
    if fault["type"] == "missing":
        return InputError(
            f"{path}: {where}: missing{more}", "Add it; `mixlaw init` writes a commented example"
        )
    message = fault["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list, such as [a, b]")
    return InputError(f"{path}: {where + ': ' if where else ''}{message}{more}", "Correct it and run again")


def _valid_keys(location: tuple[int | str, ...]) -> list[str]:
    """Keys that are allowed next to the last one of `location`."""
    model: type[BaseModel] = Study
    for step in location[:-1]:
        # A step that names no field is a free key (a domain's name) of the field before it.
        if step in model.model_fields:
            model = next(models_in(model.model_fields[str(step)].annotation), model)
    return list(model.model_fields)
