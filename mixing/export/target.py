"""The protocol of export targets: a trainer's file, the data it reads, and its own loader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mixing.export.data_format import DataFormat
from mixing.export.loader import Loader
from mixing.export.planning import Plan, StagePlan, Unit
from mixing.spec.model import MixSpec

GOLDEN_ONLY = "golden file only"
"""`Target.verified` where no test of ours runs the trainer's own loader."""


@dataclass(frozen=True)
class RenderedFile:
    """The text of one file, the settings that belong beside it, and how the trainer is started.

    `settings` are the values that have no place in the file (requested tokens, dtype, seed, ...), for a loader
    that is called from Python. `start` are lines for people; in them, `{file}` stands for the path the file is
    written to. `notes` are for the user: where the trainer will read something else than was asked for.
    """

    text: str
    start: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One weighted item of a trainer's file: the name it has there, or None, and the paths it reads."""

    name: str | None
    paths: tuple[str, ...]
    weight: float
    max_epochs: float | None = None


@dataclass(frozen=True)
class FileStage:
    """The items from optimiser step `first_step` (0-based) on; a file of one stage starts at 0."""

    first_step: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Reading:
    """The content of a trainer's file: weights of `unit`, per stage, and the run's settings; None where it has none.

    `total_tokens` are those of the file's stages, or from the start of the run where `cumulative`. `assumed` says
    that the file does not tell its unit; `notes` say what else of the file is not used, or was taken to be so.
    """

    unit: Unit
    stages: tuple[FileStage, ...]
    total_tokens: int | None = None
    sequence_length: int | None = None
    global_batch_tokens: int | None = None
    seed: int | None = None
    dtype: str | None = None
    cumulative: bool = False
    assumed: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """One trainer: its file, its data, and its own loader.

    Attributes:
        name: what `export` is asked for; `aliases` will do as well.
        filename: usual name of the file.
        units: what it can draw, its usual unit first; `weighs` says it in the trainer's words.
        repetition: what the trainer itself does when a domain runs out.
        data: the format of the data that it reads. `store_too`: the token store will do as well.
        render: writes one file for the given stages: all of the plan where `staged`, else one.
        read: the inverse of `render`, as far as the file carries it; None where it carries too little.
        loader: the trainer's own loader, for `mixlaw check`; None where it cannot run without the trainer.
        align: the number of tokens that starts of later stages must be multiples of, where that is more than a
            global batch.
        staged: one file holds all stages.
        random: items are drawn by chance, so that shares scatter.
        unweighted: its file has no weights, so its data is written with the number of rows that the shares ask for.
        verified: the loader and version that our tests read its files with, or `GOLDEN_ONLY`.
    """

    name: str
    filename: str
    units: tuple[Unit, ...]
    weighs: str
    repetition: str
    data: DataFormat
    render: Callable[[MixSpec, Plan, Sequence[StagePlan]], RenderedFile]
    read: Callable[[str], Reading] | None = None
    loader: Loader | None = None
    align: Callable[[MixSpec], int] | None = None
    staged: bool = False
    random: bool = False
    unweighted: bool = False
    store_too: bool = False
    aliases: tuple[str, ...] = ()
    verified: str = GOLDEN_ONLY

    def is_written(self, unit: Unit) -> bool:
        """Whether `write_data` writes the target's data for this unit; else the user does, with other tools."""
        return self.data.writer is not None and not (self.unweighted and unit == "document")
