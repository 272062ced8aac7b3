"""A token store in memory, with what the proxies need of `proxies.data.token_store.TokenStore`, and small run specs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from proxies.spec import ProxySpec, log_budgets

VOCABULARY = 61


@dataclass(frozen=True)
class MemorySplit:
    tokens_t: np.ndarray

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.tokens_t.tobytes()).hexdigest()

    def n_windows(self, context: int) -> int:
        return max(0, (len(self.tokens_t) - 1) // context)

    def windows(self, ids: np.ndarray, context: int) -> np.ndarray:
        return self.tokens_t[np.asarray(ids)[:, None] * context + np.arange(context + 1)].astype(np.int64)

    def documents_of(self, ids: np.ndarray, context: int) -> np.ndarray:
        """Documents of two windows."""
        return np.asarray(ids) // 2


@dataclass(frozen=True)
class MemoryDomain:
    train: MemorySplit
    heldout: MemorySplit


@dataclass(frozen=True)
class MemoryStore:
    domains: dict[str, MemoryDomain]
    vocab_size: int = VOCABULARY
    tokenizer_hash: str = "a tokenizer"
    evals: dict[str, MemorySplit] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        prints = {
            name: hashlib.sha256(domain.train.tokens_t.tobytes()).hexdigest()
            for name, domain in self.domains.items()
        }
        object.__setattr__(self, "fingerprints", prints)


def memory_store(train_tokens: int = 8192, heldout_tokens: int = 1024, **steps: int) -> MemoryStore:
    """Domains named by the keywords, each counting in its own steps, with noise, so that it can be learnt."""
    domains = {}
    for name, step in (steps or {"general": 1, "target": 5}).items():
        rng = np.random.default_rng(step)

        def counted(length: int, rng: np.random.Generator = rng, step: int = step) -> np.ndarray:
            noise = rng.integers(0, VOCABULARY, length) * (rng.random(length) < 0.05)
            return (np.cumsum(np.full(length, step) + noise) % VOCABULARY).astype(np.uint16)

        domains[name] = MemoryDomain(MemorySplit(counted(train_tokens)), MemorySplit(counted(heldout_tokens)))
    return MemoryStore(domains)


def proxy_spec(store: Any, **changes: Any) -> ProxySpec:
    """A base of depth 1 on 16 batches of 4 windows of 16 tokens; `changes` replaces fields."""
    tokens = changes.get("tokens", 16 * 64)
    batch = changes.get("batch_tokens", 64)
    names = sorted(store.domains)
    fields: dict[str, Any] = {
        "kind": "base",
        "depth": 1,
        "context": 16,
        "vocab_size": store.vocab_size,
        "mixture": {names[0]: 1.0},
        "tokens": tokens,
        "batch_tokens": batch,
        "learning_rate": 3e-3,
        "warmup_steps": 4,
        "weight_decay": 0.1,
        "seed": 1,
        "study_seed": 7,
        "budgets": log_budgets(tokens, batch, 8) if tokens else (),
        "heldout_windows": 8,
        "max_epochs": {},
        "data": store.fingerprints,
    }
    return ProxySpec(**{**fields, **changes})
