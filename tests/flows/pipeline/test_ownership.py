"""A second study of the same name is refused, and never overwrites the first; an edited or moved one goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.pipeline.workspace import Workspace
from mixing.errors import InputError
from tests.scenarios.tiny_study import STUDY, write_study


@pytest.fixture
def first(tmp_path: Path) -> Path:
    study = write_study(tmp_path / "first")
    Workspace.open(study, tmp_path / "first" / "home")
    return study


def test_another_study_of_the_same_name_is_refused(first: Path) -> None:
    root = first.parent / "home"
    before = sorted(root.rglob("*"))
    asks = write_study(first.parents[1] / "asks", STUDY.replace("tolerance: 0.3", "tolerance: 0.1"))
    with pytest.raises(
        InputError, match=r"belongs to another study named tiny, .*first/study.yaml, which asks"
    ):
        Workspace.open(asks, root)
    other = write_study(first.parents[1] / "other", STUDY.replace("docs: {role", "web: {role"))
    with pytest.raises(InputError, match=r"of the domains docs \(general\), code \(target\).*study: NAME"):
        Workspace.open(other, root)
    first.unlink()
    with pytest.raises(InputError, match="of the domains docs"):
        Workspace.open(other, root)
    assert sorted(root.rglob("*")) == before


def test_an_edited_study_goes_on(first: Path) -> None:
    first.write_text(STUDY.replace("tolerance: 0.3", "tolerance: 0.1").replace("code:", "python:"))
    Workspace.open(first, first.parent / "home")


def test_a_study_that_moved_with_its_home_goes_on_where_it_is(first: Path) -> None:
    moved = first.parents[1] / "moved"
    shutil.copytree(first.parent, moved)
    (moved / "study.yaml").write_text(STUDY.replace("tolerance: 0.3", "tolerance: 0.1"))
    Workspace.open(moved / "study.yaml", moved / "home")


def test_the_same_study_elsewhere_takes_its_home_along(first: Path) -> None:
    copy = write_study(first.parents[1] / "copy")
    Workspace.open(copy, first.parent / "home")
