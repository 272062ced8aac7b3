"""Names of domains for the items of a trainer's file: two corpora stay two, the shards of one are one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from mixing.export.target import Entry

SUFFIX = re.compile(r"(_(text|content)_(document|sentence)|_document)?(\.[a-z_]{2,12})*$")
"""What tools append to the name of a corpus's files."""
COUNTER = re.compile(r"(?<![0-9])([0-9]+)$")


@dataclass(frozen=True)
class _Place:
    """Where a corpus lies: folders, then the file's name without pattern, suffix and number of a shard."""

    parts: tuple[str, ...]
    suffix: str = ""


def entry_names(entries: Sequence[Entry]) -> dict[Entry, str]:
    """A domain's name for every entry: the file's own, else after its folder or its files.

    Entries whose files differ only by the number of a shard are one domain. A name is as short as it can be while
    no two domains share it: the folder's, the file's, both, or the whole path.
    """
    unnamed = list(dict.fromkeys(entry for entry in entries if entry.name is None))
    corpora = _corpora([_place(entry.paths[0]) for entry in unnamed])
    names = _shortest(dict.fromkeys(corpora))
    return {entry: entry.name for entry in entries if entry.name is not None} | {
        entry: names[corpus] for entry, corpus in zip(unnamed, corpora, strict=True)
    }


def _place(path: str) -> _Place:
    """A last part that is only a pattern is left out: the corpus is the folder."""
    parts = [part for part in PurePosixPath(path.rpartition("://")[2]).parts if part != "/"]
    if not parts:
        return _Place((path or "data",))
    fixed = re.split(r"[*?\[{]", parts[-1])[0]
    stem = SUFFIX.sub("", fixed)
    suffix = parts[-1][len(stem) :]
    if fixed != parts[-1]:
        stem = stem.rstrip("-_.")
    return _Place((*parts[:-1], stem) if stem or len(parts) == 1 else tuple(parts[:-1]), suffix)


def _corpora(places: Sequence[_Place]) -> list[_Place]:
    """The corpus of each place: the place itself, or without its number where the numbers count shards."""
    numbers: dict[_Place, set[str]] = {}
    for place in places:
        match = COUNTER.search(place.parts[-1])
        if match:
            numbers.setdefault(_numberless(place), set()).add(match[1])
    return [
        _numberless(place)
        if COUNTER.search(place.parts[-1]) and _are_shards(numbers[_numberless(place)])
        else place
        for place in places
    ]


def _numberless(place: _Place) -> _Place:
    last = COUNTER.sub("", place.parts[-1]).rstrip("-_.")
    return _Place(
        (*place.parts[:-1], last) if last or len(place.parts) == 1 else place.parts[:-1], place.suffix
    )


def _are_shards(numbers: Iterable[str]) -> bool:
    """Whether numbers count shards: padded with zeros, or 0, 1, 2, ... or 1, 2, ...; years and dumps do not."""
    texts = sorted(numbers, key=int)
    if len({len(text) for text in texts}) == 1 and len(texts[0]) > 2 and texts[0].startswith("0"):
        return True
    counts = [int(text) for text in texts]
    return (
        len(counts) > 1 and counts[0] in (0, 1) and counts == list(range(counts[0], counts[0] + len(counts)))
    )


def _shortest(corpora: Iterable[_Place]) -> dict[_Place, str]:
    places = list(corpora)
    folders = [place.parts[:-1] or place.parts for place in places]
    by_folder, by_file = [folder[-1] for folder in folders], [place.parts[-1] for place in places]
    ways = (
        *((by_folder, by_file) if len(set(folders)) > 1 else (by_file, by_folder)),
        ["/".join(folder) for folder in folders],
        ["/".join(place.parts[-2:]) for place in places],
        ["/".join(place.parts) for place in places],
    )
    for names in ways:
        if len(set(names)) == len(names) and all(names):
            return dict(zip(places, names, strict=True))
    return {place: "/".join(place.parts) + place.suffix for place in places}


def merged_entries(stages: Iterable[Sequence[Entry]], names: Mapping[Entry, str]) -> list[str]:
    """A note for every domain that several entries of a stage were added up to, with the part of each."""
    notes: dict[str, None] = {}
    for entries in stages:
        of_domain: dict[str, list[Entry]] = {}
        for entry in entries:
            of_domain.setdefault(names[entry], []).append(entry)
        total = sum(entry.weight for entry in entries)
        for name, parts in of_domain.items():
            if len(parts) > 1 and total > 0:
                listed = [f"{_label(entry)} {entry.weight / total:.4g}" for entry in parts]
                shown = ", ".join(listed[:6]) + (", ..." if len(listed) > 6 else "")
                notes[f"{name} is {len(parts)} items of the file: {shown}"] = None
    return list(notes)


def _label(entry: Entry) -> str:
    return PurePosixPath(entry.paths[0]).name if entry.paths else entry.name or ""
