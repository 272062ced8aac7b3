"""The files of a corpus, always in the same order, and a fingerprint that tells when one of them changed."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

from mixing.errors import InputError


@dataclass(frozen=True)
class File:
    """A file of a corpus; `size` in bytes as stored (compressed files: compressed). `named` says that the corpus
    names the file itself, not a folder or a glob that it is in."""

    path: Path
    size: int
    mtime_ns: int
    named: bool = False


@dataclass(frozen=True)
class Survey:
    """Files and bytes of a corpus, counted without reading it.

    `fingerprint` changes when a file is added, removed, renamed, resized or written to; equal fingerprints
    mean that what was computed from the files still holds.
    """

    files: int
    bytes: int
    fingerprint: str


def corpus_files(name: str, paths: Iterable[Path]) -> Iterator[File]:
    """The files of domain `name`: folders are walked (sorted, links followed), globs expanded (sorted).

    Hidden files and folders (`.git`) are left out, and a path inside another one is not read twice.
    Raises InputError, naming the domain and the path, for a path that does not exist, a glob without a match,
    a folder without a file, or anything that cannot be read.
    """
    paths = tuple(paths)
    entries = list(dict.fromkeys(entry for path in paths for entry in _entries(name, path)))
    if not entries:
        raise InputError(f"domain {name!r} has no paths", "Name at least one folder, file or glob of text")
    folders = {entry for entry in entries if entry.is_dir()}
    named = {path.expanduser().absolute() for path in paths} - folders
    for entry in entries:
        if any(parent in folders for parent in entry.parents):
            continue
        empty = True
        for file in _walk(name, entry, ()):
            empty = False
            yield replace(file, named=True) if entry in named else file
        if empty:
            raise InputError(
                f"domain {name!r}: {shown(entry)} holds no files",
                "Put text there (.jsonl, .parquet, .csv or text files, compressed or not), or correct the path",
            )


def survey(name: str, paths: Iterable[Path]) -> Survey:
    """Count and fingerprint the files of a domain by names, sizes and times. Raises as `corpus_files`."""
    digest = hashlib.sha256()
    files = total = 0
    for file in corpus_files(name, paths):
        digest.update(b"%s\0%d\0%d\0" % (os.fsencode(file.path), file.size, file.mtime_ns))
        files += 1
        total += file.size
    return Survey(files, total, digest.hexdigest())


def folder_name(domain: str) -> str:
    """A domain's name made safe for paths, globs and lists; different names give different folders."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", domain)[:64]
    return safe if safe == domain and safe else f"{safe}-{crc32(domain.encode()):08x}"


def shown(path: Path) -> str:
    """A path that can be printed, also where its name is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def unreadable(name: str, path: Path, error: OSError) -> InputError:
    """The error for a file of domain `name` that cannot be read."""
    return InputError(
        f"domain {name!r}: cannot read {shown(path)} ({error.strerror or error})",
        "Correct the file or its permissions, or leave it out",
    )


def damaged(name: str, path: Path, error: OSError) -> InputError:
    """The error for a file of domain `name` that cannot be read, or whose content cannot."""
    if error.errno is not None:
        return unreadable(name, path, error)
    return InputError(
        f"domain {name!r}: {shown(path)} is damaged or cut short ({error})",
        "Fetch or write this file again, or take it out of paths",
    )


def _entries(name: str, path: Path) -> list[Path]:
    path = path.expanduser().absolute()
    if path.exists():
        return [path]
    if not glob.has_magic(str(path)):
        raise InputError(
            f"domain {name!r}: {shown(path)} does not exist",
            "Correct the path, or put the text of this domain there",
        )
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    if not matches:
        raise InputError(
            f"domain {name!r}: no file matches {shown(path)}", "Correct the pattern or the folder"
        )
    return matches


def _walk(name: str, path: Path, above: tuple[str, ...]) -> Iterator[File]:
    """Depth first, one folder's names in memory at a time; `above` are the real folders that lead here."""
    try:
        if not path.is_dir():
            stat = path.stat()
            if path.is_file():  # not a pipe or a device, which would block
                yield File(path, stat.st_size, stat.st_mtime_ns)
            return
        real = os.path.realpath(path)
        if real in above:  # a link back up
            return
        names = sorted(os.listdir(path))
    except OSError as error:
        raise unreadable(name, path, error) from error
    for child in names:
        if not child.startswith("."):
            yield from _walk(name, path / child, (*above, real))
