"""Large corpora are sampled by themselves, and studies that ran on the whole keep it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.pipeline import samples
from flows.pipeline.prepare import at_hand, catalogue, supply_of, token_store
from flows.pipeline.samples import usable_tokens
from flows.pipeline.workspace import Workspace
from tests.scenarios.tiny_study import STUDY, write_study


def test_a_large_corpus_is_sampled_and_its_supply_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "LARGE_BYTES", 50_000)
    monkeypatch.setattr(samples, "usable_tokens", lambda study: 40_000)
    file = write_study(tmp_path, STUDY.replace("paths: corpora/docs", "paths: corpora/docs, sample: 30k"))
    workspace = Workspace.load(file, tmp_path / "home")
    assert [source.sample for source in workspace.sources] == [30_000, 40_000]
    store = token_store(workspace, catalogue(workspace))
    here, supply = at_hand(store), supply_of(store)
    assert all(here[name] < supply[name] for name in here)
    # Nothing changes, and nothing is read again, the next time.
    again = Workspace.load(file, tmp_path / "home")
    assert token_store(again, catalogue(again)).fingerprints == store.fingerprints
    # The estimate is that of the whole.
    whole = Workspace.load(write_study(tmp_path / "whole"), tmp_path / "other")
    monkeypatch.setattr(samples, "LARGE_BYTES", 1 << 30)
    assert all(source.sample is None for source in whole.sources)
    everything = supply_of(token_store(whole, catalogue(whole)))
    for name, tokens in everything.items():
        assert supply[name] == pytest.approx(tokens, rel=0.25)
    # What was whole when it ran stays whole.
    monkeypatch.setattr(samples, "LARGE_BYTES", 50_000)
    assert all(
        source.sample is None for source in Workspace.load(whole.study.file, tmp_path / "other").sources
    )


def test_what_a_study_can_use_covers_its_longest_run_and_its_held_out_windows(tmp_path: Path) -> None:
    study = Workspace.load(write_study(tmp_path), tmp_path / "home").study
    assert usable_tokens(study) >= 64_000 / 0.9
    more = Workspace.load(
        write_study(tmp_path, STUDY.replace("windows: 48", "windows: 2000")), tmp_path / "home"
    ).study
    assert usable_tokens(more) >= 2000 * 32 / 0.1
