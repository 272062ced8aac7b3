"""The door for notebooks: `import mixlaw as ml`, and the same names of `mixing`; nothing is loaded unused."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import mixing
import mixlaw


@pytest.mark.parametrize("name", mixlaw.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(mixlaw, name)
    assert value.__doc__
    assert name in dir(mixlaw)
    if name != "export":
        assert getattr(mixing, name) is value
        assert name in dir(mixing)


def test_nothing_else_is_listed() -> None:
    assert dir(mixlaw) == sorted(mixlaw.__all__)
    assert dir(mixing) == sorted(mixing.__all__)


def test_every_name_has_a_place() -> None:
    assert set(mixing.__all__) == set(mixing._PLACES)


def test_the_room_of_exporters_stays_a_room() -> None:
    """`mixing.export` is a package whatever was imported first; the function is handed on by `mixlaw` alone."""
    assert mixlaw.export.__module__.startswith("mixing.export.")
    assert importlib.import_module("mixing.export") is mixing.export  # type: ignore[attr-defined]
    assert "export" not in mixing.__all__


@pytest.mark.parametrize("module", ["mixing", "mixlaw"])
def test_a_name_that_is_not_there(module: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'fits'"):
        getattr(importlib.import_module(module), "fits")  # noqa: B009


@pytest.mark.parametrize("module", ["mixing", "mixlaw"])
def test_the_door_loads_nothing(module: str) -> None:
    code = (
        f"import sys, {module}; "
        "heavy = {'polars', 'numpy', 'scipy', 'pydantic', 'yaml', 'duckdb', 'matplotlib'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
