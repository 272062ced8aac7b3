"""Samples of corpora: about what is asked, stable, nested, and what they tell of the whole."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from mixing.corpora import sampling
from mixing.corpora.catalog import Catalog, scan
from mixing.corpora.documents import Source, contents, survey_source
from mixing.corpora.left_out import Tally
from mixing.corpora.sampling import BYTES_PER_TOKEN, is_sampled
from mixing.corpora.token_files import TokenFiles
from proxies.data.megatron_files import index_bytes

DOCUMENTS = 6000


def texts(count: int = DOCUMENTS, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [f"{seed} {i} " + rng.randbytes(rng.randrange(10, 150)).hex() for i in range(count)]


def corpus(folder: Path, kind: str) -> list[str]:
    """Six files of one kind; what they hold."""
    folder.mkdir()
    everything = []
    for number in range(6):
        some = texts(DOCUMENTS // 6, number)
        everything += some
        path = folder / f"part-{number}.{kind}"
        lines = "".join(json.dumps({"text": text}) + "\n" for text in some).encode()
        if kind == "parquet":
            pq.write_table(pa.table({"text": some}), path, row_group_size=50, use_dictionary=False)
        elif kind == "txt":
            for i, text in enumerate(some):
                (folder / f"{number}-{i}.txt").write_text(text)
        else:
            path.write_bytes({"gz": gzip.compress, "zst": zstandard.compress}.get(kind[6:], bytes)(lines))
    return everything


def sample(folder: Path, tokens: int | None) -> tuple[set[str], Tally]:
    tally = Tally()
    found = [document.text for document in contents(Source("d", "general", (folder,), sample=tokens), tally)]  # type: ignore[union-attr]
    assert len(found) == len(set(found))
    return set(found), tally


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "BLOCK_BYTES", 4000)
    monkeypatch.setattr(sampling, "FIRST_BLOCKS", 8)


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "jsonl.gz", "jsonl.zst", "txt"])
def test_a_sample_is_about_as_large_as_asked_and_tells_of_the_whole(tmp_path: Path, kind: str) -> None:
    everything = corpus(tmp_path / "c", kind)
    size = sum(len(text.encode()) for text in everything)
    asked = size / 5
    found, tally = sample(tmp_path / "c", round(asked / BYTES_PER_TOKEN))
    assert found < set(everything)
    assert asked * 0.7 < sum(map(len, found)) < asked * 1.5
    assert tally.whole is not None
    assert abs(tally.whole.bytes - size) < 4 * tally.whole.stderr + 1e-9 * size
    assert tally.whole.stderr < 0.25 * size


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "jsonl.gz"])
def test_samples_are_nested_and_end_with_everything(tmp_path: Path, kind: str) -> None:
    everything = corpus(tmp_path / "c", kind)
    before: set[str] = set()
    for tokens in (100, 1000, 5000, 20_000, 80_000, 10**7):
        found, tally = sample(tmp_path / "c", tokens)
        assert before <= found
        before = found
    assert before == set(everything)
    assert tally.whole is not None
    assert (tally.whole.stderr, tally.whole.part) == (0.0, 1.0)
    assert tally.whole.bytes == sum(len(text.encode()) for text in everything)


def test_a_sample_moves_with_its_corpus_and_survives_new_files(tmp_path: Path) -> None:
    corpus(tmp_path / "c", "jsonl")
    found, _ = sample(tmp_path / "c", 20_000)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "c").rename(tmp_path / "elsewhere" / "c")
    assert sample(tmp_path / "elsewhere" / "c", 20_000)[0] == found
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts(1000, 9))
    (tmp_path / "elsewhere" / "c" / "new.jsonl").write_text(lines)
    grown = sample(tmp_path / "elsewhere" / "c", 20_000)[0]
    assert len(grown & found) > 0.6 * len(found)


def test_errors_of_estimates_are_as_large_as_they_say(tmp_path: Path) -> None:
    """Over many corpora the estimate is off by about its standard error, also where files differ."""
    off = []
    for seed in range(12):
        folder = tmp_path / str(seed)
        folder.mkdir()
        rng, size = random.Random(seed), 0
        for number in range(40):
            # Fields besides the text, of a length that differs from file to file.
            rest, some = "x" * rng.randrange(300), texts(60, seed * 100 + number)
            size += sum(map(len, some))
            (folder / f"{number}.jsonl").write_text(
                "".join(json.dumps({"text": text, "rest": rest}) + "\n" for text in some)
            )
        whole = sample(folder, 20_000)[1].whole
        assert whole is not None
        off.append((whole.bytes - size) / whole.stderr)
    assert 0.4 < float(np.sqrt(np.mean(np.square(off)))) < 1.9


def test_a_sample_of_token_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixing.corpora.token_files.CHUNK", 2000)
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 90, 3000)
    ids = rng.integers(1, 500, int(lengths.sum())).astype("<u2")
    ids[np.cumsum(lengths) - 1] = 0
    ids.tofile(tmp_path / "a.bin")
    (tmp_path / "a.idx").write_bytes(index_bytes(lengths, np.dtype("<u2")))
    files = TokenFiles("megatron", 500, 0)
    paths = (tmp_path / "a.bin", tmp_path / "a.idx")
    for asked in (8000, 30_000):
        tally = Tally()
        found = list(contents(Source("d", "general", paths, tokens=files, sample=asked), tally))
        assert asked * 0.6 < sum(document.size for document in found) / 2 < asked * 1.5
        assert tally.whole is not None
        assert tally.whole.bytes == pytest.approx(2 * len(ids), rel=0.1)


def test_a_catalogue_of_a_sample(tmp_path: Path) -> None:
    corpus(tmp_path / "c", "jsonl")
    plain = Source("d", "general", (tmp_path / "c",))
    asked = Source("d", "general", (tmp_path / "c",), sample=20_000)
    catalog = scan([asked], 0.1)
    assert catalog["d"].documents < DOCUMENTS / 2
    assert Catalog.from_json(catalog.to_json()) == catalog
    assert survey_source(asked).fingerprint != survey_source(plain).fingerprint
    assert survey_source(asked).bytes == survey_source(plain).bytes


def test_the_sample_does_not_depend_on_the_split() -> None:
    rng = random.Random(0)
    digests = [rng.randbytes(16) for _ in range(4000)]
    held = [digest for digest in digests if digest[0] < 64]
    assert abs(sum(is_sampled(digest, 0.3) for digest in held) / len(held) - 0.3) < 0.06
