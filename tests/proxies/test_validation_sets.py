"""Validation sets of a study's own: stored whole, and the same windows for every run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mixing.corpora.catalog import Catalog, scan
from mixing.corpora.documents import Source
from mixing.errors import InputError
from proxies.data.token_store import TokenStore
from proxies.data.tokenizer import train_bpe
from proxies.evaluate import heldout_windows
from proxies.train import train
from tests.proxies.data.small_corpora import corpus, rebuild, stamps, texts
from tests.proxies.memory_store import MemoryStore, memory_store, proxy_spec


@pytest.fixture
def store() -> MemoryStore:
    plain = memory_store()
    return replace(plain, evals={"own": plain.domains["target"].heldout})


def test_they_are_stored_whole_and_only_redone_when_they_change(tmp_path: Path) -> None:
    tokenizer = tmp_path / "tokenizer.json"
    train_bpe(texts(40), 300, tokenizer)
    sources = [corpus(tmp_path / name, texts(60, seed)) for seed, name in enumerate(("docs", "code"))]
    own = corpus(tmp_path / "中文", texts(30, 9))
    plain = rebuild(sources, tokenizer, tmp_path / "tokens")
    before = stamps(tmp_path / "tokens")
    store = rebuild(sources, tokenizer, tmp_path / "tokens", evals=[own])
    assert store.fingerprints == plain.fingerprints, "the domains' runs stay what they are"
    assert (store.evals["中文"].documents, list(store.domains)) == (30, ["docs", "code"])
    after = stamps(tmp_path / "tokens")
    assert {path: after[path] for path in before if path != "manifest.json"} == {
        path: stamp for path, stamp in before.items() if path != "manifest.json"
    }
    assert rebuild(sources, tokenizer, tmp_path / "tokens", evals=[own]) == store
    assert stamps(tmp_path / "tokens") == after
    assert TokenStore.open(tmp_path / "tokens").evals["中文"].fingerprint == store.evals["中文"].fingerprint
    corpus(tmp_path / "中文", texts(31, 9))
    assert rebuild(sources, tokenizer, tmp_path / "tokens", evals=[own]).evals["中文"].documents == 31


def test_the_catalogue_counts_them_and_says_what_a_domain_holds_of_them(tmp_path: Path) -> None:
    docs = corpus(tmp_path / "docs", texts(60))
    own = corpus(tmp_path / "own", texts(20, 5) + texts(3))
    catalog = scan([docs], 0.2, evals=[own])
    assert [entry.documents for entry in (*catalog.domains, *catalog.evals)] == [60, 23]
    assert catalog.evals[0].heldout_documents == 23
    assert "validation set 'own': 3 of its 23 documents are in docs too" in catalog.warnings()[0]
    assert Catalog.from_json(catalog.to_json()) == catalog
    assert scan([docs], 0.2, evals=[own], previous=catalog) is catalog
    with pytest.raises(InputError, match="two domains are called"):
        scan([docs], 0.2, evals=[Source("docs", "general", (tmp_path / "own",))])


def test_every_run_sees_the_same_windows_of_them(store: MemoryStore) -> None:
    spec = proxy_spec(store, evals={"own": store.evals["own"].fingerprint}, heldout_windows=6)
    windows = heldout_windows(spec, store)
    assert list(windows) == ["general", "target", "own"]
    assert len(windows["own"].id_w) == 6
    other = spec.model_copy(update={"kind": "proxy", "heldout": "confirmation", "base": "0" * 16})
    assert np.array_equal(heldout_windows(other, store)["own"].id_w, windows["own"].id_w)
    more = heldout_windows(spec.model_copy(update={"final_windows": 20}), store)["own"]
    assert (len(more.id_w), int(more.few_w.sum())) == (20, 6)


def test_a_run_without_them_keeps_its_identity(store: MemoryStore) -> None:
    plain = proxy_spec(store)
    assert proxy_spec(store, evals={}).run_id == plain.run_id
    assert proxy_spec(store, evals={"own": "x"}).run_id != plain.run_id
    with pytest.raises(ValueError, match="evals: target is also a domain"):
        proxy_spec(store, evals={"target": "x"})


def test_losses_are_measured_on_them_at_every_budget(store: MemoryStore, tmp_path: Path) -> None:
    import polars as pl

    spec = proxy_spec(store, evals={"own": store.evals["own"].fingerprint})
    train(spec, tmp_path / spec.run_id, store)
    rows = pl.read_parquet(tmp_path / spec.run_id / "pretraining.parquet").filter(pl.col("eval") == "own")
    assert tuple(rows["tokens"]) == spec.budgets
    other = spec.model_copy(update={"evals": {"own": "another"}})
    with pytest.raises(InputError, match="tokens of validation set 'own' are not those"):
        train(other, tmp_path / "other", store)
