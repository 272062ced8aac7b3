"""Where a study writes: beside its file, in the old place where it has run there, or where MIXLAW_HOME says."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.settings.home import home, home_of
from mixing.errors import InputError


def test_the_home_is_beside_the_study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell, project = tmp_path / "shell", tmp_path / "project"
    shell.mkdir()
    monkeypatch.chdir(shell)
    file = project / "study.yaml"
    assert home_of(file, "tiny", {}) == project / ".mixlaw"
    assert home_of(Path("study.yaml"), "tiny", {}) == shell / ".mixlaw"
    assert home_of(file, "tiny", {"MIXLAW_HOME": "elsewhere"}) == shell / "elsewhere"
    # A study that ran before, where the shell was, is found again; another study's folder there does not count.
    (shell / ".mixlaw" / "tiny").mkdir(parents=True)
    assert home_of(file, "tiny", {}) == shell / ".mixlaw"
    assert home_of(file, "other", {}) == project / ".mixlaw"
    (project / ".mixlaw" / "tiny").mkdir(parents=True)
    assert home_of(file, "tiny", {}) == project / ".mixlaw"


@pytest.mark.parametrize("name", ["home (new?)", "a\nb", "x/?/y"])
def test_a_home_that_no_database_can_be_in_is_refused_at_once(name: str) -> None:
    with pytest.raises(InputError, match="character that the address of a database cannot have"):
        home({"MIXLAW_HOME": name})


@pytest.mark.parametrize("name", ["home #1 100% (new)", 'it\'s [a]* "q" &;$x', "\u00c4rzte \u4e2d\u6587"])
def test_other_signs_are_taken(name: str, tmp_path: Path) -> None:
    assert home({"MIXLAW_HOME": str(tmp_path / name)}) == tmp_path / name
