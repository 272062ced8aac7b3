"""Versions of the files that Mixlaw writes: read, or refused with the step to take."""

from __future__ import annotations

import json
from typing import Any

from mixing.errors import InputError

RUNS = 1
"""Version of a run store's files: `spec.json`, `done.json`, `failed.json`."""
RUNS_OLDER = "Set MIXLAW_HOME to a new folder, or delete this run's folder to train it again"


class NewerState(InputError):
    """The file was written by a later mixlaw. Its content may have another meaning, so it is left alone."""


class OlderState(InputError):
    """The file was written by an earlier mixlaw, in a version that is no longer read."""


def check_version(where: object, version: object, current: int, step: str) -> None:
    """Refuse a file whose version is not `current`; `step` is what to do about an older one.

    Raises NewerState or OlderState, naming the file `where`.
    """
    number = version if isinstance(version, int) and not isinstance(version, bool) else None
    if number is not None and number > current:
        raise NewerState(
            f"{where}: written by a newer mixlaw (version {version}; this one reads {current})",
            "Upgrade mixlaw; the file was left as it is",
        )
    if number != current:
        description = "without a version" if version is None else f"of version {str(version)[:20]}"
        raise OlderState(f"{where}: {description}, and this mixlaw reads {current}", step)


def version_in(content: bytes | str, *path: str) -> Any:
    """The version that JSON text has at `path`, read before anything else in it is trusted; None if it has none."""
    try:
        value = json.loads(content)
        for key in path:
            value = value[key]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return value
