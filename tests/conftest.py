"""Fixtures that several test modules share."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.settings.environment import set_defaults
from tests.tiny_study import mixlaw, write_study

if TYPE_CHECKING:
    from mixing.corpora.documents import Source

# Prefect and MLflow read these when they are imported: this session's own, and nothing of the user's.
for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
    del os.environ[name]
_HOME = tempfile.mkdtemp(prefix="mixlaw-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
set_defaults(Path(_HOME))


@dataclass(frozen=True)
class Finished:
    """A study that ran to its end without a disturbance: its file, its home, and what it printed."""

    study: Path
    home: Path
    screen: str
    progress: str

    @property
    def folder(self) -> Path:
        return self.home / "tiny"


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One Prefect server for all studies of the session, which saves each the start of its own."""
    from flows.orchestration import server

    assert "PREFECT_API_URL" not in os.environ
    server.start(Path(_HOME))()
    yield
    # It ends with this process.
    del os.environ["PREFECT_API_URL"]


@pytest.fixture(scope="session")
def finished(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    study = write_study(folder)
    done = mixlaw(folder / "home", "run", str(study))
    assert done.returncode == 0, done.stderr
    return Finished(study, folder / "home", done.stdout, done.stderr)


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Two small corpora, `docs` and `code`."""
    from tests.token_text import corpus, texts

    return [corpus(tmp_path / "text" / "docs", texts(300)), corpus(tmp_path / "text" / "code", texts(200, 1))]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 400 tokens."""
    from proxies.data.tokenizer import train_bpe
    from tests.token_text import texts

    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_bpe(texts(200, 2), 400, path)
    return path


@pytest.fixture
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves over tokens, for figures, are 40 % of the time of a critical ratio and no part of the answer."""
    monkeypatch.setattr(
        "mixing.decision.critical_ratio.decider._with_curves", lambda decision, *rest: decision
    )


@pytest.fixture
def few_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the bootstrap behind the best mixture."""
    monkeypatch.setattr("mixing.decision.mixture.loss_models.REPLICATES", 40)
