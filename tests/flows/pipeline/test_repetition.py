"""Proxies repeat scarce text as often as the run that the mix is for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flows.pipeline.plan import make_plan
from flows.study.models import Study
from proxies.data.sampler import Sampler, check_epochs, pool
from proxies.runs.store import done
from proxies.spec import ProxySpec
from proxies.train import train
from tests.flows.study.short_study import GOOD, load
from tests.proxies.memory_store import memory_store, proxy_spec

HERE = {"docs": 3_000_000, "python": 1_000_000}


def study(tmp_path: Path, python: str = "supply: 2B,", more: str = "") -> Study:
    text = GOOD.replace("role: target,", f"role: target, {python}").replace(
        "tokens: 0.5M,", f"tokens: 0.5M, {more}"
    )
    return load(tmp_path, text + "spec: {total_tokens: 10B}\n")


def test_a_pool_is_to_the_proxy_what_the_supply_is_to_the_target_run(tmp_path: Path) -> None:
    plan = make_plan(study(tmp_path), HERE)
    for run in plan.of_kind("proxy"):
        assert run.target_share is not None
        assert run.pools == {"python": round(2e9 * run.tokens / 10e9)}
        # share x 10B / 2B
        assert run.epochs["python"] == pytest.approx(5 * run.target_share, rel=1e-4)
        assert not run.over
    assert plan.of_kind("base")[0].pools == {}
    assert plan.of_kind("confirmation")[0].pools == plan.of_kind("proxy")[0].pools


def test_it_is_matched_where_the_file_says_so_or_what_is_here_is_not_all(tmp_path: Path) -> None:
    def pools(there: Study, supply: dict[str, int] = HERE, here: dict[str, int] = HERE) -> dict[str, int]:
        return make_plan(there, supply, here=here).of_kind("proxy")[0].pools

    assert pools(study(tmp_path, "")) == {}, "a study that ran before keeps its runs"
    assert set(pools(study(tmp_path, "", "match_repetition: true,"))) == {"docs", "python"}
    assert pools(study(tmp_path, more="match_repetition: false,")) == {}
    sampled = {"docs": 6_000_000_000, "python": 1_000_000}
    assert set(pools(study(tmp_path, ""), sampled)) == {"docs"}
    assert pools(study(tmp_path, "supply: 1.2T,")) == {}, "so much text is not repeated"
    plain, matched = study(tmp_path, ""), study(tmp_path, more="match_repetition: false,")
    assert plain.identity != matched.identity


def test_shares_that_the_target_run_may_not_have_are_named(tmp_path: Path) -> None:
    plan = make_plan(study(tmp_path, "supply: 1B,"), HERE)
    assert any(
        "repeats python 5.0 times, as the target run would; above its max_epochs 3" in w
        for w in plan.warnings
    )
    short = make_plan(study(tmp_path, "supply: 1.2T,"), {"docs": 3_000_000, "python": 50_000})
    assert any("and the target run would 0.0042 times: read more of it" in w for w in short.warnings)


def matched_spec(**changes: object) -> ProxySpec:
    store = memory_store(train_tokens=16 * 400)
    shares = {"general": 0.5, "target": 0.5}
    return proxy_spec(store, mixture=shares, pools={"target": 8}, **changes)


def test_a_run_reads_its_pool_and_nothing_else_as_often_as_planned() -> None:
    store, spec = memory_store(train_tokens=16 * 400), matched_spec()
    sampler = Sampler.of(spec, store)
    read = sampler.window_mb[sampler.domain_mb == 1]
    windows = store.domains["target"].train.n_windows(spec.context)
    assert set(read) == set(pool(spec, "target", windows))
    assert len(set(read)) == 8
    slots = spec.steps * spec.batch_windows
    assert sampler.epochs()["target"] == pytest.approx(0.5 * slots / 8, abs=2 / 8)
    assert check_epochs(spec, {"general": 400, "target": windows})["target"] == pytest.approx(slots / 16)
    # All mixtures and lengths of a study have the same pool, and a smaller one is part of a larger one.
    other = spec.model_copy(update={"mixture": {"general": 0.9, "target": 0.1}, "pools": {"target": 5}})
    assert set(pool(other, "target", windows)) < set(pool(spec, "target", windows))
    # The general domain, which is not matched, reads what it always did.
    plain = Sampler.of(spec.model_copy(update={"pools": {}}), store)
    general = sampler.domain_mb == 0
    np.testing.assert_array_equal(sampler.window_mb[general], plain.window_mb[general])
    assert spec.model_copy(update={"pools": {}}).run_id != spec.run_id


def test_a_finished_run_says_how_often_it_read_each_domain(tmp_path: Path) -> None:
    store, spec = memory_store(train_tokens=16 * 400), matched_spec()
    train(spec, tmp_path / spec.run_id, store)
    record = done(tmp_path / spec.run_id)
    assert record is not None
    assert record["epochs"] == Sampler.of(spec, store).epochs()
    assert record["epochs"]["target"] == pytest.approx(4.0, abs=0.25)
