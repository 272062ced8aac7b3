"""The examples in the docstrings of the public functions do what they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import mixlaw
from mixing.spec.yaml_file import load_spec, save_spec
from tests.mixing.spec.examples import example_spec

EXEMPT = {name for name in mixlaw.__all__ if isinstance(getattr(mixlaw, name), type)}
"""Classes that the functions hand out, and errors."""

FUNCTIONS = sorted(set(mixlaw.__all__) - EXEMPT)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_spec(example_spec(), Path("mix.yaml"))
    function = getattr(mixlaw, name)
    module = importlib.import_module(function.__module__)
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(function, name, module=module, globs=vars(module) | {"load_spec": load_spec})
    assert example.examples, f"{name} has no example"
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert results.failed == 0
