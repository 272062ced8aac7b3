"""Fixtures that several test modules share, and how the tests are divided between pytest-xdist's workers."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.settings.environment import set_defaults
from tests.scenarios.tiny_study import mixlaw, write_study

if TYPE_CHECKING:
    from mixing.corpora.documents import Source

# Prefect and MLflow read these when they are imported: this session's own, and nothing of the user's.
for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
    del os.environ[name]
# Before torch and NumPy count the cores: threads that spin while they wait for each other are a third of the
# processor time, and more where other processes share the cores.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
_HOME = tempfile.mkdtemp(prefix="mixlaw-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
set_defaults(Path(_HOME))

ONE_BY_ONE = ("tests/scenarios/test_",)
"""Long tests, which any worker may take one at a time. They come first, so that no worker ends long after another."""

TOGETHER = {
    "tests/flows/orchestration/test_register.py": "deployments",
    "tests/flows/trainers/": "deployments",
}
"""Files that register deployments of the same name on the session's Prefect server."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long tests one by one and first; of the others a file is one worker's, with the fixtures of its module."""
    items.sort(key=lambda item: not item.nodeid.startswith(ONE_BY_ONE))
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        if not item.nodeid.startswith(ONE_BY_ONE):
            file = item.nodeid.partition("::")[0]
            group = next((group for start, group in TOGETHER.items() if file.startswith(start)), file)
            item.add_marker(pytest.mark.xdist_group(group))


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
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the whole session: what one worker makes there is the others' too."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextlib.contextmanager
def one_worker(path: Path) -> Iterator[None]:
    """One worker at a time in this block."""
    with open(path, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def prefect_folder(session_folder: Path) -> Iterator[Path]:
    """The folder of the session's Prefect server, which saves every study the start of its own.

    The worker that needs it first starts it, and it ends with that worker: which waits for the others.
    """
    from flows.orchestration import server

    assert "PREFECT_API_URL" not in os.environ
    told, users = session_folder / "prefect.json", session_folder / "prefect-users"
    with one_worker(session_folder / "prefect.lock"):
        users.mkdir(exist_ok=True)
        mine = not told.exists()
        if mine:
            server.start(Path(_HOME))()
            told.write_text(json.dumps([os.environ["PREFECT_API_URL"], _HOME]))
        address, folder = json.loads(told.read_text())
        (users / str(os.getpid())).touch()
    os.environ["PREFECT_API_URL"] = address
    yield Path(folder) / "prefect"
    del os.environ["PREFECT_API_URL"]
    (users / str(os.getpid())).unlink()
    while mine and any(Path(f"/proc/{user.name}").exists() for user in users.iterdir()):
        time.sleep(0.2)


@pytest.fixture(scope="session")
def prefect_server(prefect_folder: Path) -> None:
    """One Prefect server for all studies of the session."""


def printed_by(folder: Path) -> Finished:
    """The finished study of this folder, or of the folder that it is a copy of."""
    return Finished(
        folder / "study.yaml", folder / "home", *json.loads((folder / "printed.json").read_text())
    )


@pytest.fixture(scope="session")
def finished(
    prefect_server: None, session_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """The tiny study, run once in a session; each worker has a copy of it."""
    original, copy = session_folder / "finished", tmp_path_factory.mktemp("finished") / "study"
    with one_worker(session_folder / "finished.lock"):
        if not (original / "printed.json").exists():
            original.mkdir()
            done = mixlaw(original / "home", "run", str(write_study(original)))
            assert done.returncode == 0, done.stderr
            (original / "printed.json").write_text(json.dumps([done.stdout, done.stderr]))
        shutil.copytree(original, copy)
    return printed_by(copy)


@pytest.fixture
def original(finished: Finished, session_folder: Path) -> Iterator[Finished]:
    """The finished study where it ran, for this test alone: elsewhere its files' paths are another version's."""
    with one_worker(session_folder / "finished.lock"):
        yield printed_by(session_folder / "finished")


@pytest.fixture(scope="session")
def empty_database(session_folder: Path) -> Path:
    """An SQLite database of MLflow with its tables, which take seconds to make, and nothing in them."""
    from flows.tracking.sqlite import create_database

    path = session_folder / "empty.db"
    with one_worker(session_folder / "empty.lock"):
        create_database(path)
    return path


@pytest.fixture
def mlflow_uri(empty_database: Path, tmp_path: Path) -> str:
    """The address of an MLflow of this test's own."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Two small corpora, `docs` and `code`."""
    from tests.proxies.data.small_corpora import corpus, texts

    return [corpus(tmp_path / "text" / "docs", texts(300)), corpus(tmp_path / "text" / "code", texts(200, 1))]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 400 tokens."""
    from proxies.data.tokenizer import train_bpe
    from tests.proxies.data.small_corpora import texts

    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_bpe(texts(200, 2), 400, path)
    return path


@pytest.fixture
def few_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the bootstrap behind the best mixture."""
    monkeypatch.setattr("mixing.decision.mixture.loss_models.REPLICATES", 40)
