"""A sample of a corpus that is larger than what is asked of it: which parts are read, and what that tells of the whole.

A corpus is cut into blocks: byte ranges of JSON Lines, row groups of Parquet, stretches of Megatron files, and whole
files of all else. They are read in the order of a hash of their places until there is enough; of the first few, which
hold more than enough, only documents with a small hash are kept. So a larger sample holds a smaller one, and files
that are added move few documents.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mixing.corpora.compression import decompressed
from mixing.corpora.encodings import is_wide
from mixing.corpora.file_choice import Chosen

BYTES_PER_TOKEN = 3.5
"""A byte-level BPE of some thousand entries on prose and code; used until the text is tokenised."""
BLOCK_BYTES = 1 << 20
"""Bytes of a block of JSON Lines."""
FIRST_BLOCKS = 32
"""Blocks of which a part is rather read than all of fewer: neighbouring documents are alike."""
RESERVE = 4.0
"""By how much text may be less than is expected of the stored bytes."""
EXPANSION = {None: 1.0, "gzip": 3.0, "zstd": 3.5, "bz2": 4.0, "xz": 4.0}
"""Bytes of text per stored byte, about: by it files are chosen, whose own is then measured."""
MEASURED_BYTES = 1 << 20


@dataclass(frozen=True, order=True)
class Block:
    """A part of a file: bytes, row groups or documents `start` to `end` (0 and None: all of it).

    `size` is its stored bytes (Parquet: of the column, uncompressed), `expected` its bytes of text, about; `order` the
    hash of its place.
    """

    order: int
    chosen: Chosen
    start: int
    end: int | None
    size: int
    expected: float


def blocks_of(chosen: Chosen, field: str, encodings: tuple[str, ...]) -> Iterator[Block]:
    """The blocks of a file of text. Raises as a Parquet file that cannot be opened."""
    file = chosen.file
    if chosen.format == "jsonl" and chosen.compression is None and not any(map(is_wide, encodings)):
        for number, start in enumerate(range(0, file.size, BLOCK_BYTES)):
            end = min(start + BLOCK_BYTES, file.size)
            yield _block(chosen, number, start, end, end - start, end - start)
    elif chosen.format == "parquet":
        yield from _row_groups(chosen, field)
    else:
        yield _block(chosen, 0, 0, None, file.size, file.size * EXPANSION[chosen.compression])


def token_blocks(chosen: Chosen, bounds: Iterable[tuple[int, int | None, int]]) -> Iterator[Block]:
    """Blocks of a file of ids, from the first and the last document of each and their bytes."""
    for number, (start, end, size) in enumerate(bounds):
        yield _block(chosen, number, start, end, size, size)


def _row_groups(chosen: Chosen, field: str) -> Iterator[Block]:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(chosen.file.path)
    columns = [i for i in range(metadata.num_columns) if metadata.schema.column(i).path == field]
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        size = group.column(columns[0]).total_uncompressed_size if columns else group.total_byte_size
        yield _block(chosen, number, number, number + 1, size, size)


def _block(chosen: Chosen, number: int, start: int, end: int | None, size: int, expected: float) -> Block:
    return Block(_hash_of_place(chosen.file.path, number), chosen, start, end, size, expected)


def _hash_of_place(path: Path, number: int) -> int:
    """Of the file's name and its folder's, so that a corpus may move."""
    place = f"{path.parent.name}/{path.name}\0{number}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(place, digest_size=8).digest(), "big")


@dataclass(frozen=True)
class BlockSample:
    """The blocks to read, in order, and the part of their documents to keep (1: all, until there is enough text).

    `stored` is the size of all blocks of the corpus, `everything` whether all of them are here.
    """

    blocks: tuple[Block, ...]
    part: float
    stored: int
    everything: bool


def choose_blocks(blocks: Iterable[Block], text_bytes: float) -> BlockSample:
    """The blocks of which `text_bytes` bytes of text are read; memory holds only these."""
    heap: list[tuple[int, int, Block]] = []
    expected, stored, count = 0.0, 0, 0
    for count, block in enumerate(blocks, 1):
        stored += block.size
        expected += block.expected
        heapq.heappush(heap, (-block.order, count, block))
        while len(heap) > FIRST_BLOCKS and expected - heap[0][2].expected >= RESERVE * text_bytes:
            expected -= heapq.heappop(heap)[2].expected
    ordered = tuple(block for _, _, block in sorted(heap, key=lambda entry: (entry[2].order, entry[1])))
    first = ordered[:FIRST_BLOCKS]
    of_first = sum(_measured(block) for block in first)
    if of_first > text_bytes and count > 0:
        return BlockSample(first, text_bytes / of_first, stored, everything=False)
    return BlockSample(ordered, 1.0, stored, everything=len(ordered) == count)


def _measured(block: Block) -> float:
    """Bytes of text of a block, by how far the beginning of a compressed file expands."""
    if block.chosen.compression is None:
        return block.expected
    try:
        with open(block.chosen.file.path, "rb") as raw, decompressed(raw, block.chosen.compression) as stream:
            expanded = len(stream.read(MEASURED_BYTES))
            whole = not stream.read(1)
            return expanded if whole else block.size * expanded / max(raw.tell(), 1)
    except OSError:
        return block.expected  # whoever reads it says what is wrong


def is_sampled(digest: bytes, part: float) -> bool:
    """Whether a document is kept: a hash of its hash, as a uniform number, is below `part`.

    Independent of the held-out split, which goes by the hash itself.
    """
    if part >= 1:
        return True
    number = hashlib.blake2b(digest, digest_size=8, person=b"sample").digest()
    return int.from_bytes(number, "big") < part * 2.0**64
