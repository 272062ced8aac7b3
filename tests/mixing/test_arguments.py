"""The Python door refuses wrong types as it refuses wrong values: one sentence that names the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import mixlaw as ml
from mixing.arguments import amount, number, numbers_by_name, whole
from mixing.errors import InputError
from mixing.runs.table import RunTable
from mixing.test_problems import LANDSCAPES


@pytest.fixture(scope="module")
def runs() -> RunTable:
    return LANDSCAPES[0].study([0.2, 0.4, 0.6, 0.8], [250_000, 500_000, 1_000_000])


def test_amounts_are_read_as_people_write_them() -> None:
    assert amount("20B", "tokens") == amount(2e10, "tokens") == 20_000_000_000
    assert numbers_by_name({"web": "10M", "code": 2}, "supply") == {"web": 1e7, "code": 2.0}
    assert numbers_by_name(None, "supply") == {}
    assert number(0, "tolerance") == 0.0
    assert whole(3, "seed") == 3


@pytest.mark.parametrize("value", ["20Q", "", -5, 0, float("nan"), None, [1], True])
def test_what_is_no_amount(value: object) -> None:
    with pytest.raises(InputError, match=r"^tokens .*not a"):
        amount(value, "tokens")


@pytest.mark.parametrize(
    "arguments",
    [
        {"tolerance": "a"},
        {"tokens": "1X"},
        {"tokens": -5},
        {"params": "x"},
        {"level": "a"},
        {"confidence": "x"},
        {"max_shares": {"target": "a"}},
        {"max_shares": 0.5},
        {"supply": 5},
        {"max_epochs": "a"},
        {"max_epochs": {"nobody": 1}},
        {"prior": [0.5, 0.5]},
        {"protect": ["general"]},
        {"freeze": 3},
        {"target": 3},
        {"target_domains": 3},
        {"seed": "x"},
        {"seed": -1},
        {"general": {"general": "a"}},
    ],
    ids=str,
)
def test_decide_names_the_argument(runs: RunTable, arguments: dict[str, Any]) -> None:
    question = {"general": "general", "target": "target", **arguments}
    with pytest.raises(InputError, match=next(iter(arguments))):
        ml.decide(runs, **question)


@pytest.mark.parametrize(
    ("ask", "named"),
    [
        (lambda runs: ml.fit(runs, "general", tokens="20Q"), "tokens"),
        (lambda runs: ml.fit(runs, "general", tokens=-5), "tokens"),
        (lambda runs: ml.fit(runs, "general", params="x"), "params"),
        (lambda runs: ml.fit(runs, 3), "evals"),
        (lambda runs: ml.predict(runs, [0.3, 0.7]), "shares"),
        (lambda runs: ml.predict(runs, {"general": 0.3, "target": "a"}), "shares"),
        (lambda runs: ml.predict(runs, {"general": 0.3, "target": 0.7}, tokens="1X"), "tokens"),
        (lambda runs: ml.load_spec(None), "mix spec"),
        (lambda runs: ml.export({"a": 1}, to="megatron"), "spec"),
    ],
    ids=range(9),
)
def test_the_other_functions_do_too(runs: RunTable, ask: Callable[[RunTable], object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        ask(runs)


def test_a_decision_asks_and_writes_by_the_same_rules(runs: RunTable) -> None:
    answer = ml.decide(runs, general="general", target="target", tolerance=0.02)
    with pytest.raises(InputError, match="tolerance"):
        answer.ask(tolerance="x")
    with pytest.raises(InputError, match="total_tokens"):
        answer.to_spec("mix", total_tokens="20Q")
    assert answer.to_spec("mix", total_tokens="20B").total_tokens == 20_000_000_000
