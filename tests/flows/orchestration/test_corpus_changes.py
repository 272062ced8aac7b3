"""A refresh: what changes of the corpora it sees, which of them matter, and that the rest costs no training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flows.orchestration.corpus_changes import CorpusDiff, compare_with_published
from flows.pipeline.workspace import Workspace
from flows.tracking import corpus_snapshot
from mixing.corpora.documents import Source
from tests.conftest import Finished
from tests.scenarios.tiny_study import STUDY, finished_runs, mixlaw


@pytest.fixture
def study(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished study whose mix is published; its file."""
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    # The published versions lie where the original is: MLflow's addresses are absolute.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{finished.home}/mlflow.db")
    return tmp_path / "copy" / "study.yaml"


def seen(study: Path, token_change: float = 0.05) -> CorpusDiff:
    return compare_with_published(Workspace.load(study, study.parent / "home"), token_change)


def lines(study: Path, domain: str) -> tuple[Path, list[str]]:
    path = study.parent / "corpora" / domain / "text.jsonl"
    return path, path.read_text().splitlines(keepends=True)


def more(line: str, number: int) -> str:
    return json.dumps({"text": f"{json.loads(line)['text']} {number}"}) + "\n"


def test_unchanged_costs_no_training(study: Path) -> None:
    assert seen(study) == CorpusDiff("1", (), ())
    # Files that were touched are read again, and hold the same.
    path, text = lines(study, "docs")
    path.write_text("".join(reversed(text)))
    assert seen(study) == CorpusDiff("1", (), ())


def test_a_little_more_text_is_noted(study: Path) -> None:
    path, text = lines(study, "docs")
    path.write_text("".join([*text, *(more(line, i) for i, line in enumerate(text[:10]))]))
    found = seen(study)
    assert not found.changed
    assert found.sentence().startswith("unchanged since version 1 (docs: +2.")
    assert "2.0% of documents changed" in found.sentence()
    # The same change, where less is let pass.
    assert seen(study, token_change=0.01).reasons[0].startswith("docs: +2.")


def test_much_more_text_matters(study: Path) -> None:
    path, text = lines(study, "code")
    path.write_text("".join([*text, *(more(line, i) for i, line in enumerate(text[:100]))]))
    found = seen(study)
    assert found.changed
    assert found.reasons[0].startswith("code: +19.")
    assert found.reasons[0].endswith("tokens, more than 5.0%")


def test_other_text_of_the_same_size_matters(study: Path) -> None:
    path, text = lines(study, "docs")
    swapped = [json.dumps({"text": json.loads(line)["text"][::-1]}) + "\n" for line in text[:100]]
    path.write_text("".join([*swapped, *text[100:]]))
    (reason,) = seen(study).reasons
    assert reason == "docs: 20.0% of its documents changed, more than 5.0%"


def test_a_cap_that_does_not_hold_any_more_matters(study: Path) -> None:
    study.write_text(STUDY.replace("paths: corpora/code}", "paths: corpora/code, max_epochs: 0.1}"))
    reasons = seen(study).reasons
    assert reasons[0] == "the study file asks another question"
    assert reasons[1].startswith("code: the mix would read it 0.1")
    assert reasons[1].endswith("above its max_epochs 0.1")


def test_domains_and_tokenizers_matter(study: Path) -> None:
    (study.parent / "corpora" / "more").mkdir()
    shutil.copy(lines(study, "docs")[0], study.parent / "corpora" / "more")
    shutil.copy(study.parent / "home" / "tiny" / "tokenizer.json", study.parent / "own.json")
    text = STUDY.replace("  code:", "  more: {role: target, paths: corpora/more}\n  prose:")
    study.write_text(text.replace("{train: {vocab_size: 320}}", "{file: own.json}"))
    reasons = seen(study).reasons
    assert reasons[1:4] == ("more is a new domain", "prose is a new domain", "code is no domain any more")
    # The very file that the study had trained.
    assert len(reasons) == 4
    own = study.parent / "own.json"
    own.write_text(
        own.read_text()
        .replace('"dropout":null', '"dropout":0.1', 1)
        .replace('"dropout": null', '"dropout": 0.1', 1)
    )
    assert seen(study).reasons[4] == "the tokenizer is another one"


def test_refresh_by_command(study: Path, finished: Finished) -> None:
    before = finished_runs(finished.folder)
    done = mixlaw(
        study.parent / "home",
        "refresh",
        str(study),
        "--json",
        MLFLOW_TRACKING_URI=f"sqlite:///{finished.home}/mlflow.db",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"changed": False, "reasons": [], "notes": [], "since_version": "1"}
    assert finished_runs(finished.folder) == before


def test_nothing_published_is_a_reason(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    assert seen(study).reasons == ("no mix has been published yet",)
    assert not (tmp_path / "none.db").exists()


def test_sketches_measure_what_changed(tmp_path: Path) -> None:
    """Exactly in small corpora; to within its scatter in large ones."""

    def sketch(first: int, last: int) -> list[str]:
        path = tmp_path / "text.jsonl"
        path.write_text("".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(first, last)))
        return corpus_snapshot.sketch_of(Source("docs", "general", (path,)))

    part = corpus_snapshot.changed_part
    small = sketch(0, 500)
    assert len(small) == 500
    assert part(small, small, 500, 500) == 0
    assert part(small, sketch(50, 500), 500, 450) == pytest.approx(0.1)
    assert part(small, sketch(0, 600), 500, 600) == pytest.approx(0.2)
    assert part(small, sketch(500, 1000), 500, 500) == 1
    large = sketch(0, 20_000)
    assert len(large) == corpus_snapshot.SIZE
    assert part(large, large, 20_000, 20_000) == 0
    assert part(large, sketch(1_000, 21_000), 20_000, 20_000) == pytest.approx(0.05, abs=0.02)
    assert part(large, sketch(0, 30_000), 20_000, 30_000) == pytest.approx(0.5, abs=0.1)
