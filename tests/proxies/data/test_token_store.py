"""The token store, and Megatron's own reader and builder on the same bytes."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

import proxies.data.encode
import proxies.data.tokenise
from mixing.corpora.catalog import scan, with_tokens
from mixing.corpora.documents import Source, documents, is_heldout
from mixing.corpora.files import folder_name
from proxies.data.encode import Encoder
from proxies.data.token_store import TokenSplit, TokenStore
from proxies.data.tokenizer import EOS, load_tokenizer, tokenizer_hash, train_bpe
from tests.proxies.data.small_corpora import FRACTION, contents, corpus, rebuild, stamps, texts


@pytest.fixture
def store(sources: list[Source], tokenizer: Path, tmp_path: Path) -> TokenStore:
    return rebuild(sources, tokenizer, tmp_path / "tokens")


class TestEncoder:
    def test_threads_and_pieces_do_not_change_the_tokens(
        self, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        some = (
            ["\n".join(texts(60, seed)) for seed in range(5)]
            + texts(20)
            + ["x\n\n y\r\nz \n" * 500, "a" * 9000]
        )
        loaded = load_tokenizer(tokenizer)
        expected = [[*e.ids, 5] for e in loaded.encode_batch(some, add_special_tokens=False)]
        monkeypatch.setattr(proxies.data.encode, "BATCH_CHARACTERS", 700)
        for threads, piece in ((1, 1 << 20), (2, 1 << 20), (2, 5000)):
            monkeypatch.setattr(proxies.data.encode, "PIECE_CHARACTERS", piece)
            parts: list[float] = []
            with Encoder(loaded, 5, np.dtype("<u2"), threads) as encoder:
                tokens, lengths = encoder.encode(some[:-1], parts.append)
            assert tokens.tolist() == list(itertools.chain(*expected[:-1]))
            assert lengths.tolist() == [len(ids) for ids in expected[:-1]]
            assert parts == sorted(parts)
            assert parts[-1] == 1
        with Encoder(loaded, 5, np.dtype("<u2"), 1) as encoder:
            tokens, lengths = encoder.encode(some[-1:])
        assert loaded.decode(tokens[:-1].tolist()) == some[-1], "cut within a line, but nothing is lost"

    @settings(max_examples=100, deadline=None)
    @given(text=st.text(st.sampled_from("ab \n\r\t.ß"), max_size=200), piece=st.integers(1, 40))
    def test_pieces_are_the_text(self, text: str, piece: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(proxies.data.encode, "PIECE_CHARACTERS", piece)
            pieces = list(proxies.data.encode._pieces(text))
        assert "".join(part for part, _ in pieces) == text
        assert [ends for _, ends in pieces] == [False] * (len(pieces) - 1) + [True]

    def test_the_environment_is_put_back(self, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for value in (None, "true"):
            monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
            if value:
                monkeypatch.setenv("TOKENIZERS_PARALLELISM", value)
            with Encoder(load_tokenizer(tokenizer), 0, np.dtype("<u2"), 1):
                assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
            assert os.environ.get("TOKENIZERS_PARALLELISM") == value


class TestStore:
    def test_what_it_says_of_itself(self, store: TokenStore, sources: list[Source], tokenizer: Path) -> None:
        loaded = load_tokenizer(tokenizer)
        assert (store.tokenizer_hash, store.vocab_size) == (tokenizer_hash(tokenizer), 400)
        assert (store.dtype, store.eos_id) == ("uint16", loaded.token_to_id(EOS))
        assert list(store.domains) == ["docs", "code"]
        for source in sources:
            domain = store.domains[source.name]
            counts = {False: [0, 0], True: [0, 0]}
            for document in documents(source):
                held = counts[is_heldout(document.digest, FRACTION)]
                held[0] += 1
                held[1] += len(loaded.encode(document.text, add_special_tokens=False).ids) + 1
            assert [domain.train.documents, domain.train.tokens] == counts[False]
            assert [domain.heldout.documents, domain.heldout.tokens] == counts[True]
            assert domain.train.mean_tokens_per_document == counts[False][1] / counts[False][0]
            assert len(domain.train.shards) > 2
            assert domain.train.shards[0] == f"{source.name}/train-00000"
            assert store.tokens[source.name] == domain.tokens
        assert len({*store.fingerprints.values(), store.domains["docs"].train.fingerprint}) == 3
        assert (
            with_tokens(scan(sources, FRACTION), store.tokens)["docs"].tokens == store.domains["docs"].tokens
        )

    def test_the_manifest_holds_what_was_promised(self, store: TokenStore) -> None:
        manifest = json.loads((store.path / "manifest.json").read_text())
        shard = manifest["domains"]["code"]["train"]["shards"][0]
        content = (store.path / f"{shard['prefix']}.bin").read_bytes()
        assert hashlib.sha256(content).hexdigest() == shard["bin_sha256"]
        assert shard["tokens"] * 2 == len(content)
        assert manifest["recipe"]["tokenizer_hash"] == store.tokenizer_hash

    def test_a_large_vocabulary_is_int32(self, sources: list[Source], tmp_path: Path) -> None:
        vocabulary = {"<unk>": 0, EOS: 1, "the": 70_000}
        words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        words.save(str(tmp_path / "tokenizer.json"))
        store = rebuild(sources, tmp_path, tmp_path / "tokens")
        assert (store.dtype, store.vocab_size) == ("int32", 70_001)
        assert store.domains["docs"].train.windows(np.arange(20), 16).max() == 70_000

    def test_no_document_is_on_both_sides_of_any_domain(self, tmp_path: Path, tokenizer: Path) -> None:
        shared = texts(120)
        both = [
            corpus(tmp_path / "a", [*shared, *shared]),
            corpus(tmp_path / "b", [*shared[60:], *texts(50, 1)]),
        ]
        store = rebuild(both, tokenizer, tmp_path / "tokens")
        sides: dict[str, set[tuple[int, ...]]] = {"train": set(), "heldout": set()}
        for domain in store.domains.values():
            for side, split in (("train", domain.train), ("heldout", domain.heldout)):
                for array in split._arrays:
                    ends = np.flatnonzero(array == store.eos_id) + 1
                    sides[side] |= {tuple(part.tolist()) for part in np.split(array, ends[:-1])}
        assert len(sides["heldout"]) > 10
        assert sides["train"].isdisjoint(sides["heldout"])

    def test_threads_and_another_place_give_the_same_bytes(
        self, store: TokenStore, sources: list[Source], tokenizer: Path, tmp_path: Path
    ) -> None:
        other = rebuild(sources, tokenizer, tmp_path / "other", threads=1)
        assert contents(other.path) == contents(store.path)
        assert other.fingerprints == store.fingerprints

    def test_a_second_build_reads_no_text(
        self, store: TokenStore, sources: list[Source], tokenizer: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = stamps(store.path)
        monkeypatch.setattr(proxies.data.tokenise, "contents", None)
        assert rebuild(sources, tokenizer, store.path) == store
        assert stamps(store.path) == before

    def test_touched_files_are_read_but_not_encoded(
        self, store: TokenStore, sources: list[Source], tokenizer: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.utime(sources[0].paths[0] / "a.jsonl", ns=(0, 0))
        monkeypatch.setattr(Encoder, "encode", None)
        again = rebuild(sources, tokenizer, store.path)
        assert again.fingerprints == store.fingerprints
        assert again.manifest != store.manifest

    def test_added_text_changes_the_last_shards_only(
        self, store: TokenStore, sources: list[Source], tokenizer: Path
    ) -> None:
        before = stamps(store.path / "docs")
        corpus(sources[0].paths[0], texts(50, 5), "b.jsonl")
        more = rebuild(sources, tokenizer, store.path)
        after = stamps(store.path / "docs")
        kept = [name for name in before if after[name] == before[name]]
        changed = [name for name in before if after[name] != before[name]]
        assert len(kept) > len(changed) > 0
        assert more.fingerprints["docs"] != store.fingerprints["docs"]
        assert more.fingerprints["code"] == store.fingerprints["code"]
        old, new = store.domains["docs"].heldout, more.domains["docs"].heldout
        assert new.documents > old.documents

    def test_changed_text_is_never_used_as_it_was(
        self, store: TokenStore, sources: list[Source], tokenizer: Path, tmp_path: Path
    ) -> None:
        corpus(sources[0].paths[0], texts(40, 9))
        changed = rebuild(sources, tokenizer, store.path)
        assert contents(changed.path) == contents(rebuild(sources, tokenizer, tmp_path / "fresh").path)
        assert len(changed.domains["docs"].train.shards) < len(store.domains["docs"].train.shards)

    @pytest.mark.parametrize("option", ["tokenizer", "heldout_fraction", "shard_bytes", "eos"])
    def test_another_recipe_is_another_store(
        self, store: TokenStore, sources: list[Source], tokenizer: Path, tmp_path: Path, option: str
    ) -> None:
        other = tokenizer
        options: dict[str, object] = {"heldout_fraction": 0.3, "shard_bytes": 9000, "eos": "a"}
        if option == "tokenizer":
            other = tmp_path / "other.json"
            train_bpe(texts(200, 2), 350, other)
        chosen = {name: value for name, value in options.items() if name == option}
        changed = rebuild(sources, other, store.path, **chosen)
        assert contents(changed.path) == contents(rebuild(sources, other, tmp_path / "fresh", **chosen).path)
        assert changed.fingerprints != store.fingerprints
        TokenStore.open(store.path)

    def test_a_domain_that_is_left_out_or_added(
        self, store: TokenStore, sources: list[Source], tokenizer: Path
    ) -> None:
        assert list(rebuild(sources[1:], tokenizer, store.path).domains) == ["code"]
        again = rebuild(sources, tokenizer, store.path)
        assert again.fingerprints == store.fingerprints

    def test_progress_ends_at_the_total(
        self, sources: list[Source], tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mixing.corpora.progress.SECONDS_BETWEEN_REPORTS", 0)
        total = sum(path.stat().st_size for source in sources for path in source.paths[0].iterdir())
        reports: list[tuple[int, int]] = []
        for _ in range(2):
            rebuild(sources, tokenizer, tmp_path / "t", on_progress=lambda *report: reports.append(report))
            assert reports == sorted(reports)
            assert reports[-1] == (total, total)
            reports.clear()

    @pytest.mark.parametrize("name", ["日本語", "a/b", "..", "", "with blank", "x" * 300, "ok-1_B"])
    def test_names_become_safe_folders(self, name: str, tmp_path: Path) -> None:
        folder = folder_name(name)
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", folder)
        assert (folder == name) == (name == "ok-1_B")

    def test_unicode_names(self, tmp_path: Path, tokenizer: Path) -> None:
        source = corpus(tmp_path / "Überblick 日本", texts(60))
        store = rebuild([source], tokenizer, tmp_path / "tokens")
        assert list(TokenStore.open(store.path).domains) == ["Überblick 日本"]
        assert store.domains["Überblick 日本"].train.n_windows(16) > 10


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> TokenSplit:
    root = tmp_path_factory.mktemp("windows")
    source = corpus(root / "docs", ["x", *texts(150), "y" * 25_000])
    return rebuild([source], tokenizer, root / "tokens", shard_bytes=5000).domains["docs"].train


class TestWindows:
    @settings(max_examples=60, deadline=None)
    @given(data=st.data(), context=st.integers(1, 700))
    def test_they_are_slices_of_the_shards(
        self, split: TokenSplit, data: st.DataObject, context: int
    ) -> None:
        windows = [
            np.asarray(array[start : start + context + 1], dtype=np.int64)
            for array in split._arrays
            for start in range(0, len(array) - context, context)
        ]
        assert split.n_windows(context) == len(windows)
        if not windows:
            return
        ids = data.draw(st.lists(st.integers(0, len(windows) - 1), max_size=40))
        got = split.windows(np.array(ids, dtype=np.int64), context)
        assert got.shape == (len(ids), context + 1)
        assert got.dtype == np.int64
        for row, i in zip(got, ids, strict=True):
            assert np.array_equal(row, windows[i])

    @pytest.mark.parametrize("context", [1, 16, 64, 700])
    def test_their_document_holds_the_middle_token(self, split: TokenSplit, context: int) -> None:
        """Documents end with their end-of-document token, and are counted through the shards."""
        assert len(split._arrays) > 2
        expected, before = [], 0
        for array, shard in zip(split._arrays, split.entry.shards, strict=True):
            ended_t = np.cumsum(array == split.recipe.eos_id)
            assert ended_t[-1] == shard.documents
            middles = range(context // 2, len(array) - context + context // 2, context)
            ends = array == split.recipe.eos_id
            expected += [before + int(ended_t[middle] - ends[middle]) for middle in middles]
            before += shard.documents
        ids = np.arange(split.n_windows(context))
        assert split.documents_of(ids, context).tolist() == expected
        assert split.documents_of(ids[::-3], context).tolist() == expected[::-3]

    def test_a_window_that_is_not_there(self, split: TokenSplit) -> None:
        for wrong in (-1, split.n_windows(64)):
            with pytest.raises(IndexError):
                split.windows(np.array([0, wrong]), 64)
        assert split.n_windows(10**9) == 0
        with pytest.raises(ValueError, match="context"):
            split.n_windows(0)
