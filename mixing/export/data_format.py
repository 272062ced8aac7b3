"""Formats of training data: who writes one, with which package, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mixing.export.parts import OnTokens, Part

ALONE = " in an environment of its own (docs/exports.md, Loaders and writers)"
"""Advice for a package that holds other packages back."""


@dataclass(frozen=True)
class Writer:
    """How data of a format is written, by the format's own package.

    Attributes:
        module: what must be importable.
        package: what pip is asked for.
        write: writes a part into an empty folder, under names that no other part uses.
        join: makes one dataset of a folder that holds all parts; it may run again.
        documents: rows may be documents.
        any_length: tokens are written as they are, for windows of any length.
        alone: the package wants an environment of its own.
        version: rises when the same tokens are written differently.
    """

    module: str
    package: str
    write: Callable[[Part, Path, OnTokens], None]
    join: Callable[[Path, Sequence[Part]], None]
    documents: bool = False
    any_length: bool = False
    alone: bool = False
    version: int = 1


@dataclass(frozen=True)
class DataFormat:
    """A format of training data, in a folder per domain. Without a `writer` Mixlaw only points at the folders."""

    name: str
    writer: Writer | None = None

    def __str__(self) -> str:
        return self.name


STORE = DataFormat("store")
"""Mixlaw's token files as they are."""
OWN = DataFormat("own")
"""Datasets that the user configures in the trainer's own code."""
TEXT = DataFormat("text")
"""Text files, which the trainer tokenises itself."""


def leave_as_it_is(folder: Path, parts: Sequence[Part]) -> None:
    """`Writer.join` of formats whose readers take all files of a folder."""
