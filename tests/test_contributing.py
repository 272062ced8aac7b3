"""CONTRIBUTING.md names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.test_imports import ROOMS, ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_its_paths_exist() -> None:
    paths = re.findall(r"`((?:mixing|proxies|flows|mixlaw|tests|docs)/[\w./-]*)`", TEXT)
    assert len(paths) > 15
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []


def test_its_map_has_every_room() -> None:
    for floor, rooms in ROOMS.items():
        there = {path.name for path in (ROOT / floor).iterdir() if path.suffix == ".py" or path.is_dir()}
        for room in rooms.split():
            name = next((name for name in (f"{room}.py", room) if name in there), None)
            if name is not None:
                assert f"`{name}" in TEXT, f"CONTRIBUTING.md: the map lacks {floor}/{name}"


def test_its_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([a-z-]+)", TEXT))
    assert {target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def test_the_commit_hook_is_make_check() -> None:
    config = yaml.safe_load((Path(ROOT) / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    ((hook,),) = (repo["hooks"] for repo in config["repos"])
    assert hook["entry"] == "make check"
