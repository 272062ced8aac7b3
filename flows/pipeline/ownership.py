"""Which study file a study's folder belongs to: a second study of the same name does not overwrite the first."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from flows.settings.home import StudyFolder
from flows.study.loading import load_study
from flows.study.models import Study
from mixing.atomic import replace_files
from mixing.errors import InputError, MixlawError


def check_owner(study: Study, folder: StudyFolder) -> None:
    """Raises InputError where the folder belongs to another study of this name.

    A study file may be edited, moved and copied together with its home. Another file is another study where it asks
    something else while the first is still there, or where it has other domains.
    """
    owner = _owner(folder)
    if owner is None or owner.get("identity") == study.identity:
        return
    file = Path(os.path.normpath(folder.path / str(owner.get("file", ""))))
    if _same(file, study.file):
        return
    step = f"Give this study another name ({study.file}: study: NAME), or set MIXLAW_HOME to another folder"
    if owner.get("domains") != _domains(study):
        names = ", ".join(f"{name} ({role})" for name, role in dict(owner.get("domains", {})).items())
        raise InputError(
            f"{folder.path}: belongs to another study named {study.study}, of the domains {names}", step
        )
    if _still_asks(file, study):
        raise InputError(
            f"{folder.path}: belongs to another study named {study.study}, {file}, which asks something else",
            step,
        )


def record_owner(study: Study, folder: StudyFolder) -> None:
    """Note in the folder which study file it belongs to; relative, so that both can be moved together."""
    record = {
        "file": os.path.relpath(study.file, folder.path),
        "identity": study.identity,
        "domains": _domains(study),
    }
    if record != _owner(folder):
        text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
        replace_files({folder.owner: text.encode("utf-8", "surrogateescape")})


def _owner(folder: StudyFolder) -> dict[str, Any] | None:
    try:
        record = json.loads(folder.owner.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _domains(study: Study) -> dict[str, str]:
    return {name: part.role for name, part in study.domains.items()}


def _same(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return False


def _still_asks(file: Path, study: Study) -> bool:
    """Whether a study file is still there, with this name and another question."""
    try:
        other = load_study(file)
    except MixlawError:
        return False
    return other.study == study.study and other.identity != study.identity
