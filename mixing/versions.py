"""What a file's version means to this mixlaw: it is read, or refused with the step to take."""

from __future__ import annotations

import json
from typing import Any

from mixing.errors import InputError

RUNS = 1
"""Of a run store's files: `spec.json`, `done.json`, `failed.json`."""
RUNS_OLDER = "Set MIXLAW_HOME to a new folder, or delete this run's folder to train it again"


class NewerState(InputError):
    """The file is of a later mixlaw. It may mean what this one cannot know, so it is not touched."""


class OlderState(InputError):
    """The file is of an earlier mixlaw, and not read any more."""


def check_version(where: object, found: object, current: int, step: str) -> None:
    """Refuse what is not of the version `current`; `step` is what to do about an older one.

    Raises NewerState or OlderState, naming the file `where`.
    """
    number = isinstance(found, int) and not isinstance(found, bool)
    if number and found > current:  # type: ignore[operator]
        raise NewerState(
            f"{where}: written by a newer mixlaw (version {found}; this one reads {current})",
            "Upgrade mixlaw; the file was left as it is",
        )
    if not number or found != current:
        said = "without a version" if found is None else f"of version {str(found)[:20]}"
        raise OlderState(f"{where}: {said}, and this mixlaw reads {current}", step)


def version_in(content: bytes | str, *path: str) -> Any:
    """The version that JSON text carries at `path`, before anything else of it is believed; None if none."""
    try:
        found = json.loads(content)
        for key in path:
            found = found[key]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return found
