"""What several test modules share because it takes seconds to make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tiny_study import mixlaw, write_study


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
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Prefect server for all studies of the session, which saves each the start of its own."""
    from flows import prefect_server as server

    assert "PREFECT_API_URL" not in os.environ
    server.start(tmp_path_factory.mktemp("prefect"))()
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
