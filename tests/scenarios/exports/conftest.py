"""The store of three domains, made once, and the table of what the loaders gave."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Any

import pytest

from tests.scenarios.exports import table
from tests.scenarios.exports.corpus import Store, write_store

# Loaders make caches when they are imported: not in the user's home, and nothing is fetched.
_CACHE = tempfile.mkdtemp(prefix="mixlaw-loaders-")
atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
for name in ("HF_HOME", "CACHED_PATH_CACHE_ROOT", "DATA_OPTIMIZER_CACHE_FOLDER", "MPLCONFIGDIR"):
    os.environ[name] = _CACHE
os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(tmp_path_factory.mktemp("a store"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if table.ROWS:
        terminalreporter.write_sep("-", "token shares that the loaders gave")
        for line in table.lines():
            terminalreporter.write_line(line)
