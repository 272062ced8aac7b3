"""Leakage: how much of a validation set recurs in training text, and how much of the training text that is.

Near-duplicates of a validation set in the corpus make losses on it fall for another reason than the one that is
measured. A validation document has a twin where a training document holds at least half of its shingles: every pair
with a Jaccard similarity of a half or more has, and so has a long document that contains the short one, which a
similarity does not show. A sketch of the `SKETCH` smallest hashes stands for a validation document (Broder 1997, *On
the resemblance and containment of documents*), so memory grows with the validation sets and not with the corpora.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mixing.arrays import Floats, Ints
from mixing.corpora.documents import Document, Source, contents, is_heldout, survey_source
from mixing.corpora.left_out import Tally
from mixing.corpora.progress import ByteProgress, Report
from mixing.corpora.shingles import Hashes, shingles_of, words_of
from mixing.corpora.token_files import TokenDocument

TWIN = 0.5
"""Part of a validation document's shingles that a training document holds, from which on it is a twin."""
SKETCH = 128
"""Hashes that stand for a validation document; the part is told to within .044 (one standard error)."""


@dataclass(frozen=True)
class Leak:
    """Documents of the validation set `eval` that have a twin in the training text of `domain`.

    `documents` are all of the set, `repeated` those with a twin. `dose` is the part of the domain's training text, by
    words, that repeats them: times the tokens that are drawn from the domain, the tokens of the leak.
    """

    eval: str
    domain: str
    documents: int
    repeated: int
    dose: float


@dataclass(frozen=True)
class Leakage:
    """Every validation set against every domain's training text, and which documents have a twin anywhere.

    A set of text is not held against a domain of ids, nor the other way round: there is no `Leak` of these two.
    `repeated` holds, by validation set, their numbers in the order of the set, from 0; `documents` how many it has.
    """

    leaks: tuple[Leak, ...]
    documents: dict[str, int]
    repeated: dict[str, tuple[int, ...]]

    def part(self, name: str) -> float:
        """The part of a validation set's documents that have a twin anywhere in training text."""
        return len(self.repeated[name]) / self.documents[name] if self.documents[name] else 0.0


def leakage(
    sources: Sequence[Source],
    heldout_fraction: float,
    evals: Sequence[Source] = (),
    *,
    on_progress: Report | None = None,
) -> Leakage:
    """Look for twins of the held-out documents of `sources`, and of all documents of `evals`, in training text.

    Reads the corpora twice. Raises InputError as `mixing.corpora.documents.contents`.
    """
    size_of = {source.name: survey_source(source).bytes for source in (*sources, *evals)}
    read_again = sum(size_of[source.name] for source in sources)
    progress = ByteProgress(on_progress, sum(size_of.values()) + read_again)

    def read(source: Source) -> Iterator[Document | TokenDocument]:
        tally = Tally()
        for document in contents(source, tally):
            progress.at(tally.bytes_read)
            yield document
        progress.next(size_of[source.name])

    sets = {}
    for source in sources:
        sets[source.name] = _Sketches.of(d for d in read(source) if is_heldout(d.digest, heldout_fraction))
    sets |= {source.name: _Sketches.of(read(source)) for source in evals}
    of_ids = {source.name: source.tokens is not None for source in (*sources, *evals)}
    found = {name: np.zeros(sketches.documents, bool) for name, sketches in sets.items()}
    leaks = []
    for source in sources:
        # Text and ids have no words in common, whatever they say.
        alike = [name for name in sets if of_ids[name] == of_ids[source.name]]
        here = {name: _Found(sets[name]) for name in alike}
        words = 0
        for document in read(source):
            if is_heldout(document.digest, heldout_fraction):
                continue
            words_w = words_of(document)
            words += len(words_w)
            shingles = shingles_of(words_w)
            for search in here.values():
                search.in_document(shingles, len(words_w))
        for name, search in here.items():
            found[name] |= search.repeated_d
            count, repeated = sets[name].documents, int(search.repeated_d.sum())
            leaks.append(Leak(name, source.name, count, repeated, search.dose / words if words else 0.0))
    progress.finish()
    return Leakage(
        tuple(leaks),
        {name: sketches.documents for name, sketches in sets.items()},
        {name: tuple(np.flatnonzero(found_d).tolist()) for name, found_d in found.items()},
    )


@dataclass(frozen=True)
class _Sketches:
    """The sketches of a validation set's documents as one index: `hash_n` in ascending order, and whose each is.

    `kept_d` hashes stand for each document, which has `words_d` words.
    """

    hash_n: Hashes
    document_n: Ints
    kept_d: Ints
    words_d: Ints

    @property
    def documents(self) -> int:
        return len(self.kept_d)

    @classmethod
    def of(cls, documents: Iterable[Document | TokenDocument]) -> _Sketches:
        sketches: list[Hashes] = []
        words: list[int] = []
        for document in documents:
            words_w = words_of(document)
            sketches.append(shingles_of(words_w)[:SKETCH])
            words.append(len(words_w))
        kept_d = np.array([len(sketch) for sketch in sketches], dtype=np.int64)
        hash_n = np.concatenate(sketches) if sketches else np.zeros(0, np.uint64)
        order = np.argsort(hash_n, kind="stable")
        document_n = np.repeat(np.arange(len(kept_d)), kept_d)
        return cls(hash_n[order], document_n[order], kept_d, np.array(words, dtype=np.int64))


class _Found:
    """What the training documents of one domain repeat of one validation set."""

    def __init__(self, sketches: _Sketches) -> None:
        self._sketches = sketches
        self.repeated_d = np.zeros(sketches.documents, bool)
        self.dose = 0.0
        """Words of training text."""

    def in_document(self, shingles: Hashes, words: int) -> None:
        """Add what one training document repeats."""
        sketches = self._sketches
        first = np.searchsorted(sketches.hash_n, shingles)
        last = np.searchsorted(sketches.hash_n, shingles, side="right")
        hit = last > first
        if not hit.any():
            return
        spans = [sketches.document_n[a:b] for a, b in zip(first[hit], last[hit], strict=True)]
        document_k, count_k = np.unique(np.concatenate(spans), return_counts=True)
        part_k: Floats = count_k / sketches.kept_d[document_k]
        twin_k = part_k >= TWIN
        self.repeated_d[document_k[twin_k]] = True
        repeats = float((part_k * sketches.words_d[document_k])[twin_k].sum())
        # Validation documents may be twins of each other.
        self.dose += min(repeats, words)
