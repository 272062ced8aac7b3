"""Near-duplicates within and between domains: documents whose shingles have a Jaccard similarity of a half or more.

MinHash signatures are rensa's; documents that agree in one of `BANDS` parts of their signatures are compared (Leskovec
et al. 2020, *Mining of Massive Datasets*, chapter 3). Memory holds 252 bytes a document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Ints
from mixing.corpora.documents import Source, contents, survey_source
from mixing.corpora.left_out import Tally
from mixing.corpora.progress import ByteProgress, Report
from mixing.corpora.shingles import Hashes, shingles_of, words_of

SIMILAR = 0.5
"""Jaccard similarity from which on two documents are near-duplicates."""
BANDS, ROWS = 21, 3
"""A pair at `SIMILAR` is compared with a chance of 1 - (1 - .5^3)^21 = 94%, one at .7 always but once in 10,000."""
SEED = 0
BATCH = 1024
"""Documents whose signatures are made at once."""


@dataclass(frozen=True)
class NearDuplicates:
    """Near-duplicates of one domain: `documents` in all, `repeated` that are like an earlier one of the domain,
    `largest` the most documents that are one text, `elsewhere` by other domain: those that are like one there.
    """

    domain: str
    documents: int
    repeated: int
    largest: int
    elsewhere: dict[str, int]


def near_duplicates(
    sources: Sequence[Source], *, on_progress: Report | None = None
) -> tuple[NearDuplicates, ...]:
    """Group the documents of all domains by likeness, exact duplicates included.

    Documents are one text where a chain of near-duplicates leads from one to the other. Raises InputError as
    `mixing.corpora.documents.contents`.
    """
    progress = ByteProgress(on_progress, sum(survey_source(source).bytes for source in sources))
    signatures = [_signatures(source, progress) for source in sources]
    progress.finish()
    domain_d = np.repeat(np.arange(len(sources)), [len(rows) for rows in signatures])
    group_d = _groups(np.concatenate(signatures))
    return tuple(_of_domain(number, sources, domain_d, group_d) for number in range(len(sources)))


def _of_domain(number: int, sources: Sequence[Source], domain_d: Ints, group_d: Ints) -> NearDuplicates:
    own = group_d[domain_d == number]
    count_g = np.bincount(own)
    elsewhere = {
        other.name: int(np.isin(own, group_d[domain_d == at]).sum())
        for at, other in enumerate(sources)
        if at != number
    }
    return NearDuplicates(
        sources[number].name,
        len(own),
        len(own) - int((count_g > 0).sum()),
        int(count_g.max(initial=0)),
        elsewhere,
    )


def _signatures(source: Source, progress: ByteProgress) -> NDArray[np.uint32]:
    tally = Tally()
    batches, shingles = [np.zeros((0, BANDS * ROWS), np.uint32)], list[Hashes]()
    for document in contents(source, tally):
        of_document = shingles_of(words_of(document))
        # Text without a word is like nothing but itself.
        shingles.append(of_document if len(of_document) else _number(document.digest))
        if len(shingles) == BATCH:
            batches.append(_minhash(shingles))
            shingles = []
        progress.at(tally.bytes_read)
    progress.next(survey_source(source).bytes)
    if shingles:
        batches.append(_minhash(shingles))
    return np.concatenate(batches)


def _number(digest: bytes) -> Hashes:
    return np.frombuffer(digest[:8], np.uint64)


def _minhash(shingles: list[Hashes]) -> NDArray[np.uint32]:
    from rensa import RMinHash

    ends = np.cumsum([0, *map(len, shingles)]).astype(np.uint64)
    rows = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(shingles), ends, BANDS * ROWS, SEED)
    return np.array(rows.to_rows(), dtype=np.uint32)


def _groups(signature_dk: NDArray[np.uint32]) -> Ints:
    """A number per document, the same for documents that a chain of near-duplicates joins."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = []
    for band in range(BANDS):
        key_db = signature_dk[:, band * ROWS : (band + 1) * ROWS]
        _, bucket_d = np.unique(key_db, axis=0, return_inverse=True)
        order = np.argsort(bucket_d, kind="stable")
        same = bucket_d[order][1:] == bucket_d[order][:-1]
        # Neighbours in a bucket are compared: a chain of these joins what belongs together.
        pairs.append(np.stack([order[:-1][same], order[1:][same]], axis=1))
    pair_pd = np.unique(np.concatenate(pairs), axis=0)
    agreed_p = (signature_dk[pair_pd[:, 0]] == signature_dk[pair_pd[:, 1]]).mean(1)
    left, right = pair_pd[agreed_p >= SIMILAR].T
    count = len(signature_dk)
    graph = coo_matrix((np.ones(len(left), bool), (left, right)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
