"""A token store of three domains whose every token says where it is from, and mixes over it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixing.spec.build import DomainFacts, build_spec
from mixing.spec.components import Shard
from mixing.spec.model import MixSpec
from proxies.data.megatron_files import index_bytes, token_dtype
from tests.mixing.spec.examples import SHARES, example_decision

EOS = 0
WINDOW = 512
WINDOWS = 200
VOCABULARY = 400
"""Ids of web are 100 to 199, of code 200 to 299, of math 300 to 399."""
MEANS = {"web": 600, "code": 1500, "math": 200}
SUPPLY = {"web": 401_000, "code": 150_000, "math": 40_000}
SHARDS = {"web": 2, "code": 1, "math": 1}
DOMAINS = tuple(MEANS)


@dataclass(frozen=True)
class Store:
    """Where it lies, what it holds, and the length of every document in tokens."""

    root: Path
    facts: dict[str, DomainFacts]
    documents: dict[str, list[int]]

    def prefixes(self, domain: str) -> list[Path]:
        return [self.root / shard.prefix for shard in self.facts[domain].shards]

    def tokens(self, domain: str) -> list[NDArray[np.integer]]:
        """Of its training shards."""
        return [np.fromfile(f"{prefix}.bin", "<u2") for prefix in self.prefixes(domain)]


def write_shard(prefix: Path, documents: list[NDArray[Any]], vocab_size: int = VOCABULARY) -> None:
    """Megatron's pair."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    dtype = token_dtype(vocab_size)
    np.concatenate(documents).astype(dtype).tofile(f"{prefix}.bin")
    lengths = np.array([len(document) for document in documents])
    Path(f"{prefix}.idx").write_bytes(index_bytes(lengths, dtype))


def write_store(root: Path) -> Store:
    """Log-normal document lengths with the means of `MEANS`, up to the supply of `SUPPLY`."""
    facts: dict[str, DomainFacts] = {}
    lengths: dict[str, list[int]] = {}
    for index, (name, mean) in enumerate(MEANS.items()):
        rng = np.random.default_rng([0, index])
        low = 100 * (index + 1)
        drawn = rng.lognormal(math.log(mean) - 0.125, 0.5, size=2 * SUPPLY[name] // mean).astype(int) + 2
        kept = drawn[: int(np.searchsorted(np.cumsum(drawn), SUPPLY[name]))]
        lengths[name] = kept.tolist()
        shards = []
        for part, chunk in enumerate(np.array_split(kept, SHARDS[name])):
            prefix = f"tokens/{name}/train {part}"
            write_shard(root / prefix, [np.append(rng.integers(low, low + 100, n - 1), EOS) for n in chunk])
            shards.append(Shard(prefix=prefix, tokens=int(chunk.sum())))
        write_shard(root / f"tokens/{name}/heldout", [np.append(rng.integers(low, low + 100, 3000), EOS)])
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
    store: Store,
    shares: dict[str, float] = SHARES,
    windows: int = WINDOWS,
    max_epochs: float = 4.0,
    **changes: Any,
) -> MixSpec:
    """A mix over the store: `windows` windows in batches of 8."""
    question = replace(example_decision().question, tokens=windows * WINDOW)
    spec = build_spec(
        example_decision(shares=shares, question=question),
        {name: replace(fact, max_epochs=max_epochs) for name, fact in store.facts.items()},
        name="consumers",
        sequence_length=WINDOW,
        global_batch_tokens=8 * WINDOW,
        data_root=store.root,
    )
    return MixSpec.model_validate({**spec.model_dump(), **changes})


def shares_of(tokens: NDArray[np.integer]) -> dict[str, float]:
    """Shares of the tokens that say their domain."""
    counts = np.bincount(np.asarray(tokens).ravel() // 100, minlength=4)[1:4]
    return dict(zip(DOMAINS, (counts / counts.sum()).tolist(), strict=True))
