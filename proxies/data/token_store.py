"""The token store: what the proxies read, and any trainer that reads Megatron files.

    <store>/manifest.json                          written last
    <store>/<domain>/train-00000.bin, .idx, .json  tokens, Megatron's index, and the record of the shard
    <store>/<domain>/heldout-00000.bin, ...

Tokens are little-endian uint16 or int32, every document followed by the end-of-document token.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mixing.atomic import replace_files
from mixing.corpora.documents import Source, survey_source
from mixing.corpora.files import Survey
from mixing.corpora.progress import ByteProgress, Report
from mixing.errors import InputError, MixlawError
from mixing.versions import NewerState
from proxies.data.encode import Encoder, Joiner
from proxies.data.manifest import (
    MANIFEST,
    VERSION,
    DomainEntry,
    EvalEntry,
    Manifest,
    Recipe,
    SplitEntry,
    read_manifest,
)
from proxies.data.megatron_files import document_lengths, token_dtype
from proxies.data.shards import Shard, check_shard
from proxies.data.tokenise import tokenise, tokenise_eval
from proxies.data.tokenizer import eos_id, ids_hash, load_tokenizer, tokenizer_hash, vocabulary_size

SHARD_BYTES = 32 << 20
"""UTF-8 bytes of text (or of ids) per shard: what a kill may cost, and about what is held in memory."""


FEW = 64
"""Windows up to which copying them one by one is faster than a gather for every shard."""


@dataclass(frozen=True)
class TokenSplit:
    """The training or the held-out tokens of a domain, in shards. Tokens are mapped, not loaded."""

    store: Path
    entry: SplitEntry
    recipe: Recipe

    @property
    def tokens(self) -> int:
        return self.entry.tokens

    @property
    def documents(self) -> int:
        return self.entry.documents

    @property
    def mean_tokens_per_document(self) -> float:
        """End-of-document token included."""
        return self.entry.mean_tokens_per_document

    @property
    def shards(self) -> tuple[str, ...]:
        """Paths relative to the store, without `.bin` and `.idx`."""
        return tuple(shard.prefix for shard in self.entry.shards)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the tokens and how they are cut into documents and shards; not of names or places."""
        content = [
            [shard.documents, shard.tokens, shard.bin_sha256, shard.idx_sha256] for shard in self.entry.shards
        ]
        return _hash([self.recipe.tokenizer_hash, self.recipe.dtype, content])

    def n_windows(self, context: int) -> int:
        """How many windows of `context` tokens (and the next one) the split holds."""
        return int(self._first_windows(context)[-1])

    def windows(self, ids: NDArray[np.integer], context: int) -> NDArray[np.int64]:
        """The windows `ids`, as [n, context + 1].

        Window i of a shard starts at its token i * context; windows are counted through the shards and never
        cross one. Raises IndexError for an id outside `range(n_windows(context))`.
        """
        ids_n = np.asarray(ids, dtype=np.int64)
        first = self._first_windows(context)
        if ids_n.size and not 0 <= ids_n.min() <= ids_n.max() < first[-1]:
            raise IndexError(f"windows {ids_n.min()} to {ids_n.max()} of {first[-1]}")
        windows = np.empty((len(ids_n), context + 1), dtype=np.int64)
        shard_n = np.searchsorted(first, ids_n, side="right") - 1
        if len(ids_n) < FEW:
            arrays, length = self._arrays, context + 1
            starts = ((ids_n - first[shard_n]) * context).tolist()
            for window, shard, start in zip(windows, shard_n.tolist(), starts, strict=True):
                window[:] = arrays[shard][start : start + length]
            return windows
        for shard in np.unique(shard_n):
            rows = shard_n == shard
            starts = (ids_n[rows] - first[shard]) * context
            windows[rows] = sliding_window_view(self._arrays[shard], context + 1)[starts]
        return windows

    def documents_of(self, ids: NDArray[np.integer], context: int) -> NDArray[np.int64]:
        """The document, counted through the shards, that holds the middle token of each of the windows `ids`."""
        ids_n = np.asarray(ids, dtype=np.int64)
        first = self._first_windows(context)
        shard_n = np.searchsorted(first, ids_n, side="right") - 1
        documents = np.empty(len(ids_n), dtype=np.int64)
        before = np.concatenate(([0], np.cumsum([shard.documents for shard in self.entry.shards])))
        for shard in np.unique(shard_n):
            rows = shard_n == shard
            middles = (ids_n[rows] - first[shard]) * context + context // 2
            lengths = document_lengths(self.entry.shards[shard].files(self.store)[1].read_bytes())
            documents[rows] = before[shard] + np.searchsorted(np.cumsum(lengths), middles, side="right")
        return documents

    def _first_windows(self, context: int) -> NDArray[np.int64]:
        """The first window of each shard, and then how many there are."""
        if context in self._known_firsts:
            return self._known_firsts[context]
        if context < 1:
            raise ValueError(f"a context of {context} tokens")
        tokens = np.array([shard.tokens for shard in self.entry.shards], dtype=np.int64)
        first = np.concatenate(([0], np.cumsum(np.maximum(tokens - 1, 0) // context)))
        self._known_firsts[context] = first
        return first

    @cached_property
    def _known_firsts(self) -> dict[int, NDArray[np.int64]]:
        return {}

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.integer], ...]:
        dtype = np.dtype(self.recipe.dtype).newbyteorder("<")
        # As plain arrays: slicing a memmap makes an object that costs more than the slice.
        return tuple(
            np.memmap(shard.files(self.store)[0], dtype=dtype, mode="r", shape=(shard.tokens,)).view(
                np.ndarray
            )
            for shard in self.entry.shards
        )


@dataclass(frozen=True)
class DomainTokens:
    """The tokens of one domain."""

    name: str
    train: TokenSplit
    heldout: TokenSplit

    @property
    def tokens(self) -> int:
        return self.train.tokens + self.heldout.tokens

    @cached_property
    def fingerprint(self) -> str:
        return _hash([self.train.fingerprint, self.heldout.fingerprint])


@dataclass(frozen=True)
class TokenStore:
    """A finished token store."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path, verify: bool = True) -> TokenStore:
        """Open a store. The sizes of all shards are checked and, with `verify`, their hashes.

        Raises InputError, naming the file and the next step, for a store that is missing, unfinished or not
        one, and for a shard that is missing, cut short or altered.
        """
        manifest = read_manifest(path)
        dtype = np.dtype(manifest.recipe.dtype)
        for _, split in manifest.splits():
            for shard in split.shards:
                check_shard(path, shard, dtype, hashes=verify)
        return cls(path, manifest)

    @cached_property
    def domains(self) -> dict[str, DomainTokens]:
        """By name, in the order of the study."""
        recipe = self.manifest.recipe
        return {
            name: DomainTokens(
                name, TokenSplit(self.path, entry.train, recipe), TokenSplit(self.path, entry.heldout, recipe)
            )
            for name, entry in self.manifest.domains.items()
        }

    @cached_property
    def evals(self) -> dict[str, TokenSplit]:
        """Validation sets of the study's own, by name."""
        entries = self.manifest.evals.items()
        return {name: TokenSplit(self.path, entry.heldout, self.manifest.recipe) for name, entry in entries}

    @property
    def tokenizer_hash(self) -> str:
        return self.manifest.recipe.tokenizer_hash

    @property
    def vocab_size(self) -> int:
        return self.manifest.recipe.vocab_size

    @property
    def eos_id(self) -> int:
        return self.manifest.recipe.eos_id

    @property
    def dtype(self) -> str:
        """`uint16` or `int32`."""
        return self.manifest.recipe.dtype

    @property
    def tokens(self) -> dict[str, int]:
        """Tokens of each domain, both splits, as `mixing.corpora.catalog.with_tokens` takes them."""
        return {name: domain.tokens for name, domain in self.domains.items()}

    @property
    def fingerprints(self) -> dict[str, str]:
        return {name: domain.fingerprint for name, domain in self.domains.items()}


Entry = TypeVar("Entry", DomainEntry, EvalEntry)
Tokenise = Callable[[Source, str, Path, Recipe, Encoder | Joiner, ByteProgress], Entry]


def build(
    sources: Sequence[Source],
    tokenizer_path: Path | None,
    store_dir: Path,
    heldout_fraction: float,
    on_progress: Report | None = None,
    *,
    eos: str | None = None,
    threads: int | None = None,
    shard_bytes: int = SHARD_BYTES,
    evals: Sequence[Source] = (),
) -> TokenStore:
    """Tokenise the corpora into `store_dir`, or open what is there if nothing changed since.

    Killed at any moment and run again, it redoes unfinished shards only and ends with the same bytes. Text
    that changed is tokenised again, a deleted shard is rebuilt, and with another tokenizer, end-of-document
    token, held-out fraction or shard size everything is. `threads` is the number that encode (default: the
    processors this process may use); it does not change the bytes.

    Sources of token ids are copied, split by document like text; a document keeps its end-of-document id, or gets one.
    `evals` are validation sets, of which everything is held out. Where all sources are ids no tokenizer is needed:
    `tokenizer_path` may be None.

    Raises InputError as `mixing.corpora.documents.contents`, `load_tokenizer`, `eos_id` and `TokenStore.open`, for a
    domain with nothing on one side of the split, and for ids of another vocabulary than the tokenizer's;
    MixlawError, naming the path, where it cannot be written.
    """
    tokenizer = load_tokenizer(tokenizer_path) if tokenizer_path is not None else None
    vocabulary = _vocabulary([*sources, *evals], tokenizer, tokenizer_path, eos)
    dtype = token_dtype(vocabulary.size)
    recipe = Recipe(
        version=VERSION,
        tokenizer_hash=vocabulary.tokenizer_hash,
        vocab_size=vocabulary.size,
        eos_id=vocabulary.eos_id,
        dtype=dtype.name,
        heldout_fraction=heldout_fraction,
        shard_bytes=shard_bytes,
    )
    unchanged = _unchanged(store_dir, recipe)
    surveys = {source.name: survey_source(source) for source in (*sources, *evals)}
    progress = ByteProgress(on_progress, sum(survey.bytes for survey in surveys.values()))
    with contextlib.ExitStack() as stack:
        joiner = Joiner(recipe.eos_id, dtype)
        encoder: Encoder | Joiner = joiner
        if tokenizer is not None:
            threads = threads or len(os.sched_getaffinity(0))
            encoder = stack.enter_context(Encoder(tokenizer, recipe.eos_id, dtype, threads))

        work = _Work(store_dir, recipe, encoder, joiner, progress, surveys)
        domains = work.entries(sources, unchanged.domains, tokenise)
        manifest = Manifest(recipe, domains, work.entries(evals, unchanged.evals, tokenise_eval))
    same = list(unchanged.domains.items()) == list(domains.items()) and unchanged.evals == manifest.evals
    if not (store_dir / MANIFEST).exists() or not same:
        replace_files({store_dir / MANIFEST: manifest.to_json()})
    progress.finish()
    return TokenStore.open(store_dir, verify=True)


@dataclass(frozen=True)
class _Work:
    """What it takes to bring the entries of a store up to date."""

    store_dir: Path
    recipe: Recipe
    encoder: Encoder | Joiner
    joiner: Joiner
    progress: ByteProgress
    surveys: Mapping[str, Survey]

    def entries(
        self, sources: Sequence[Source], known: Mapping[str, Entry], tokenise: Tokenise[Entry]
    ) -> dict[str, Entry]:
        """The entry of each source: the known one where its files are the same, else tokenised anew."""
        made = {}
        for source in sources:
            survey, entry = self.surveys[source.name], known.get(source.name)
            if entry is None or entry.files_fingerprint != survey.fingerprint:
                encoder = self.encoder if source.tokens is None else self.joiner
                with _writing(self.store_dir):
                    # It no longer describes the shards once one of them is replaced.
                    (self.store_dir / MANIFEST).unlink(missing_ok=True)
                    entry = tokenise(
                        source, survey.fingerprint, self.store_dir, self.recipe, encoder, self.progress
                    )
            made[source.name] = entry
            self.progress.next(survey.bytes)
        return made


@dataclass(frozen=True)
class _Vocabulary:
    """What the ids of a store mean."""

    tokenizer_hash: str
    size: int
    eos_id: int


def _vocabulary(
    sources: Sequence[Source], tokenizer: Tokenizer | None, path: Path | None, eos: str | None
) -> _Vocabulary:
    """That of the tokenizer, or of the sources of ids; InputError where they differ."""
    if tokenizer is not None and path is not None:
        vocabulary = _Vocabulary(
            tokenizer_hash(path), vocabulary_size(tokenizer), eos_id(tokenizer, path, eos)
        )
        whose = str(path)
    else:
        text = next((source for source in sources if source.tokens is None), None)
        if text is not None or not sources:
            raise InputError(
                f"domain {text.name if text else ''!r} is text, and no tokenizer is given",
                "Give the tokenizer's file",
            )
        first = sources[0].tokens
        assert first is not None
        vocabulary = _Vocabulary(ids_hash(first.vocab_size, first.eos_id), first.vocab_size, first.eos_id)
        whose = f"domain {sources[0].name!r}"
    for source in sources:
        ids = source.tokens
        if ids is not None and (ids.vocab_size, ids.eos_id) != (vocabulary.size, vocabulary.eos_id):
            raise InputError(
                f"domain {source.name!r} has ids below {ids.vocab_size} with documents ended by {ids.eos_id}; "
                f"{whose}: below {vocabulary.size}, ended by {vocabulary.eos_id}",
                "All domains of a study have one tokenizer",
            )
    return vocabulary


def _unchanged(store_dir: Path, recipe: Recipe) -> Manifest:
    """What an earlier build with this recipe left whose files are there; `open` verifies what they hold."""
    try:
        manifest = read_manifest(store_dir)
    except NewerState:
        raise  # a later mixlaw may still need it
    except InputError:
        return Manifest(recipe, {})
    if manifest.recipe != recipe:
        return Manifest(recipe, {})
    return Manifest(
        recipe,
        {
            name: entry
            for name, entry in manifest.domains.items()
            if _present(store_dir, (*entry.train.shards, *entry.heldout.shards))
        },
        {name: entry for name, entry in manifest.evals.items() if _present(store_dir, entry.heldout.shards)},
    )


def _present(store_dir: Path, shards: tuple[Shard, ...]) -> bool:
    return all(path.exists() for shard in shards for path in shard.files(store_dir))


@contextlib.contextmanager
def _writing(store_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MixlawError(
            f"{error.filename or store_dir}: cannot be written: {error.strerror or error}",
            "Make it writable or set MIXLAW_HOME to another folder, and run again: finished shards are kept",
        ) from error


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
