"""The store of three domains, made once."""

from __future__ import annotations

import pytest

from tests.exports.corpus import Store, write_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(tmp_path_factory.mktemp("a store"))
