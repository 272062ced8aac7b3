"""Output in encodings that lack characters: plain characters and status 0, and files as UTF-8 all the same."""

from __future__ import annotations

import codecs
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

BLEND = '{"train": ["1", "/d/\u00c4rzte/a", "3", "/d/\u4e2d\u6587/a"]}'
ENCODINGS = [{"PYTHONIOENCODING": name} for name in ("ascii", "latin-1", "cp1252", "utf-8")]
BARE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def mixlaw(environment: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "flows.cli.main", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, cwd=folder, capture_output=True)


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "\u00fcber.json").write_text(BLEND, encoding="utf-8")
    done = mixlaw({}, tmp_path, "spec", "import", "\u00fcber.json", "--from", "megatron", "--tokens", "1M")
    assert done.returncode == 0, done.stderr
    (tmp_path / "mix.yaml").write_bytes(done.stdout)
    return "mix.yaml"


@pytest.mark.parametrize("environment", [*ENCODINGS, BARE])
def test_every_encoding_gets_the_whole_answer(environment: dict[str, str], spec: str, tmp_path: Path) -> None:
    shown = mixlaw(environment, tmp_path, "spec", "show", spec)
    assert (shown.returncode, b"Traceback" in shown.stderr) == (0, False), shown.stderr
    text = shown.stdout.decode(environment.get("PYTHONIOENCODING", "ascii"))
    assert "0.75" in text
    assert ("\u4e2d\u6587" if "utf" in str(environment) else "\\u4e2d\\u6587") in text
    # One JSON object that says the same.
    found = json.loads(mixlaw(environment, tmp_path, "spec", "show", spec, "--json").stdout.decode("latin-1"))
    if "utf" not in str(environment):
        assert list(found["domains"]) == ["\u00c4rzte", "\u4e2d\u6587"]


@pytest.mark.parametrize("environment", [ENCODINGS[0], BARE])
def test_a_file_on_stdout_is_utf8(environment: dict[str, str], spec: str, tmp_path: Path) -> None:
    done = mixlaw(
        environment, tmp_path, "spec", "import", "\u00fcber.json", "--from", "megatron", "--tokens", "1M"
    )
    assert done.returncode == 0, done.stderr
    assert list(yaml.safe_load(done.stdout.decode())["domains"]) == ["\u00c4rzte", "\u4e2d\u6587"]


def test_our_signs_have_plain_forms() -> None:
    from flows.settings.terminal import ERRORS, PLAIN, print_plainly_where_needed

    print_plainly_where_needed()
    assert codecs.encode("1 \u00b1 2 \u2500 \u2026 \u4e2d", "ascii", ERRORS) == b"1 +- 2 - ... \\u4e2d"
    assert all(plain.isascii() for plain in PLAIN.values())
