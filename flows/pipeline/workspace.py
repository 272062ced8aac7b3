"""A study and the folder it writes to, with the checks that come before any work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from flows.pipeline.ownership import check_owner, record_owner
from flows.settings import home
from flows.settings.home import StudyFolder
from flows.study.corpora import study_corpora, study_evals
from flows.study.loading import load_study
from flows.study.models import Study
from mixing.errors import MixlawError

if TYPE_CHECKING:
    from mixing.corpora.documents import Source


@dataclass(frozen=True)
class Workspace:
    """A study and where it writes. `load` only reads the study file; `open` makes it ready for work."""

    study: Study
    root: Path

    @classmethod
    def load(cls, study_file: Path | str, root: Path | None = None) -> Workspace:
        """Read the study file; nothing is created. `root` is the home (default: `MIXLAW_HOME`, or beside the file).

        Raises InputError for a bad study file.
        """
        study = load_study(study_file)
        return cls(study, root or home.home_of(study.file, study.study))

    @classmethod
    def open(cls, study_file: Path | str, root: Path | None = None) -> Workspace:
        """Read the study file, check that its corpora are there, and create the study's folder.

        Raises InputError for a bad study file, a missing corpus or a folder of another study, MixlawError where the
        home cannot be written.
        """
        workspace = cls.load(study_file, root)
        # Looked up first: a mistyped path must leave no folder behind.
        _ = workspace.sources, workspace.evals
        check_owner(workspace.study, workspace.folder)
        workspace.create_folder()
        record_owner(workspace.study, workspace.folder)
        return workspace

    @cached_property
    def folder(self) -> StudyFolder:
        return StudyFolder.of(self.study.study, self.root)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The study's corpora, of large ones a sample. Raises InputError for a file that is not there."""
        from flows.pipeline.samples import with_samples

        return with_samples(self.study, study_corpora(self.study), self.folder.tokens)

    @cached_property
    def evals(self) -> tuple[Source, ...]:
        """The study's own validation sets. Raises InputError for a file that is not there."""
        return study_evals(self.study)

    @property
    def tokenizer_path(self) -> Path | None:
        """None where the study's domains are token ids and only the size of their vocabulary is known."""
        tokenizer = self.study.tokenizer
        if tokenizer.file is not None:
            return self.study.path(tokenizer.file)
        return self.folder.tokenizer if tokenizer.train is not None else None

    @property
    def base_checkpoint(self) -> Path | None:
        """The weights that the study names as its base model; None where it pretrains one."""
        checkpoint = self.study.base.checkpoint
        return None if checkpoint is None else self.study.path(checkpoint)

    def create_folder(self) -> None:
        """Raises MixlawError where the home cannot be written."""
        try:
            self.folder.path.mkdir(parents=True, exist_ok=True)
            self.folder.runs.mkdir(exist_ok=True)
        except OSError as error:
            raise MixlawError(
                f"{self.folder.path}: cannot be written ({error.strerror})",
                "Set MIXLAW_HOME to a folder that can be written",
            ) from error
