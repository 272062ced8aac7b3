"""What determines a run: what makes no sense is refused, and its identity is what determines it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mixing.errors import MixlawError
from proxies.spec import ProxySpec, log_budgets
from tests.proxies.memory_store import MemoryStore, memory_store, proxy_spec


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return memory_store()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixture": {"general": 0.5}}, "shares sum to 0.5"),
        ({"mixture": {"elsewhere": 1.0}}, "elsewhere not among the domains"),
        ({"max_epochs": {"elsewhere": 1.0}}, "elsewhere not among the domains"),
        ({"mixture": {}}, "no domains"),
        ({"tokens": 100}, "whole number of batches"),
        ({"batch_tokens": 40, "tokens": 400}, "no multiple of the context"),
        ({"budgets": (64, 128)}, "end with tokens"),
        ({"budgets": (1024,)}, "at least 8"),
        ({"kind": "proxy"}, "needs the run id of its base"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"extra": 1}, "extra"),
    ],
)
def test_specs_that_make_no_sense_are_refused(store: MemoryStore, changes: dict, message: str) -> None:
    if "tokens" in changes and "budgets" not in changes:
        changes = {**changes, "budgets": (changes["tokens"],)}
    with pytest.raises((ValidationError, MixlawError), match=message):
        proxy_spec(store, **changes)


def test_the_identity_of_a_run_is_what_determines_it(store: MemoryStore) -> None:
    spec = proxy_spec(store)
    assert len(spec.run_id) == 16
    assert ProxySpec.model_validate_json(spec.model_dump_json()).run_id == spec.run_id
    assert proxy_spec(store, mixture={"general": 1.0, "target": 0.0}).run_id == spec.run_id
    # A cap refuses a run or lets it be; what is trained is the same.
    assert proxy_spec(store, max_epochs={"general": 2.0}).run_id == spec.run_id
    others = [
        {"seed": 2}, {"study_seed": 8}, {"learning_rate": 1e-3}, {"heldout_windows": 9},
        {"mixture": {"target": 1.0}}, {"weight_decay": 0.0},
    ]  # fmt: skip
    assert len({spec.run_id, *(proxy_spec(store, **other).run_id for other in others)}) == len(others) + 1


@given(steps=st.integers(1, 5000), n=st.integers(8, 20))
def test_budgets_are_log_spaced_whole_batches(steps: int, n: int) -> None:
    budgets = np.array(log_budgets(steps * 64, 64, n))
    assert len(budgets) == min(n, steps)
    assert (budgets % 64 == 0).all()
    assert (np.diff(budgets) > 0).all()
    assert budgets[0] >= 64
    assert budgets[-1] == steps * 64
    if steps >= 2000:
        ratios = budgets[1:] / budgets[:-1]
        assert ratios.max() / ratios.min() < 1.1
