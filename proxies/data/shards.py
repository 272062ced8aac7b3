"""One shard of tokens: a bounded amount of text as `.bin` and `.idx`, and the record that it is finished."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from mixing.atomic import replace_files
from mixing.errors import InputError
from proxies.data.megatron_files import index_bytes, index_size


@dataclass(frozen=True)
class Shard:
    """`prefix` is the path within the store, without extension; `bytes` the UTF-8 size of its text."""

    prefix: str
    documents: int
    tokens: int
    bytes: int
    bin_sha256: str
    idx_sha256: str

    def files(self, store: Path) -> tuple[Path, Path]:
        """Its `.bin` and its `.idx`."""
        return store / f"{self.prefix}.bin", store / f"{self.prefix}.idx"


@dataclass(frozen=True)
class Record:
    """Written last. `key` hashes the text, its order, and everything else that decides the shard's bytes."""

    key: str
    shard: Shard


_RECORD = TypeAdapter(Record)


def record_path(store: Path, prefix: str) -> Path:
    return store / f"{prefix}.json"


def finished(store: Path, prefix: str, key: str) -> Shard | None:
    """The shard if it is already there with this key, else None. What its files hold is not verified here."""
    try:
        record = _RECORD.validate_json(record_path(store, prefix).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    there = record.key == key and all(file.exists() for file in record.shard.files(store))
    return record.shard if there else None


def write(
    store: Path,
    prefix: str,
    key: str,
    tokens: NDArray[np.integer],
    lengths: NDArray[np.int64],
    text_bytes: int,
) -> Shard:
    """Write a shard and its record, so that a kill at any moment leaves it either finished or to be redone.

    Raises MixlawError, naming the file, where it cannot be written.
    """
    bin_bytes, idx_bytes = tokens.tobytes(), index_bytes(lengths, tokens.dtype)
    shard = Shard(
        prefix=prefix,
        documents=len(lengths),
        tokens=len(tokens),
        bytes=text_bytes,
        bin_sha256=hashlib.sha256(bin_bytes).hexdigest(),
        idx_sha256=hashlib.sha256(idx_bytes).hexdigest(),
    )
    bin_path, idx_path = shard.files(store)
    # An older record must not vouch for new bytes.
    record_path(store, prefix).unlink(missing_ok=True)
    replace_files({bin_path: bin_bytes, idx_path: idx_bytes})
    replace_files({record_path(store, prefix): _RECORD.dump_json(Record(key, shard), indent=2)})
    return shard


def check_shard(store: Path, shard: Shard, dtype: np.dtype, *, hashes: bool) -> None:
    """Raises InputError, naming the file, where one is missing, cut short or (with `hashes`) altered."""
    sizes = (shard.tokens * dtype.itemsize, index_size(shard.documents))
    for path, size, sha256 in zip(
        shard.files(store), sizes, (shard.bin_sha256, shard.idx_sha256), strict=True
    ):
        try:
            actual = path.stat().st_size
        except FileNotFoundError:
            raise InputError(f"{path} is missing", "Run again: only this shard is rebuilt") from None
        fault = ""
        if actual < size:
            fault = f"is cut short ({actual} of {size} bytes)"
        elif actual > size:
            fault = f"is too long ({actual} bytes, not {size})"
        elif hashes:
            with open(path, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    fault = "is altered (its hash is not the recorded one)"
        if fault:
            raise InputError(f"{path} {fault}", "Delete this file and run again: only this shard is rebuilt")
