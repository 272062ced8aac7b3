"""Golden files of every target, and the files that the documentation shows."""

from __future__ import annotations

import pytest

from mixing.export.registry import TARGETS
from tests.mixing.export.golden_files import GOLDEN, PAGE, SNIPPET, golden_files, page_with_snippets

AGAIN = "if this is meant: make export-files"
FILES = golden_files()


@pytest.mark.parametrize("name", FILES)
def test_golden(name: str) -> None:
    assert (GOLDEN / name).read_text(encoding="utf-8") == FILES[name], AGAIN


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(FILES), AGAIN


def test_the_documentation_shows_what_the_tool_writes() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page_with_snippets(page) == page, AGAIN


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_its_section(target: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    section = page.split(f"\n## {target}\n")[1].split("\n## ")[0]
    keys = [found["key"] for found in SNIPPET.finditer(section)]
    assert f"start {target}" in keys
    assert any(key.startswith(f"file {target}") for key in keys)
    assert f"--to {target}" in section
    assert "| What you see |" in section
