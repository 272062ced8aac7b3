"""A commented study file from folders of text: what `mixlaw init` writes."""

from __future__ import annotations

import itertools
import math
import os
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from flows.study.keys import Key, keys_of
from flows.study.models import Study
from flows.study.names import name_of
from mixing.atomic import replace_files
from mixing.corpora.encodings import UTF8
from mixing.corpora.inspection import Inspection, inspect
from mixing.errors import InputError

GENERAL_WORDS = ("general", "replay", "pretrain", "base", "web", "pile", "common", "wiki", "docs", "english")

HEADER = """\
# How much of the new domain can be trained on before the model forgets too much?
#
# Written by `mixlaw init`. Check the roles and the tokens, then:
#   mixlaw plan {file}     shows the runs and how long they take
#   mixlaw run {file}      runs the whole study; finished runs are kept
# Token counts may be written 2000000, 2e6 or 2M. Paths are relative to this file.
{questions}
"""

WIDTH = 110
COLUMN = 30
"""Where comments begin that stand beside a key; further right where the key needs it."""


@dataclass(frozen=True)
class TextFolder:
    """A sub-folder of text, and what its files seem to hold."""

    name: str
    path: Path
    inside: Inspection

    @property
    def bytes(self) -> int:
        return self.inside.bytes

    @property
    def question(self) -> str:
        """What of it was guessed, for people to check; empty where nothing was."""
        parts = []
        if len(self.inside.fields) > 1 or self.inside.text_field != "text":
            others = ", ".join(self.inside.fields[:6])
            more = ", ..." if len(self.inside.fields) > 6 else ""
            parts.append(f"text_field {self.inside.text_field} (fields with text: {others}{more})")
        if self.inside.encodings != (UTF8,):
            sample = f", e.g. {self.inside.sample!r}" if self.inside.sample else ""
            parts.append(f"read as {', '.join(self.inside.encodings)}{sample}")
        return f"{self.name}: {'; '.join(parts)}" if parts else ""


def write_study(folder: Path, out: Path) -> tuple[str, tuple[str, ...]]:
    """Write a study file for the sub-folders of `folder`: the reason for the roles, and what else was guessed.

    Raises InputError where `out` exists already, or there is too little text.
    """
    folders = text_folders(folder)
    if out.exists():
        raise InputError(f"{out}: exists already", "Choose another with --out, or remove it")
    general, reason = guess_general(folders)
    targets = [domain for domain in folders if domain is not general]
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")[:40] or "study"
    document = _document(name, general, targets, out.absolute().parent)
    guesses = tuple(domain.question for domain in folders if domain.question)
    questions = _questions(general, targets, reason, guesses)
    text = HEADER.format(file=out.name, questions=questions) + commented_yaml(document)
    replace_files({out: text.encode()})
    return reason, guesses


def _questions(general: TextFolder, targets: list[TextFolder], reason: str, guesses: tuple[str, ...]) -> str:
    """What the file asks its reader to check, as comments."""
    lines = [
        f"Roles were guessed: {reason}.",
        f"Is it true that {general.name} is general (what the base model knows and must not forget),",
        f"and {', '.join(domain.name for domain in targets)} the target (the new domain)? If not, change role below.",
    ]
    if guesses:
        lines += ["Guessed from the files, check it too:", *(f"  {guess}" for guess in guesses)]
    return "".join(f"# {line}\n" for line in lines)


def text_folders(folder: Path) -> list[TextFolder]:
    """Sub-folders that hold files, largest first. Raises InputError where there are fewer than two."""
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder", "Name the folder that holds one sub-folder of text per domain"
        )
    folders: list[TextFolder] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            name = name_of(path.name) or f"domain-{len(folders) + 1}"
            holds_files = any(file.is_file() for file in path.rglob("*"))
            inside = inspect(name, path) if holds_files else None
            if inside is not None:
                folders.append(TextFolder(name, path, inside))
    if len(folders) < 2:
        raise InputError(
            f"{folder}: {len(folders)} sub-folders with text, and a study needs at least two",
            "Put general (replay) text and target text in a sub-folder each",
        )
    for first, second in itertools.combinations(folders, 2):
        if first.name == second.name:
            raise InputError(
                f"{folder}: {first.path.name!r} and {second.path.name!r} would both be the domain {first.name!r}",
                "Rename one of them",
            )
    return sorted(folders, key=lambda domain: -domain.bytes)


def guess_general(folders: list[TextFolder]) -> tuple[TextFolder, str]:
    """The sub-folder that is taken for the general text, and why."""
    for domain in folders:
        if any(word in domain.name.lower() for word in GENERAL_WORDS):
            return domain, f"{domain.name} is general by its name"
    return folders[0], f"{folders[0].name} is general because it is the largest"


def _document(name: str, general: TextFolder, targets: list[TextFolder], home: Path) -> dict[str, Any]:
    # Four epochs at about four bytes a token is what the text carries; small proxies need no more than this.
    base = _whole_batches(min(2_000_000, general.bytes // 2))
    proxies = _whole_batches(min(500_000, general.bytes // 2, min(domain.bytes for domain in targets) // 2))
    return {
        "study": name,
        "seed": 0,
        "domains": {
            domain.name: {
                "role": "general" if domain is general else "target",
                "paths": [os.path.relpath(domain.path, home)],
                **_as_read(domain.inside),
                "max_epochs": 4,
            }
            for domain in (general, *targets)
        },
        "heldout": {"fraction": 0.05, "windows": "auto"},
        "tokenizer": {"train": {"vocab_size": 4096}},
        "model": {"depth": 3, "context": 128},
        "base": {"tokens": base, "learning_rate": 2e-3},
        "proxies": {
            "tokens": proxies,
            "target_shares": [0.125, 0.25, 0.5, 0.625, 0.75, 0.9],
            "learning_rate": 1e-3,
            "batch_tokens": 2048,
        },
        "decision": {"tolerance": 0.0, "level": 0.9},
        "runner": {"kind": "local"},
        "confirm": True,
        "spec": {"total_tokens": proxies, "sequence_length": 2048, "global_batch_tokens": 16384},
    }


def _as_read(inside: Inspection) -> dict[str, Any]:
    """The keys that say how a folder is read, where a default does not."""
    keys: dict[str, Any] = {}
    if inside.format is not None:
        keys["format"] = inside.format
    if inside.text_field != "text":
        keys["text_field"] = inside.text_field
    if inside.encodings != (UTF8,):
        keys["encoding"] = inside.encodings[0] if len(inside.encodings) == 1 else list(inside.encodings)
    return keys


def _whole_batches(tokens: int) -> int:
    """Down to whole batches of 2048 tokens."""
    return max(tokens // 2048, 10) * 2048


def commented_yaml(document: dict[str, Any]) -> str:
    """A study's document as YAML, each key with its description the first time it occurs."""
    described: set[tuple[type[BaseModel], str]] = set()
    sections = [
        "\n".join(_lines(Study, key, document[key.name], "", described))
        for key in keys_of(Study)
        if key.name in document
    ]
    # The plain values at the top stand together.
    return re.sub(r"(?m)^(study: .*)\n\n(?=seed:)", r"\1\n", "\n\n".join(sections) + "\n")


def _lines(
    model: type[BaseModel], key: Key, value: Any, indent: str, described: set[tuple[type[BaseModel], str]]
) -> Iterator[str]:
    comment = "" if (model, key.name) in described else key.summary
    described.add((model, key.name))
    # A part of one key, such as {vocab_size: 4096}, fits beside its key.
    if key.below is None or (indent and not key.named):
        yield from _with_comment(f"{indent}{key.name}: {_inline(value)}", comment, indent)
        return
    yield from _with_comment(f"{indent}{key.name}:", comment, indent)
    parts = value.items() if key.named else [(None, value)]
    for name, part in parts:
        inner = indent + "  "
        if name is not None:
            yield f"{inner}{_inline(name)}:"
            inner += "  "
        for below in keys_of(key.below):
            if below.name in part:
                yield from _lines(key.below, below, part[below.name], inner, described)


def _with_comment(line: str, comment: str, indent: str) -> Iterator[str]:
    beside = f"{line:<{COLUMN}}# {comment}" if len(line) < COLUMN else f"{line}  # {comment}"
    if not comment:
        yield line
    elif len(beside) <= WIDTH:
        yield beside
    else:
        yield from textwrap.wrap(
            comment, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
        )
        yield line


def _inline(value: Any) -> str:
    """A value on one line of YAML: `no`, `1e3` and `a: b` are quoted."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, width=math.inf, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("...\n").strip()
