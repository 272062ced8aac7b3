"""Which window each slot of a run's training stream reads, with common random numbers across a study.

A slot is one row of one batch. Slot `k` has a uniform draw `u_k` and, from every domain, one candidate
window; neither depends on the mixture. A mixture only decides whose candidate is taken: that of the domain
whose interval of cumulative shares (domains in name order) holds `u_k`. Two mixtures therefore see the same
windows wherever they agree on the domain, and most of the noise in the difference of their losses cancels.

The uniforms are stratified: batch `m` of `B` slots holds `(i + v_m) / B` for `i = 0..B-1`, shuffled, where
`v_m` runs through the golden-ratio sequence. By themselves they keep the windows that a domain has received
close to its share of the stream, but not for every share: the worst domain is 2 windows off after 14
batches, 3.5 after 500 and 4.7 after 10,000 (exact search; no sequence escapes a logarithm). So where a whole
batch would leave a domain more than `MAX_DEVIATION` windows off, single slots next to the edge of its
interval change hands: one slot in thousands. Realised shares are then within two windows of the planned ones
at every whole batch, however long the run, and a plan that isn't is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import numpy as np

from mixing.errors import InputError, MixlawError
from proxies.spec import ProxySpec

MAX_DEVIATION = 2.0
"""Windows that a domain may be off its share of the stream at any whole batch."""
GOLDEN = (math.sqrt(5) - 1) / 2
BLOCK = 4096
"""Batches that are searched at once for one to correct."""


class Split(Protocol):
    """What is needed of a domain's token split (proxies.data.token_store.TokenSplit)."""

    def n_windows(self, context: int) -> int: ...
    def windows(self, ids: np.ndarray, context: int) -> np.ndarray: ...
    def documents_of(self, ids: np.ndarray, context: int) -> np.ndarray: ...
    @property
    def fingerprint(self) -> str: ...


class Domain(Protocol):
    @property
    def train(self) -> Split: ...
    @property
    def heldout(self) -> Split: ...


class Store(Protocol):
    """What is needed of a token store (proxies.data.token_store.TokenStore)."""

    @property
    def domains(self) -> Mapping[str, Domain]: ...
    @property
    def evals(self) -> Mapping[str, Split]: ...
    @property
    def fingerprints(self) -> Mapping[str, str]: ...
    @property
    def tokenizer_hash(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...


Stream = tuple[int, int, int]
"""What a stream of slots depends on: study seed, run seed, and whether it is the base's or the proxies'."""


def stream_of(spec: ProxySpec) -> Stream:
    """The same for all mixtures of a study and seed. Proxies don't replay the base's text in its order."""
    return spec.study_seed, spec.seed, crc32(spec.kind.encode())


def uniforms(stream: Stream, batches: int, batch_windows: int) -> np.ndarray:
    """The stream's uniforms in [0, 1), shape [batches, batch_windows]; a shorter run sees a prefix."""
    rng = np.random.default_rng([*stream, crc32(b"uniforms")])
    offset = np.random.default_rng([*stream, crc32(b"uniforms offset")]).random()
    strata = np.argsort(rng.random((batches, batch_windows)), axis=1)
    within = (offset + GOLDEN * np.arange(batches)) % 1.0
    return (strata + within[:, None]) / batch_windows


def candidates(stream: Stream, domain: str, slots: np.ndarray, n_windows: int) -> np.ndarray:
    """The window that `domain` offers to each of `slots` (int64, any order), the same in every mixture.

    The domain's windows are permuted anew for every `n_windows` slots.
    """
    windows = np.empty(len(slots), dtype=np.int64)
    epochs, positions = np.divmod(slots, n_windows)
    for epoch in np.unique(epochs):
        rng = np.random.default_rng([*stream, crc32(b"candidates"), crc32(domain.encode()), int(epoch)])
        chosen = epochs == epoch
        windows[chosen] = rng.permutation(n_windows)[positions[chosen]]
    return windows


@dataclass(frozen=True)
class HeldoutIds:
    """Which held-out windows of a domain a run is evaluated on (sorted int64): at its last budget, and earlier."""

    final: np.ndarray
    few: np.ndarray


def heldout_ids(spec: ProxySpec, domain: str, split: Split) -> HeldoutIds:
    """The held-out windows of `domain`, whose held-out text is `split`: the same for all runs of a study.

    Those of a confirmation are of documents that the swarm is not measured on, since windows of one document err
    together; as many, or fewer where there are not as many, or none. With `final_windows`, a third of the text is kept
    for them.
    """
    document_w = split.documents_of(np.arange(split.n_windows(spec.context)), spec.context)
    every = np.arange(len(document_w), dtype=np.int64)
    count = spec.heldout_windows if spec.final_windows is None else spec.final_windows
    rng = _generator(spec, b"heldout windows", domain)
    # A number of the user's own is drawn as it always was.
    free = every if spec.final_windows is None else every[~_kept(spec, domain, document_w)]
    final = _drawn(rng, free, count)
    if spec.heldout == "confirmation":
        rng = _generator(spec, b"confirmation windows", domain)
        final = _drawn(rng, every[~np.isin(document_w, document_w[final])], count)
    return HeldoutIds(final, _drawn(rng, final, spec.heldout_windows))


def eval_ids(spec: ProxySpec, name: str, split: Split) -> HeldoutIds:
    """The windows of a validation set of the study's own: the same for all runs, the confirmation too."""
    every = np.arange(split.n_windows(spec.context), dtype=np.int64)
    count = spec.heldout_windows if spec.final_windows is None else spec.final_windows
    rng = _generator(spec, b"windows of a validation set", name)
    final = _drawn(rng, every, count)
    return HeldoutIds(final, _drawn(rng, final, spec.heldout_windows))


def _kept(spec: ProxySpec, domain: str, document_w: np.ndarray) -> np.ndarray:
    """Which windows are kept for the confirmation: those of whole documents, up to a third of all."""
    documents, count = np.unique(document_w, return_counts=True)
    order = _generator(spec, b"documents for the confirmation", domain).permutation(len(documents))
    kept = documents[order[np.cumsum(count[order]) <= len(document_w) / 3]]
    return np.isin(document_w, kept)


def _generator(spec: ProxySpec, purpose: bytes, domain: str) -> np.random.Generator:
    return np.random.default_rng([spec.study_seed, crc32(purpose), crc32(domain.encode())])


def _drawn(rng: np.random.Generator, ids: np.ndarray, count: int) -> np.ndarray:
    if len(ids) <= count:
        return ids
    return np.sort(rng.choice(ids, size=count, replace=False))


def assign(shares_d: np.ndarray, u_mb: np.ndarray) -> np.ndarray:
    """Domain index of every slot, int16 [batches, batch_windows], for shares that sum to 1.

    Raises MixlawError if no correction keeps every domain within `MAX_DEVIATION` windows.
    """
    upper = np.cumsum(shares_d)
    upper[np.flatnonzero(shares_d)[-1] :] = 1.0  # rounding must not leave a gap below 1
    drawn = np.searchsorted(upper, u_mb, side="right").astype(np.int16)
    # Correcting late leaves most slots as drawn, but with many tiny shares it can be too late: those domains
    # may all have had their windows early, and a batch has nothing to take back. Then correct sooner.
    for trigger in (MAX_DEVIATION, 1.5, 1.0):
        taken = drawn.copy()
        if _correct(taken, u_mb, shares_d, trigger):
            return taken
    raise MixlawError(
        f"batches of {u_mb.shape[1]} windows can't hold shares {np.array2string(shares_d, precision=3)}",
        "Raise batch_tokens, or drop the domains with the smallest shares",
    )


def _correct(taken_mb: np.ndarray, u_mb: np.ndarray, shares_d: np.ndarray, trigger: float) -> bool:
    """Correct, in place, every batch that leaves a domain over `trigger` windows off; False if in vain."""
    batches, size = taken_mb.shape
    counts = np.stack([(taken_mb == domain).sum(axis=1) for domain in range(len(shares_d))], axis=1)
    deviation = np.cumsum(counts, axis=0) - np.arange(1, batches + 1)[:, None] * (size * shares_d)
    moved = np.zeros(len(shares_d))  # what the corrections so far added to each domain
    batch = 0
    while batch < batches:
        off = (np.abs(deviation[batch : batch + BLOCK] + moved) > trigger).any(axis=1)
        if not off.any():
            batch += BLOCK
            continue
        batch += int(off.argmax())
        moved += _correct_batch(taken_mb[batch], u_mb[batch], deviation[batch] + moved, trigger)
        if np.abs(deviation[batch] + moved).max() > MAX_DEVIATION:
            return False
        batch += 1
    return True


def _correct_batch(
    taken_b: np.ndarray, u_b: np.ndarray, deviation_d: np.ndarray, trigger: float
) -> np.ndarray:
    """Hand slots, in place, from the most over-supplied domain to the most under-supplied.

    Returns the windows that each domain gained.
    """
    gained = np.zeros_like(deviation_d)
    while np.abs(deviation_d + gained).max() > trigger:
        current = deviation_d + gained
        present = np.unique(taken_b)
        over = int(present[current[present].argmax()])
        under = int(current.argmin())
        if current[over] - current[under] <= 1:
            break  # a further exchange could only swap the two
        slots = np.flatnonzero(taken_b == over)
        nearest = u_b[slots].argmax() if under > over else u_b[slots].argmin()
        taken_b[slots[nearest]] = under
        gained[over] -= 1
        gained[under] += 1
    return gained


def read_windows(spec: ProxySpec, domain: str, n_windows: int) -> int:
    """How many of a domain's training windows a run reads: all, or its pool."""
    return min(spec.pools.get(domain, n_windows), n_windows)


def pool(spec: ProxySpec, domain: str, n_windows: int) -> np.ndarray:
    """The windows of a domain's pool, int64: of a larger pool of the study, the first."""
    chosen = _generator(spec, b"pool", domain).permutation(n_windows)
    return chosen[: read_windows(spec, domain, n_windows)]


def check_epochs(spec: ProxySpec, n_windows: Mapping[str, int]) -> dict[str, float]:
    """How often a run reads each domain (0 where its share is 0), given training windows per domain.

    Raises InputError if a domain that is asked for holds no window, or would be read more often than its cap; a pool
    is read as often as its size says.
    """
    slots = spec.steps * spec.batch_windows
    epochs = {}
    for domain, share in spec.mixture.items():
        if share > 0 and not n_windows[domain]:
            raise InputError(
                f"domain {domain!r}: its training text holds no window of {spec.context} tokens",
                "Add text to it, or shorten the context",
            )
        size = max(read_windows(spec, domain, n_windows[domain]), 1)
        epochs[domain] = share * slots / size
        if domain not in spec.pools and epochs[domain] > spec.epoch_cap(domain):
            raise InputError(
                f"domain {domain!r}: share {share:.4g} of {spec.tokens:,} tokens reads it "
                f"{epochs[domain]:.1f} times, over its max_epochs {spec.epoch_cap(domain):g}",
                "Add text to it, lower its share or the tokens of a run, or raise its max_epochs",
            )
    return epochs


@dataclass(frozen=True)
class Sampler:
    """The training stream of one run, laid out once: every batch is a function of (spec, step).

    `domain_mb` (int16) and `window_mb` (int64), both [steps, batch_windows], say what each slot reads.
    """

    spec: ProxySpec
    domains: tuple[str, ...]
    splits: tuple[Split, ...]
    domain_mb: np.ndarray
    window_mb: np.ndarray

    @classmethod
    def of(cls, spec: ProxySpec, store: Store) -> Sampler:
        """Raises InputError where `check_epochs` does."""
        names = tuple(spec.mixture)
        splits = tuple(store.domains[name].train for name in names)
        sizes = {name: split.n_windows(spec.context) for name, split in zip(names, splits, strict=True)}
        check_epochs(spec, sizes)
        u_mb = uniforms(stream_of(spec), spec.steps, spec.batch_windows)
        domain_mb = assign(np.array(list(spec.mixture.values())), u_mb)
        window_k = np.empty(domain_mb.size, dtype=np.int64)
        for index, name in enumerate(names):
            slots = np.flatnonzero(domain_mb.ravel() == index)
            size = read_windows(spec, name, sizes[name])
            window_k[slots] = candidates(stream_of(spec), name, slots, size)
            if size < sizes[name]:
                window_k[slots] = pool(spec, name, sizes[name])[window_k[slots]]
        return cls(spec, names, splits, domain_mb, window_k.reshape(domain_mb.shape))

    def batch(self, step: int) -> np.ndarray:
        """Token ids of one batch, int64 [batch_windows, context + 1]: inputs and, shifted by one, targets."""
        taken = self.domain_mb[step]
        tokens = np.empty((len(taken), self.spec.context + 1), dtype=np.int64)
        for index in np.unique(taken):
            rows = np.flatnonzero(taken == index)
            tokens[rows] = self.splits[index].windows(self.window_mb[step, rows], self.spec.context)
        return tokens

    def epochs(self) -> dict[str, float]:
        """How often each domain is read over the run: windows read / windows it holds, or its pool."""
        read = np.bincount(self.domain_mb.ravel(), minlength=len(self.domains))
        return {
            name: float(count / max(read_windows(self.spec, name, split.n_windows(self.spec.context)), 1))
            for name, split, count in zip(self.domains, self.splits, read, strict=True)
        }
