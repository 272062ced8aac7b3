"""The examples in the docstrings of the public functions do what they show."""

from __future__ import annotations

import doctest
import importlib

import pytest

import mixlaw

EXEMPT = {"Decision", "FitReport", "InputError", "MixSpec", "MixlawError", "Mixture", "RunTable"}
"""Classes that the functions hand out, and errors."""

FUNCTIONS = sorted(set(mixlaw.__all__) - EXEMPT)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of(name: str) -> None:
    function = getattr(mixlaw, name)
    module = importlib.import_module(function.__module__)
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(function, name, module=module, globs=vars(module) | {"ml": mixlaw})
    assert example.examples, f"{name} has no example"
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert results.failed == 0
