"""Planted twins of held-out text: found before any training, and what they do to a finished study's answer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from flows.pipeline import leakage
from flows.pipeline.analysis import analyse
from flows.pipeline.files import runs_table
from flows.pipeline.leakage import leaks
from flows.pipeline.workspace import Workspace
from mixing.corpora.documents import Document, is_heldout
from proxies.data.token_store import TokenStore
from tests.conftest import Finished
from tests.scenarios.tiny_study import in_process, write_study

FRACTION = 0.1


def plant(folder: Path, count: int) -> int:
    """Add edited copies of held-out documents of `docs` to the text of `code`; how many are training text there."""
    lines = (folder / "corpora/docs/text.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    heldout = [text for text in texts if is_heldout(Document.of(text).digest, FRACTION)][:count]
    edited = [f"{text} number {number}" for number, text in enumerate(heldout)]
    trained = [text for text in edited if not is_heldout(Document.of(text).digest, FRACTION)]
    with open(folder / "corpora/code/text.jsonl", "a", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in trained)
    return len(trained)


def test_twins_are_found_once_and_again_where_text_changed(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    workspace = Workspace.open(study, tmp_path / "home")
    assert all(leak.repeated == 0 for leak in leaks(workspace).leaks)
    planted = plant(tmp_path, 20)
    found = leaks(workspace)
    by_pair = {(leak.eval, leak.domain): leak for leak in found.leaks}
    assert by_pair["docs", "code"].repeated == planted > 10
    assert len(found.repeated["docs"]) == planted
    stored = workspace.folder.leakage.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "leakage", None)  # not called again
        assert leaks(workspace) == found
    assert workspace.folder.leakage.read_bytes() == stored


def test_the_catalogue_shows_leaks_and_near_duplicates(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    planted = plant(tmp_path, 20)
    shown = in_process(tmp_path / "home", "catalog", str(study), "--near-duplicates")
    assert shown.returncode == 0, shown.stderr
    (row,) = [line.split() for line in shown.stdout.splitlines() if line.split()[:2] == ["docs", "code"]]
    assert row[3:5] == [str(planted), f"({planted / int(row[2]):.1%})"]
    machine = json.loads(
        in_process(tmp_path / "home", "catalog", str(study), "--near-duplicates", "--json").stdout
    )
    assert {(leak["eval"], leak["domain"]): leak["repeated"] for leak in machine["leakage"]} == {
        ("docs", "docs"): 0,
        ("docs", "code"): planted,
        ("code", "docs"): 0,
        ("code", "code"): 0,
    }
    assert machine["near_duplicates"][0]["elsewhere"] == {"code": planted}


def test_a_study_that_leaks_says_what_its_clean_documents_say(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.load(finished.study, finished.home)
    runs = json.loads((workspace.folder.runs / "answered.json").read_text())["runs"]
    store = TokenStore.open(workspace.folder.tokens, verify=False)
    decision = analyse(workspace, store, runs).decision
    known = leakage._load(workspace.folder.leakage)
    assert known is not None
    some = {**known.leakage.repeated, "docs": tuple(range(20))}
    marked = dataclasses.replace(known, leakage=dataclasses.replace(known.leakage, repeated=some))
    monkeypatch.setattr(leakage, "_load", lambda path: marked)
    flagged = analyse(workspace, store, runs).decision
    (said,) = flagged.warnings[len(decision.warnings) :]
    part = 20 / known.leakage.documents["docs"]
    assert said.startswith(f"docs: {part:.1%} of its documents have a near-duplicate in training text; run ")
    mixtures = runs_table(workspace.folder.runs, runs).mixtures()
    nearest = min(mixtures, key=lambda run: abs(mixtures[run].share("code") - decision.shares["code"]))
    assert f"run {nearest}: " in said
    # No tolerance is broken by documents that are no other than the rest.
    assert flagged.status == decision.status
    monkeypatch.undo()
    assert analyse(workspace, store, runs).decision == decision
