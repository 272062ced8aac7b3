"""What of a corpus is not read, and why: counted and named, and refused where it is too much."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mixing.corpora.estimate import Estimate
from mixing.corpora.files import File, shown

NAMED = 8
"""Files that are named for a reason; the others are counted."""
NAMED_LINES = 3
"""Malformed records that are named; the others are counted."""
WARN_SHARE = 0.001
"""Share of a corpus past which what is left out is a warning."""
MAX_SHARE = 0.05
"""Share past which it is an error, unless the corpus allows more."""


@dataclass(frozen=True)
class LeftOut:
    """Files that were not read for one reason.

    `no_data` says that they only tell about the corpus (a card, a licence): they are no part of it.
    """

    reason: str
    files: int
    bytes: int
    examples: tuple[str, ...]
    no_data: bool = False

    def sentence(self) -> str:
        """How many, the names of some, and why."""
        more = "" if self.files <= len(self.examples) else f" and {self.files - len(self.examples):,} more"
        return f"{', '.join(self.examples)}{more} ({self.reason})"


@dataclass
class Tally:
    """What a reader skipped, and its progress: `bytes_read` of the bytes that `survey_source` counts.

    `empty` documents have no text or white space only; `invalid_utf8` are in none of the encodings; `malformed` are
    lines that are no JSON and records without text. `reading` is the file of the latest document. `other` counts
    records of no bucket, `elsewhere` those of other buckets. `whole` is what a corpus of which a sample was read holds.
    """

    empty: int = 0
    invalid_utf8: int = 0
    other: int = 0
    elsewhere: int = 0
    malformed: int = 0
    malformed_examples: list[str] = field(default_factory=list)
    reading: Path | None = None
    bytes_read: int = 0
    invalid_bytes: int = 0
    invalid_examples: list[str] = field(default_factory=list)
    whole: Estimate | None = None
    _files: dict[tuple[str, bool], list[File]] = field(default_factory=dict)
    _sums: dict[tuple[str, bool], list[int]] = field(default_factory=dict)

    def leave_out(self, file: File, reason: str, *, no_data: bool = False) -> None:
        """Count and name a file that is not read."""
        key = (reason, no_data)
        sums = self._sums.setdefault(key, [0, 0])
        sums[0] += 1
        sums[1] += file.size
        if sums[0] <= NAMED:
            self._files.setdefault(key, []).append(file)

    def invalid(self, path: Path, size: int = 0) -> None:
        """Count a document that is in none of the encodings; `size` where it is a whole file, in bytes."""
        self.invalid_utf8 += 1
        self.invalid_bytes += size
        name = shown(path)
        if len(self.invalid_examples) < NAMED and name not in self.invalid_examples:
            self.invalid_examples.append(name)

    def count_malformed(self, place: str, fault: str) -> None:
        """Count a record that is not JSON or has no text, in the file `place`; `fault` begins with its line."""
        self.malformed += 1
        if len(self.malformed_examples) < NAMED_LINES:
            self.malformed_examples.append(f"{place}: {fault}")

    def count_other(self, elsewhere: bool) -> None:
        """Count a record that is in another bucket (`elsewhere`), or in none."""
        self.elsewhere += elsewhere
        self.other += not elsewhere

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The files that were not read, by reason."""
        return tuple(
            LeftOut(key[0], count, size, tuple(shown(file.path) for file in self._files[key]), no_data=key[1])
            for key, (count, size) in self._sums.items()
        )


def share_left_out(tally: Tally, documents: int, file_bytes: int) -> float:
    """The part of a corpus that is left out: of its bytes or of its documents, whichever is more.

    `documents` were read, out of files of `file_bytes` bytes. Blank documents hold no text that could be left out.
    """
    no_data = sum(part.bytes for part in tally.left_out if part.no_data)
    lost = sum(part.bytes for part in tally.left_out if not part.no_data) + tally.invalid_bytes
    unread = tally.invalid_utf8 + tally.malformed + tally.other
    return max(lost / max(file_bytes - no_data, 1), unread / max(documents + unread + tally.elsewhere, 1))


def words_left_out(tally: Tally) -> tuple[str, ...]:
    """What was left out of a corpus, in words: files by reason, then documents."""
    parts = [part.sentence() for part in tally.left_out if not part.no_data]
    if tally.invalid_utf8:
        more = ", ..." if tally.invalid_utf8 > len(tally.invalid_examples) else ""
        where = f" ({', '.join(tally.invalid_examples)}{more})"
        parts.append(f"{tally.invalid_utf8:,} documents that are not text in its encoding{where}")
    if tally.malformed:
        more = "; ..." if tally.malformed > len(tally.malformed_examples) else ""
        where = f" ({'; '.join(tally.malformed_examples)}{more})"
        parts.append(f"{tally.malformed:,} malformed records{where}")
    if tally.other:
        parts.append(f"{tally.other:,} records of no bucket")
    return tuple(parts)


def words_no_data(tally: Tally) -> tuple[str, ...]:
    """The files beside the data that only tell about it, in words."""
    return tuple(part.sentence() for part in tally.left_out if part.no_data)
