"""One corpus into shards of tokens, redoing only the shards that are not finished."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mixing.corpora.documents import Document, Source, check_split, contents, is_heldout
from mixing.corpora.files import folder_name
from mixing.corpora.left_out import Tally
from mixing.corpora.progress import ByteProgress
from mixing.corpora.token_files import TokenDocument
from proxies.data import shards
from proxies.data.encode import Encoder, Joiner, OnPart
from proxies.data.manifest import DomainEntry, EvalEntry, Recipe, SplitEntry
from proxies.data.shards import Shard

SHARD_FILE = re.compile(r"(train|heldout)-(\d{5,})\.(bin|idx|json)")


def tokenise_eval(
    source: Source,
    files_fingerprint: str,
    store: Path,
    recipe: Recipe,
    encoder: Encoder | Joiner,
    progress: ByteProgress,
) -> EvalEntry:
    """A validation set, all of whose documents are held out. Raises as `tokenise`."""
    whole = replace(recipe, heldout_fraction=1.0)
    shards, _ = _splits(source, store, whole, encoder, progress)
    return EvalEntry(files_fingerprint, SplitEntry.of(shards["heldout"]))


def tokenise(
    source: Source,
    files_fingerprint: str,
    store: Path,
    recipe: Recipe,
    encoder: Encoder | Joiner,
    progress: ByteProgress,
) -> DomainEntry:
    """Cut a domain into shards, in the order of its documents, and encode those that are not there already.

    All text is read, but a shard that is finished for the same text and recipe is not encoded again. Raises
    InputError where one split has no document and as `mixing.corpora.documents.documents`, MixlawError where a shard
    cannot be written, OSError where the domain's folder cannot.
    """
    shards, whole = _splits(source, store, recipe, encoder, progress)
    return DomainEntry(
        files_fingerprint, SplitEntry.of(shards["train"]), SplitEntry.of(shards["heldout"]), whole
    )


def _splits(
    source: Source, store: Path, recipe: Recipe, encoder: Encoder | Joiner, progress: ByteProgress
) -> tuple[dict[str, list[Shard]], float]:
    """The shards of both splits, and how many times their tokens the whole corpus has."""
    folder = folder_name(source.name)
    (store / folder).mkdir(parents=True, exist_ok=True)
    for left in (store / folder).glob(".*.partial"):
        left.unlink()
    tally = Tally()
    reported = 0

    def flush(split: _Split) -> None:
        nonlocal reported
        start, span = reported, tally.bytes_read - reported
        split.flush(store, encoder, lambda part: progress.at(start + int(part * span)))
        reported = tally.bytes_read

    train, size = _Split(f"{folder}/train", recipe), 0
    heldout = _Split(f"{folder}/heldout", recipe)
    for document in contents(source, tally):
        split = heldout if is_heldout(document.digest, recipe.heldout_fraction) else train
        split.add(document)
        size += document.size
        if split.bytes >= recipe.shard_bytes:
            flush(split)
    if recipe.heldout_fraction < 1:
        documents = train.documents + heldout.documents
        check_split(source.name, documents, heldout.documents, recipe.heldout_fraction)
    for split in (train, heldout):
        if split.waiting:
            flush(split)
    _remove_surplus(store / folder, {"train": len(train.shards), "heldout": len(heldout.shards)})
    whole = 1.0 if tally.whole is None else tally.whole.bytes / size
    return {"train": train.shards, "heldout": heldout.shards}, whole


@dataclass
class _Split:
    """The shard that is being filled, and those that are done."""

    prefix: str
    recipe: Recipe
    shards: list[Shard] = field(default_factory=list)
    documents: int = 0
    waiting: list[Any] = field(default_factory=list)
    bytes: int = 0

    def __post_init__(self) -> None:
        self._hash = self._new_hash()

    def add(self, document: Document | TokenDocument) -> None:
        self.waiting.append(document.ids if isinstance(document, TokenDocument) else document.text)
        self._hash.update(document.digest)
        self.bytes += document.size
        self.documents += 1

    def flush(self, store: Path, encoder: Encoder | Joiner, on_part: OnPart) -> None:
        prefix = f"{self.prefix}-{len(self.shards):05d}"
        key = self._hash.hexdigest()
        shard = shards.finished(store, prefix, key)
        if shard is None:
            tokens, lengths = encoder.encode(self.waiting, on_part)
            shard = shards.write(store, prefix, key, tokens, lengths, self.bytes)
        self.shards.append(shard)
        self.waiting = []
        self.bytes = 0
        self._hash = self._new_hash()

    def _new_hash(self) -> hashlib._Hash:
        return hashlib.sha256(repr(sorted(asdict(self.recipe).items())).encode())


def _remove_surplus(folder: Path, shards_of: dict[str, int]) -> None:
    """Shards of a time when there was more text."""
    for path in folder.iterdir():
        match = SHARD_FILE.fullmatch(path.name)
        if match and int(match[2]) >= shards_of[match[1]]:
            path.unlink()
