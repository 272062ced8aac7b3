"""The sampler: exact shares, coupled mixtures, epochs that are counted and capped."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mixing.errors import InputError, MixlawError
from proxies.data.sampler import (
    GOLDEN,
    MAX_DEVIATION,
    Sampler,
    assign,
    candidates,
    check_epochs,
    heldout_ids,
    uniforms,
)
from proxies.spec import log_budgets
from tests.proxies.memory_store import MemorySplit, memory_store, proxy_spec

GENERAL_OF_7 = [8, 19, 21, 28, 35, 37, 59, 75, 92, 99]

STREAM = (7, 0, 1)


def deviation(shares_d: np.ndarray, taken_mb: np.ndarray) -> float:
    """The most windows that a domain is off its share at any whole batch."""
    batches, size = taken_mb.shape
    counts = np.stack([(taken_mb == domain).sum(axis=1) for domain in range(len(shares_d))], axis=1)
    target = np.arange(1, batches + 1)[:, None] * size * shares_d
    return float(np.abs(np.cumsum(counts, axis=0) - target).max())


def extreme_discrepancy(v_m: np.ndarray) -> np.ndarray:
    """Exact: after each point, the most points that any interval of the circle has too many or too few."""
    found = []
    for count in range(1, len(v_m) + 1):
        excess = np.arange(count) - count * np.sort(v_m[:count])
        found.append(excess.max() + 1 - excess.min())
    return np.array(found)


@st.composite
def shares(draw: st.DrawFn) -> np.ndarray:
    """1 to 19 domains, some with tiny shares and some with none."""
    weights = draw(
        st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1), st.floats(0.5, 1)), min_size=1, max_size=19)
    )
    if sum(weights) == 0:
        weights[0] = 1.0
    return np.array(weights) / sum(weights)


@given(shares(), st.sampled_from([1, 2, 3, 8, 16, 37]), st.integers(0, 2**31), st.sampled_from([1, 40, 400]))
@example(np.array([0.5, 0.5]), 1, 0, 400)
@example(np.full(19, 1 / 19), 1, 0, 400)
@settings(max_examples=150, deadline=None)
def test_every_whole_batch_holds_the_asked_shares(
    shares_d: np.ndarray, size: int, seed: int, batches: int
) -> None:
    taken = assign(shares_d, uniforms((seed, 0, 1), batches, size))
    assert deviation(shares_d, taken) <= MAX_DEVIATION + 1e-9
    assert not np.isin(taken, np.flatnonzero(shares_d == 0)).any()


@pytest.mark.parametrize("domains", [2, 3, 7, 19])
def test_the_bound_holds_over_ten_thousand_batches_with_few_corrections(domains: int) -> None:
    shares_d = np.random.default_rng(domains).dirichlet(np.ones(domains))
    u_mb = uniforms(STREAM, 10_000, 16)
    taken = assign(shares_d, u_mb)
    assert deviation(shares_d, taken) <= MAX_DEVIATION
    drawn = np.searchsorted(np.cumsum(shares_d), u_mb, side="right")
    assert (drawn != taken).mean() < 1e-3


def test_the_bound_holds_for_shares_that_are_hard() -> None:
    """Many tiny domains: correcting only what is already two windows off would come too late for some."""
    rng = np.random.default_rng(5)
    for seed in range(60):
        shares_d = rng.dirichlet(np.full(30, 0.05))
        assert deviation(shares_d, assign(shares_d, uniforms((seed, 0, 1), 800, 4))) <= MAX_DEVIATION


def test_uniforms_alone_would_not_do() -> None:
    """The figures of the module's docstring, by exact search over all intervals (two edges of a domain)."""
    worst = np.maximum.accumulate(extreme_discrepancy(GOLDEN * np.arange(500) % 1))
    assert int((worst > 2).argmax()) + 1 in range(10, 20)
    assert worst[-1] == pytest.approx(3.5, abs=0.1)


def test_uniforms_are_stratified_and_a_shorter_run_sees_their_start() -> None:
    long, short = uniforms(STREAM, 50, 8), uniforms(STREAM, 20, 8)
    np.testing.assert_array_equal(long[:20], short)
    assert ((long >= 0) & (long < 1)).all()
    np.testing.assert_array_equal(np.sort((long * 8).astype(int), axis=1), np.tile(np.arange(8), (50, 1)))
    assert not np.array_equal(long, uniforms((8, 0, 1), 50, 8))


def test_a_domain_offers_every_window_once_per_epoch() -> None:
    first, second = (
        candidates(STREAM, "general", np.arange(epoch * 10, (epoch + 1) * 10), 10) for epoch in (0, 1)
    )
    assert sorted(first) == sorted(second) == list(range(10))
    assert not np.array_equal(first, second)
    some = np.array([13, 2, 7, 19])
    np.testing.assert_array_equal(
        candidates(STREAM, "general", some, 10), np.concatenate([first, second])[some]
    )


def test_mixtures_share_slots_and_candidate_windows() -> None:
    store = memory_store(train_tokens=65536)
    tokens = 200 * 64
    changes = {"kind": "proxy", "base": "b" * 16, "tokens": tokens, "budgets": log_budgets(tokens, 64)}
    low, high = (
        Sampler.of(proxy_spec(store, mixture={"general": 1 - share, "target": share}, **changes), store)
        for share in (0.3, 0.4)
    )
    same = low.domain_mb == high.domain_mb
    assert 1 - same.mean() == pytest.approx(0.1, abs=0.01)
    # Where they differ the higher share took the target, and where they agree they read the same window.
    assert (high.domain_mb[~same] == 1).all()
    np.testing.assert_array_equal(low.window_mb[same], high.window_mb[same])


def test_coupling_cuts_the_variance_of_differences() -> None:
    """With a value per window for a loss, the difference of two mixtures varies far less than uncoupled."""
    value = np.random.default_rng(0).normal(size=(2, 4096))
    shares_high, shares_low = np.array([0.6, 0.4]), np.array([0.7, 0.3])

    def mean(shares_d: np.ndarray, seed: int) -> float:
        taken = assign(shares_d, uniforms((seed, 0, 1), 100, 16)).ravel()
        windows = np.stack([candidates((seed, 0, 1), name, np.arange(1600), 4096) for name in "ab"])
        return float(value[taken, windows[taken, np.arange(1600)]].mean())

    coupled = [mean(shares_high, seed) - mean(shares_low, seed) for seed in range(60)]
    uncoupled = [mean(shares_high, seed) - mean(shares_low, seed + 1000) for seed in range(60)]
    assert np.var(uncoupled) > 5 * np.var(coupled)


def test_a_batch_is_a_function_of_spec_and_step() -> None:
    store = memory_store()
    spec = proxy_spec(store, mixture={"general": 0.5, "target": 0.5})
    one, other = Sampler.of(spec, store), Sampler.of(spec, store)
    for step in (5, 0, 15):
        np.testing.assert_array_equal(one.batch(step), other.batch(step))
    assert one.batch(3).shape == (4, 17)
    row, slot = one.batch(2)[1], (2, 1)
    split = store.domains[one.domains[one.domain_mb[slot]]].train
    np.testing.assert_array_equal(row, split.windows(np.array([one.window_mb[slot]]), 16)[0])


def test_order_of_the_mixture_is_irrelevant() -> None:
    store = memory_store()
    one = proxy_spec(store, mixture={"general": 0.25, "target": 0.75})
    other = proxy_spec(store, mixture={"target": 0.75, "general": 0.25})
    assert one.run_id == other.run_id
    np.testing.assert_array_equal(Sampler.of(one, store).batch(1), Sampler.of(other, store).batch(1))


def test_seed_and_kind_change_the_stream_but_the_heldout_windows_stay() -> None:
    store = memory_store()
    mixture = {"general": 0.5, "target": 0.5}
    spec = proxy_spec(store, kind="proxy", base="b" * 16, mixture=mixture)
    for other in (
        proxy_spec(store, kind="proxy", base="b" * 16, mixture=mixture, seed=2),
        proxy_spec(store, mixture=mixture),
    ):
        assert not np.array_equal(Sampler.of(spec, store).window_mb, Sampler.of(other, store).window_mb)
    text = heldout_text(64)
    assert np.array_equal(heldout_ids(spec, "general", text).final, heldout_ids(other, "general", text).final)


def heldout_text(windows: int) -> MemorySplit:
    """Text of so many windows, two to a document."""
    return MemorySplit(np.zeros(windows * 16 + 1, dtype=np.uint16))


def test_heldout_windows_are_drawn_by_study_and_domain() -> None:
    spec, text = proxy_spec(memory_store(), study_seed=7, heldout_windows=10), heldout_text(100)
    ids = heldout_ids(spec, "general", text)
    # As version 0.1.0 drew them: its runs keep their windows.
    assert ids.final.tolist() == GENERAL_OF_7
    assert np.array_equal(ids.final, ids.few)
    assert not np.array_equal(ids.final, heldout_ids(spec, "target", text).final)
    np.testing.assert_array_equal(heldout_ids(spec, "general", heldout_text(4)).final, np.arange(4))


def test_the_few_windows_are_some_of_the_many_and_a_confirmation_has_other_documents() -> None:
    store = memory_store()
    spec = proxy_spec(store, kind="proxy", base="b" * 16, mixture={"target": 1.0}, final_windows=60)
    ids = heldout_ids(spec, "general", heldout_text(100))
    assert (len(ids.few), len(ids.final)) == (8, 60)
    assert set(ids.few) < set(ids.final)
    others = heldout_ids(spec.model_copy(update={"heldout": "confirmation"}), "general", heldout_text(100))
    # A third of the text is kept, in whole documents, and what the swarm's draw left untouched.
    assert 32 <= len(others.final) <= 40
    assert not set(others.final // 2) & set(ids.final // 2)
    assert len(heldout_ids(spec, "general", heldout_text(30)).final) == 20


def test_a_confirmation_has_no_windows_where_the_swarm_is_measured_on_every_document() -> None:
    store = memory_store()
    fields = {"kind": "proxy", "base": "b" * 16, "mixture": {"target": 1.0}, "heldout": "confirmation"}
    assert len(heldout_ids(proxy_spec(store, **fields), "general", heldout_text(8)).final) == 0
    # One document: nothing is kept, and the swarm has it all.
    one = proxy_spec(store, **fields, final_windows=60)
    assert len(heldout_ids(one, "general", heldout_text(2)).final) == 0
    swarm = one.model_copy(update={"heldout": "swarm"})
    assert len(heldout_ids(swarm, "general", heldout_text(2)).final) == 2


def test_epochs_are_counted_and_capped() -> None:
    store = memory_store(train_tokens=320)  # 19 windows of 16
    spec = proxy_spec(
        store, mixture={"general": 0.5, "target": 0.5}, tokens=32 * 64, budgets=log_budgets(2048, 64)
    )
    epochs = Sampler.of(spec, store).epochs()
    assert epochs == pytest.approx({"general": 64 / 19, "target": 64 / 19}, abs=2 / 19)
    assert check_epochs(spec, {"general": 19, "target": 19}) == pytest.approx(epochs, abs=2 / 19)
    capped = spec.model_copy(update={"max_epochs": {"target": 3.0}})
    with pytest.raises(
        InputError, match=r"domain 'target': .*reads it 3\.4 times, over its max_epochs 3"
    ) as error:
        Sampler.of(capped, store)
    assert "raise its max_epochs" in error.value.hint


def test_a_domain_without_a_window_is_refused_only_where_it_is_asked_for() -> None:
    store = memory_store()
    short = replace(
        store.domains["target"], train=type(store.domains["target"].train)(np.zeros(3, np.uint16))
    )
    store.domains["target"] = short
    assert Sampler.of(proxy_spec(store), store).epochs()["general"] > 0
    with pytest.raises(InputError, match="'target': its training text holds no window of 16 tokens"):
        Sampler.of(proxy_spec(store, mixture={"general": 0.9, "target": 0.1}), store)


def test_shares_that_cannot_be_held_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No such shares were found; the promise must not rest on that."""
    monkeypatch.setattr("proxies.data.sampler._correct", lambda *arguments: False)
    with pytest.raises(MixlawError, match="can't hold shares"):
        assign(np.array([0.9, 0.1]), uniforms(STREAM, 4, 4))


def test_gathering_is_far_faster_than_training() -> None:
    store = memory_store(train_tokens=2_000_000)
    spec = proxy_spec(
        store, mixture={"general": 0.5, "target": 0.5}, context=128, batch_tokens=2048,
        tokens=300 * 2048, budgets=log_budgets(300 * 2048, 2048),
    )  # fmt: skip
    sampler = Sampler.of(spec, store)
    best = min(_seconds(sampler) for _ in range(3))
    assert spec.tokens / best > 5e6  # tens of millions on an idle core


def _seconds(sampler: Sampler) -> float:
    started = time.perf_counter()
    for step in range(sampler.spec.steps):
        sampler.batch(step)
    return time.perf_counter() - started


def test_fields_of_later_versions_change_no_identity_unless_they_are_used() -> None:
    store = memory_store()
    spec = proxy_spec(store, kind="proxy", base="b" * 16, mixture={"target": 1.0})
    assert spec.run_id == "392b7dacf9d39f71"
    changes: tuple[dict[str, Any], ...] = ({"final_windows": 8}, {"heldout": "confirmation"})
    others = [
        proxy_spec(store, kind="proxy", base="b" * 16, mixture={"target": 1.0}, **change)
        for change in changes
    ]
    assert len({spec.run_id, *(other.run_id for other in others)}) == 3
