"""Our token files are byte for byte those of megatron-core's own writer, and its reader reads a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixing.corpora.documents import Source, documents, is_heldout
from mixing.corpora.token_files import TokenFiles, token_documents
from proxies.data.megatron_files import index_bytes, index_size, token_dtype
from proxies.data.token_store import TokenStore
from proxies.data.tokenizer import load_tokenizer
from tests.mixing.corpora.test_token_files import EOS, VOCABULARY, built, ended, ids, source
from tests.proxies.data.small_corpora import FRACTION, rebuild

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def text_store(sources: list[Source], tokenizer: Path, tmp_path: Path) -> TokenStore:
    return rebuild(sources, tokenizer, tmp_path / "tokens")


class TestMegatron:
    @pytest.mark.parametrize("vocab_size", [400, 65_536, 65_537, 150_000])
    def test_the_bytes_are_those_of_its_own_builder(self, tmp_path: Path, vocab_size: int) -> None:
        torch = pytest.importorskip("torch")
        indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
        rng = np.random.default_rng(vocab_size)
        lengths = rng.integers(1, 300, size=50)
        tokens = rng.integers(0, vocab_size, size=lengths.sum()).astype(token_dtype(vocab_size))
        builder = indexed.IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), tokens.dtype.type)
        for document in np.split(tokens.astype(np.int64), np.cumsum(lengths)[:-1]):
            builder.add_document(torch.from_numpy(document), [len(document)])
        builder.finalize(str(tmp_path / "theirs.idx"))
        assert tokens.tobytes() == (tmp_path / "theirs.bin").read_bytes()
        assert index_bytes(lengths, tokens.dtype) == (tmp_path / "theirs.idx").read_bytes()
        assert index_size(len(lengths)) == (tmp_path / "theirs.idx").stat().st_size

    def test_its_reader_reads_a_store(
        self, text_store: TokenStore, sources: list[Source], tokenizer: Path
    ) -> None:
        indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
        loaded = load_tokenizer(tokenizer)
        for text in sources:
            domain = text_store.domains[text.name]
            for split, held in ((domain.train, False), (domain.heldout, True)):
                expected = [d.text for d in documents(text) if is_heldout(d.digest, FRACTION) == held]
                read: list[str] = []
                for shard in split.shards:
                    dataset = indexed.IndexedDataset(str(text_store.path / shard))
                    assert len(dataset.document_indices) == len(dataset) + 1
                    for i in range(len(dataset)):
                        assert dataset[i][-1] == text_store.eos_id
                        assert text_store.eos_id not in dataset[i][:-1]
                        read.append(loaded.decode(dataset[i][:-1].tolist()))
                assert read == expected


def test_megatrons_own_writer_and_a_round_trip(tmp_path: Path) -> None:
    """What its builder wrote is read, and a store of one document order is the same bytes again."""
    torch = pytest.importorskip("torch")
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    documents = ended(ids(120))
    builder = indexed.IndexedDatasetBuilder(str(tmp_path / "web.bin"), np.uint16)
    for document in documents:
        builder.add_document(torch.from_numpy(document), [len(document)])
    builder.finalize(str(tmp_path / "web.idx"))
    store = built([source("web", tmp_path / "web")], tmp_path / "tokens", shard_bytes=1 << 20)
    split = store.domains["web"].train
    kept = [
        d
        for d, found in zip(
            documents,
            token_documents(tmp_path / "web.idx", TokenFiles("megatron", VOCABULARY, EOS)),
            strict=True,
        )
        if found is not None and not is_heldout(found.digest, 0.2)
    ]
    again = indexed.IndexedDatasetBuilder(str(tmp_path / "again.bin"), np.uint16)
    for document in kept:
        again.add_document(torch.from_numpy(document), [len(document)])
    again.finalize(str(tmp_path / "again.idx"))
    for extension in ("bin", "idx"):
        ours = (store.path / f"{split.shards[0]}.{extension}").read_bytes()
        assert ours == (tmp_path / f"again.{extension}").read_bytes()
