"""What a trainer's format says of itself, and the one thing it does: turn planned stages into text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mixing.export.convert import Plan, StagePlan, Unit
from mixing.spec import MixSpec


@dataclass(frozen=True)
class Rendered:
    """The text of one file, and `start`: lines that say how the trainer is started with it.

    In `start`, `{file}` stands for the path the file is written to.
    """

    text: str
    start: tuple[str, ...]


class Target(Protocol):
    """A trainer's format.

    `units` are what it can draw, its usual one first; `staged`: one file holds all stages; `takes_zero`: a
    share of 0 may be written; `repetition`: what the trainer itself does when a domain runs out; `verified`:
    the loader that our tests read its files with, or "golden file only".
    """

    @property
    def name(self) -> str: ...
    @property
    def filename(self) -> str: ...
    @property
    def units(self) -> tuple[Unit, ...]: ...
    @property
    def staged(self) -> bool: ...
    @property
    def takes_zero(self) -> bool: ...
    @property
    def repetition(self) -> str: ...
    @property
    def verified(self) -> str: ...

    def render(self, spec: MixSpec, plan: Plan, stages: Sequence[StagePlan]) -> Rendered:
        """One file for `stages`: all of the plan where `staged`, else one. InputError names a field."""
        ...


def absolute_prefix(spec: MixSpec, prefix: str) -> str:
    """Absolute path of a shard, without extension. The spec's `data_root` must be known."""
    assert spec.data_root is not None
    return f"{spec.data_root.rstrip('/')}/{prefix}"
