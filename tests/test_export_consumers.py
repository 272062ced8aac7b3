"""Exports read by the trainers' own loaders: the shares that come out are the shares that were asked for."""

from __future__ import annotations

import importlib.metadata
import json
import math
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

from mixing.errors import InputError
from mixing.export import TARGETS, export
from mixing.spec import DomainFacts, MixSpec, Shard, build_spec
from tests.spec_examples import SHARES, example_decision, specs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # Megatron's own

EOS = 0
WINDOW = 512
WINDOWS = 200
MEANS = {"web": 600, "code": 1500, "math": 200}
SUPPLY = {"web": 401_000, "code": 150_000, "math": 40_000}
SHARDS = {"web": 2, "code": 1, "math": 1}


@dataclass(frozen=True)
class Store:
    """Token files in which every token but EOS says its domain: web 1, code 2, math 3."""

    root: Path
    facts: dict[str, DomainFacts]
    documents: dict[str, list[int]]


def write_shard(prefix: Path, documents: list[np.ndarray[Any, Any]]) -> None:
    """Megatron's format: raw uint16 in `.bin`, lengths, byte offsets and document bounds in `.idx`."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    lengths = np.array([len(document) for document in documents], np.int32)
    np.concatenate(documents).astype("<u2").tofile(f"{prefix}.bin")
    with open(f"{prefix}.idx", "wb") as file:
        file.write(b"MMIDIDX\0\0")
        file.write(struct.pack("<QBQQ", 1, 8, len(lengths), len(lengths) + 1))
        file.write(lengths.tobytes())
        file.write(np.concatenate([[0], np.cumsum(lengths[:-1], dtype=np.int64) * 2]).astype("<i8").tobytes())
        file.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("a store")
    facts: dict[str, DomainFacts] = {}
    lengths: dict[str, list[int]] = {}
    for index, (name, mean) in enumerate(MEANS.items()):
        rng = np.random.default_rng([0, index])
        drawn = rng.lognormal(math.log(mean) - 0.125, 0.5, size=2 * SUPPLY[name] // mean).astype(int) + 2
        kept = drawn[: int(np.searchsorted(np.cumsum(drawn), SUPPLY[name]))]
        lengths[name] = kept.tolist()
        shards = []
        for part, chunk in enumerate(np.array_split(kept, SHARDS[name])):
            prefix = f"tokens/{name}/train {part}"
            write_shard(root / prefix, [np.append(np.full(n - 1, index + 1), EOS) for n in chunk])
            shards.append(Shard(prefix=prefix, tokens=int(chunk.sum())))
        write_shard(root / f"tokens/{name}/heldout", [np.append(np.full(3000, index + 1), EOS)])
        facts[name] = DomainFacts(
            role="target" if name == "math" else "general",
            tokens=int(kept.sum()),
            documents=len(kept),
            shards=tuple(shards),
            heldout_shards=(Shard(prefix=f"tokens/{name}/heldout", tokens=3001),),
            dtype="uint16",
        )
    return Store(root, facts, lengths)


def spec_over(
    store: Store, shares: dict[str, float], windows: int = WINDOWS, max_epochs: float = 4.0
) -> MixSpec:
    question = example_decision().question
    decision = example_decision(
        shares=shares, question=type(question)(**{**vars(question), "tokens": windows * WINDOW})
    )
    facts = {
        name: type(fact)(**{**vars(fact), "max_epochs": max_epochs}) for name, fact in store.facts.items()
    }
    return build_spec(
        decision,
        facts,
        name="consumers",
        sequence_length=WINDOW,
        global_batch_tokens=8 * WINDOW,
        data_root=store.root,
    )


def megatron_dataset(file: Path, train_windows: int, valid_windows: int) -> list[Any]:
    """Datasets per split, built as pretrain_gpt.py builds them from `--per-split-data-args-path`."""
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.utils import get_blend_from_list

    per_split = json.loads(file.read_text())
    config = GPTDatasetConfig(
        random_seed=0,
        sequence_length=WINDOW,
        blend_per_split=[get_blend_from_list(per_split[split]) for split in ("train", "valid", "test")],
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        tokenizer=SimpleNamespace(vocab_size=100, eod=EOS, pad=99, unique_identifiers={}),
        # No cache folder: with one, Megatron asks torch.distributed for its rank.
    )
    sizes = [train_windows, valid_windows, 0]
    built: list[Any] = BlendedMegatronDatasetBuilder(GPTDataset, sizes, lambda: True, config).build()
    return built


def realised(windows: Iterator[np.ndarray[Any, Any]]) -> dict[str, float]:
    """Shares of the tokens that say their domain."""
    counts = np.zeros(4, np.int64)
    for window in windows:
        counts += np.bincount(window, minlength=4)
    return dict(zip(MEANS, (counts[1:] / counts[1:].sum()).tolist(), strict=True))


def test_named_versions_are_those_that_are_tested() -> None:
    for name in ("megatron", "huggingface"):
        package = TARGETS[name].verified.split()[0]
        assert TARGETS[name].verified == f"{package} {importlib.metadata.version(package)}"


@pytest.mark.parametrize(
    "shares",
    [SHARES, {"web": 0.5, "code": 0.0, "math": 0.5}, {"web": 0.0, "code": 0.0, "math": 1.0}],
    ids=["three", "a zero", "one"],
)
def test_megatron_reads_the_shares(store: Store, tmp_path: Path, shares: dict[str, float]) -> None:
    export(spec_over(store, shares), "megatron", tmp_path / "blend.json")
    train, valid, test = megatron_dataset(tmp_path / "blend.json", WINDOWS, 40)
    assert test is None
    got = realised(train[index]["tokens"].numpy() for index in range(WINDOWS))
    assert got == pytest.approx(shares, abs=1 / WINDOWS + 0.001)
    got = realised(valid[index]["tokens"].numpy() for index in range(40))
    assert got == pytest.approx(shares, abs=1 / 40 + 0.001)


def test_megatron_repeats_silently_and_we_refuse(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"domains\.math: 2\.\d+ epochs, above its max_epochs of 2"):
        export(spec_over(store, {"math": 1.0}, max_epochs=2), "megatron", tmp_path / "refused.json")
    assert not (tmp_path / "refused.json").exists()
    # The control: Megatron itself takes the same mix, at more than two epochs, without a word.
    export(spec_over(store, {"math": 1.0}, max_epochs=4), "megatron", tmp_path / "blend.json")
    train, _, _ = megatron_dataset(tmp_path / "blend.json", WINDOWS, 8)
    assert len(train) >= WINDOWS
    assert WINDOWS * WINDOW / store.facts["math"].tokens > 2


def test_megatron_reads_the_shards_of_a_domain_equally_often(store: Store, tmp_path: Path) -> None:
    export(spec_over(store, SHARES), "megatron", tmp_path / "blend.json")
    train, _, _ = megatron_dataset(tmp_path / "blend.json", WINDOWS, 8)
    counts = Counter(int(train[index]["dataset_id"]) for index in range(WINDOWS))
    per_token = [counts[part] / shard.tokens for part, shard in enumerate(store.facts["web"].shards)]
    assert per_token[0] == pytest.approx(per_token[1], rel=0.05)


@settings(max_examples=40, deadline=None)
@given(specs())
def test_megatron_parses_every_blend(spec: MixSpec) -> None:
    from megatron.core.datasets.utils import get_blend_from_list

    try:
        exported = export(spec, "megatron")
    except InputError:
        assume(False)
    prefixes = {
        f"{spec.data_root}/{shard.prefix}" for domain in spec.domains.values() for shard in domain.shards
    }
    for file in exported.files:
        paths, weights = get_blend_from_list(json.loads(file.text)["train"])
        assert set(paths) <= prefixes
        assert all(weight > 0 for weight in weights)


def interleaved(arguments: dict[str, Any], rows_of: dict[str, list[int]]) -> list[tuple[str, int]]:
    """The first `rows` rows of `interleave_datasets`, called with what the export wrote: (domain, tokens)."""
    import datasets

    sources = [
        datasets.Dataset.from_dict({"domain": [name] * len(rows_of[name]), "tokens": rows_of[name]})
        .shuffle(seed=arguments["seed"])
        .repeat(passes)
        for name, passes in zip(arguments["datasets"], arguments["passes"], strict=True)
    ]
    stream = datasets.interleave_datasets(
        sources,
        probabilities=arguments["probabilities"],
        seed=arguments["seed"],
        stopping_strategy=arguments["stopping_strategy"],
    ).take(arguments["rows"])
    return list(zip(stream["domain"], stream["tokens"], strict=True))


def token_shares(rows: list[tuple[str, int]]) -> dict[str, float]:
    total = sum(tokens for _, tokens in rows)
    return {name: sum(tokens for domain, tokens in rows if domain == name) / total for name in MEANS}


def test_datasets_reads_the_shares_of_packed_rows(store: Store) -> None:
    spec = spec_over(store, SHARES, windows=2400, max_epochs=10)
    arguments = json.loads(export(spec, "huggingface").files[0].text)
    windows = {
        name: [WINDOW] * sum(shard.tokens // WINDOW for shard in fact.shards)
        for name, fact in store.facts.items()
    }
    rows = interleaved(arguments, windows)
    assert len(rows) == arguments["rows"] == 2400
    for name, share in token_shares(rows).items():
        assert abs(share - SHARES[name]) < 4 * math.sqrt(SHARES[name] * (1 - SHARES[name]) / len(rows))


def test_the_documented_loader_reads_the_token_store(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = json.loads(export(spec_over(store, SHARES), "huggingface", tmp_path).files[0].text)
    page = Path(__file__).parent.parent / "docs" / "exports.md"
    code = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"__name__": "documented"}
    exec(code, names)
    rows = [np.array(row["input_ids"]) for row in names["stream"]]
    assert len(rows) == arguments["rows"] == WINDOWS
    assert {len(row) for row in rows} == {WINDOW}
    for name, share in realised(iter(rows)).items():
        assert abs(share - SHARES[name]) < 4 * math.sqrt(SHARES[name] * (1 - SHARES[name]) / WINDOWS)


def test_datasets_reads_the_shares_of_document_rows(store: Store) -> None:
    spec = spec_over(store, SHARES, windows=2400, max_epochs=20)
    arguments = json.loads(export(spec, "huggingface", unit="document").files[0].text)
    rows = interleaved(arguments, store.documents)
    assert len(rows) == arguments["rows"] >= 2000
    for name, share in token_shares(rows).items():
        # Delta method: a row adds (its tokens if of this domain) - share x its tokens to the error.
        errors = [((domain == name) - SHARES[name]) * tokens for domain, tokens in rows]
        sigma = np.std(errors) * math.sqrt(len(rows)) / sum(tokens for _, tokens in rows)
        assert abs(share - SHARES[name]) < 4 * sigma
    # The control: token shares given to a sampler of documents are far off.
    naive = {**arguments, "datasets": list(SHARES), "probabilities": list(SHARES.values())}
    wrong = token_shares(interleaved(naive, store.documents))
    assert max(abs(wrong[name] - SHARES[name]) for name in MEANS) > 0.15
