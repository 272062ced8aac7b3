"""The token store's manifest: what it holds and what it was made with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mixing.corpora.files import folder_name
from mixing.errors import InputError
from mixing.versions import check_version, version_in
from proxies.data.shards import Shard

VERSION = 1
MANIFEST = "manifest.json"
PREFIX = r"[A-Za-z0-9_-]{1,73}/(train|heldout)-[0-9]{5,}"
"""The path of a shard: in the folder of its domain, and nowhere else."""


@dataclass(frozen=True)
class Recipe:
    """Everything besides the text that decides a store's bytes. `shard_bytes` counts UTF-8 bytes of text."""

    version: int
    tokenizer_hash: str
    vocab_size: int
    eos_id: int
    dtype: str
    heldout_fraction: float
    shard_bytes: int


@dataclass(frozen=True)
class SplitEntry:
    """The training or the held-out part of a domain."""

    documents: int
    tokens: int
    mean_tokens_per_document: float
    shards: tuple[Shard, ...]

    @classmethod
    def of(cls, shards: list[Shard]) -> SplitEntry:
        documents = sum(shard.documents for shard in shards)
        tokens = sum(shard.tokens for shard in shards)
        return cls(documents, tokens, tokens / documents, tuple(shards))


@dataclass(frozen=True)
class DomainEntry:
    """`files_fingerprint` tells whether the text must be read again. The whole corpus has `whole` times these tokens,
    more than once where a sample of it was read."""

    files_fingerprint: str
    train: SplitEntry
    heldout: SplitEntry
    whole: float = 1.0


@dataclass(frozen=True)
class EvalEntry:
    """A validation set of the study's own: all of it is held out."""

    files_fingerprint: str
    heldout: SplitEntry


@dataclass(frozen=True)
class Manifest:
    recipe: Recipe
    domains: dict[str, DomainEntry]
    evals: dict[str, EvalEntry] = field(default_factory=dict)

    def splits(self) -> Iterator[tuple[str, SplitEntry]]:
        """All splits, each with the name of its domain or validation set."""
        for name, domain in self.domains.items():
            yield name, domain.train
            yield name, domain.heldout
        yield from ((name, entry.heldout) for name, entry in self.evals.items())

    def to_json(self) -> bytes:
        return _SCHEMA.dump_json(self, indent=2) + b"\n"


_SCHEMA = TypeAdapter(Manifest)


def read_manifest(store: Path) -> Manifest:
    """Raises InputError, with the next step, where there is none or none that can be read."""
    path = store / MANIFEST
    try:
        content = path.read_bytes()
        if (version := version_in(content, "recipe", "version")) is not None:
            check_version(path, version, VERSION, "Delete this file and run again: the tokens are rebuilt")
        manifest = _SCHEMA.validate_json(content)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path} is missing: the token store is not built, or not finished",
            "Run the study again: finished shards are kept",
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "Correct its permissions") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is not a manifest ({error.errors()[0]['msg']})",
            "Delete this file and run again: finished shards are kept",
        ) from error
    for name, split in manifest.splits():
        for shard in split.shards:
            if not re.fullmatch(PREFIX, shard.prefix) or shard.prefix.split("/")[0] != folder_name(name):
                raise InputError(
                    f"{path}: domains.{name}: {shard.prefix[:60]!r} is no shard of this domain in the store",
                    "Delete this file and run again: finished shards are kept",
                )
    return manifest
