"""The store of three domains, made once, and the table of what the loaders gave."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exports import table
from tests.exports.corpus import Store, write_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(tmp_path_factory.mktemp("a store"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if table.ROWS:
        terminalreporter.write_sep("-", "token shares that the loaders gave")
        for line in table.lines():
            terminalreporter.write_line(line)
