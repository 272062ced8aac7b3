"""Corpora of token ids: Megatron's and OLMo's files into the token store, and what is wrong with them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixing.corpora.token_files
from mixing.corpora.catalog import scan
from mixing.corpora.documents import Source
from mixing.corpora.token_files import Kind, RawType, TokenFiles, paths_of, read_index, token_documents
from mixing.errors import InputError
from proxies.data.megatron_files import index_bytes, token_dtype
from proxies.data.token_store import TokenStore, build

EOS = 7
VOCABULARY = 500


def ids(count: int, seed: int = 0, vocab_size: int = VOCABULARY) -> list[np.ndarray]:
    """Documents without an end."""
    rng = np.random.default_rng([1, seed])
    made = [rng.integers(8, vocab_size, size=rng.integers(1, 90)) for _ in range(count)]
    made[0][0] = vocab_size - 1
    return made


def write_megatron(prefix: Path, documents: list[np.ndarray], vocab_size: int = VOCABULARY) -> None:
    dtype = token_dtype(vocab_size)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    np.concatenate(documents).astype(dtype).tofile(f"{prefix}.bin")
    Path(f"{prefix}.idx").write_bytes(index_bytes(np.array([len(d) for d in documents]), dtype))


def ended(documents: list[np.ndarray]) -> list[np.ndarray]:
    return [np.append(document, EOS) for document in documents]


def source(
    name: str, path: Path, kind: Kind = "megatron", vocab_size: int = VOCABULARY, dtype: RawType | None = None
) -> Source:
    files = TokenFiles(kind, vocab_size, EOS, dtype)
    return Source(name, "general", paths_of(kind, path), tokens=files)


def built(sources: list[Source], folder: Path, **options: object) -> TokenStore:
    return build(sources, None, folder, 0.2, **{"shard_bytes": 4000, **options})  # type: ignore[arg-type]


def stored(store: TokenStore, name: str) -> list[tuple[int, ...]]:
    """All documents of a domain, in no order."""
    found = []
    for split in (store.domains[name].train, store.domains[name].heldout):
        for array in split._arrays:
            ends = np.flatnonzero(array == EOS) + 1
            found += [tuple(part.tolist()) for part in np.split(array, ends[:-1])]
    return sorted(found)


@pytest.mark.parametrize("vocab_size", [VOCABULARY, 100_000])
@pytest.mark.parametrize("with_end", [True, False])
def test_megatron_files_become_a_store(tmp_path: Path, with_end: bool, vocab_size: int) -> None:
    documents = ids(200, vocab_size=vocab_size)
    write_megatron(tmp_path / "web.v1_text", ended(documents) if with_end else documents, vocab_size)
    web = source("web", tmp_path / "web.v1_text", vocab_size=vocab_size)
    store = built([web], tmp_path / "tokens")
    assert stored(store, "web") == sorted(tuple(d.tolist()) for d in ended(documents))
    assert store.tokens["web"] == sum(len(d) + 1 for d in documents)
    assert len(store.domains["web"].train.shards) > 2
    catalog = scan([web], 0.2)
    assert (catalog["web"].documents, catalog["web"].tokens) == (200, store.tokens["web"])
    assert catalog["web"].heldout_documents == store.domains["web"].heldout.documents
    # The index says the same as the tokens.
    assert read_index(tmp_path / "web.v1_text.idx").documents == 200


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_olmo_files_are_the_same_corpus(tmp_path: Path, dtype: RawType) -> None:
    documents = ids(200)
    write_megatron(tmp_path / "web", ended(documents))
    np.concatenate(ended(documents)).astype(dtype).tofile(tmp_path / "web-0.npy")
    ours = built([source("web", tmp_path / "web")], tmp_path / "a", shard_bytes=1 << 20)
    theirs = built(
        [source("web", tmp_path / "web-*.npy", "olmo", dtype=dtype)], tmp_path / "b", shard_bytes=1 << 20
    )
    assert ours.fingerprints == theirs.fingerprints


def test_the_split_is_by_document_and_does_not_move(tmp_path: Path) -> None:
    shared = ids(150)
    write_megatron(tmp_path / "a", ended([*shared, *shared[:50]]))
    write_megatron(tmp_path / "b", [*shared[60:], *ids(60, 1)])  # without ends, which changes nothing
    store = built([source("a", tmp_path / "a"), source("b", tmp_path / "b")], tmp_path / "tokens")
    sides: dict[str, set[tuple[int, ...]]] = {"train": set(), "heldout": set()}
    for domain in store.domains.values():
        for side, split in (("train", domain.train), ("heldout", domain.heldout)):
            for array in split._arrays:
                ends = np.flatnonzero(array == EOS) + 1
                sides[side] |= {tuple(part.tolist()) for part in np.split(array, ends[:-1])}
    assert len(sides["heldout"]) > 10
    assert sides["train"].isdisjoint(sides["heldout"])
    write_megatron(tmp_path / "more", ended([*ids(80, 5), *shared]))
    more = built([source("a", tmp_path / "more")], tmp_path / "other")
    heldout = {tuple(d.tolist()) for d in ended(shared) if tuple(d.tolist()) in sides["heldout"]}
    assert heldout <= {
        tuple(part.tolist())
        for array in more.domains["a"].heldout._arrays
        for part in np.split(array, np.flatnonzero(array == EOS)[:-1] + 1)
    }
    assert scan([source("a", tmp_path / "a")], 0.2)["a"].duplicates == 50


def test_a_document_of_several_sequences_is_one_document(tmp_path: Path) -> None:
    documents = ids(40)
    write_megatron(tmp_path / "web", documents)
    index = (tmp_path / "web.idx").read_bytes()
    head = index[:9] + struct.pack("<QBQQ", 1, 8, 40, 21)
    body = index[34 : 34 + 40 * 12]
    (tmp_path / "web.idx").write_bytes(head + body + np.arange(0, 41, 2, dtype="<i8").tobytes())
    store = built([source("web", tmp_path / "web")], tmp_path / "tokens")
    pairs = [np.concatenate(documents[i : i + 2]) for i in range(0, 40, 2)]
    assert stored(store, "web") == sorted(tuple(d.tolist()) for d in ended(pairs))


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=40), chunk=st.integers(1, 50))
def test_chunks_do_not_show(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], chunk: int) -> None:
    folder = tmp_path_factory.mktemp("chunks")
    rng = np.random.default_rng(3)
    documents = [rng.integers(8, VOCABULARY, size=length) for length in lengths]
    write_megatron(folder / "web", documents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixing.corpora.token_files, "CHUNK", chunk)
        found = list(token_documents(folder / "web.idx", TokenFiles("megatron", VOCABULARY, EOS)))
        if any(lengths):
            np.concatenate(ended(documents)).astype("<u2").tofile(folder / "web.npy")
            raw = list(token_documents(folder / "web.npy", TokenFiles("olmo", VOCABULARY, EOS, "uint16")))
            assert [None if d is None else d.digest for d in raw] == [
                None if d is None else d.digest for d in found
            ]
    assert [[] if d is None else d.ids.tolist() for d in found] == [d.tolist() for d in documents]


def test_changed_files_are_read_again_and_unchanged_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_megatron(tmp_path / "web", ids(100))
    web = source("web", tmp_path / "web")
    first = built([web], tmp_path / "tokens")
    with monkeypatch.context() as patch:
        patch.setattr("proxies.data.tokenise.contents", None)
        assert built([web], tmp_path / "tokens") == first
    write_megatron(tmp_path / "web", ids(100, 2))
    assert built([web], tmp_path / "tokens").fingerprints != first.fingerprints


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def patched(path: Path, at: int, content: bytes) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:at] + content + raw[at + len(content) :])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: p.with_suffix(".bin").unlink(), r"web\.bin does not exist"),
        (lambda p: cut(p.with_suffix(".bin"), 2), r"web\.bin is cut short: \d+ bytes, and its index says"),
        (lambda p: cut(p, 5), r"web\.idx is cut short"),
        (lambda p: cut(p, p.stat().st_size - 12), r"web\.idx is cut short"),
        (lambda p: p.write_bytes(b"hello"), r"web\.idx does not begin like one"),
        (lambda p: patched(p, 9, struct.pack("<Q", 2)), r"web\.idx is of version 2"),
        (lambda p: patched(p, 17, b"\x07"), r"web\.idx holds type 7"),
        (lambda p: patched(p, 17, b"\x04"), r"byte offsets disagree"),
        (lambda p: patched(p, 34, b"\xff\xff\xff\xff"), r"byte offsets disagree"),
        (lambda p: patched(p, p.stat().st_size - 8, bytes(8)), r"not its sequences in order"),
        (
            lambda p: p.with_suffix(".bin").write_bytes(p.with_suffix(".bin").read_bytes() + b"12"),
            r"is too long",
        ),
    ],
)
def test_a_damaged_pair_is_named(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    write_megatron(tmp_path / "web", ids(50))
    damage(tmp_path / "web.idx")
    with pytest.raises(InputError, match=said):
        built([source("web", tmp_path / "web")], tmp_path / "tokens")
    assert not (tmp_path / "tokens" / "manifest.json").exists()


def test_wrong_ids_and_types_are_named(tmp_path: Path) -> None:
    write_megatron(tmp_path / "web", ids(50))
    with pytest.raises(InputError, match=r"web\.bin: document 0 holds id 499, and the vocabulary has 400"):
        built([source("web", tmp_path / "web", vocab_size=400)], tmp_path / "tokens")
    raw = np.concatenate(ended(ids(50)))
    raw.astype("<u4").tofile(tmp_path / "wide.npy")
    with pytest.raises(InputError, match=r"every second uint16 is 0.*token_dtype to uint32"):
        built([source("web", tmp_path / "wide.npy", "olmo", dtype="uint16")], tmp_path / "tokens")
    raw[: len(raw) // 2 * 2].astype("<u2").tofile(tmp_path / "narrow.npy")
    with pytest.raises(InputError, match=r"read as uint32: document 0 holds id .*token_dtype|holds no id 7"):
        built([source("web", tmp_path / "narrow.npy", "olmo", dtype="uint32")], tmp_path / "tokens")
    np.save(tmp_path / "saved.npy", raw)
    with pytest.raises(InputError, match=r"written by numpy\.save"):
        built([source("web", tmp_path / "saved.npy", "olmo", dtype="uint16")], tmp_path / "tokens")
    (tmp_path / "empty.npy").touch()
    with pytest.raises(InputError, match=r"empty\.npy is empty"):
        built([source("web", tmp_path / "empty.npy", "olmo", dtype="uint16")], tmp_path / "tokens")
    (tmp_path / "odd.npy").write_bytes(b"123")
    with pytest.raises(InputError, match="3 bytes are no whole number of uint16"):
        built([source("web", tmp_path / "odd.npy", "olmo", dtype="uint16")], tmp_path / "tokens")
    raw[raw != EOS].astype("<u2").tofile(tmp_path / "endless.npy")
    with pytest.raises(InputError, match="holds no id 7, which ends a document"):
        built([source("web", tmp_path / "endless.npy", "olmo", dtype="uint16")], tmp_path / "tokens")


def test_another_end_of_documents_is_noticed(tmp_path: Path) -> None:
    other = [np.append(document, 3) for document in ids(50)]
    write_megatron(tmp_path / "web", other)
    with pytest.raises(InputError, match=r"web\.bin: every document ends with id 3, and 7 is given"):
        built([source("web", tmp_path / "web")], tmp_path / "tokens")
    # A line break, say: it is inside documents too.
    write_megatron(tmp_path / "lines", [np.insert(document, 0, 3) for document in other])
    built([source("lines", tmp_path / "lines")], tmp_path / "tokens")


def test_one_vocabulary_for_all(tmp_path: Path) -> None:
    write_megatron(tmp_path / "a", ids(50))
    other = source("b", tmp_path / "a", vocab_size=600)
    with pytest.raises(InputError, match=r"'b' has ids below 600.*'a': below 500"):
        built([source("a", tmp_path / "a"), other], tmp_path / "tokens")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("text")
    with pytest.raises(InputError, match="domain 'c' is text"):
        built([Source("c", "general", (tmp_path / "text",))], tmp_path / "tokens")
