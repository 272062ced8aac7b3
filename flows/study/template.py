"""A commented study file from folders of text: what `mixlaw init` writes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from mixing.atomic import replace_files
from mixing.errors import InputError

GENERAL_WORDS = ("general", "replay", "pretrain", "base", "web", "pile", "common", "wiki", "docs", "english")

TEMPLATE = """\
# Which share of the new domain can be trained on before the model forgets too much?
#
# Written by `mixlaw init`. Check the roles and the tokens, then:
#   mixlaw plan {file}     what would be trained, and how long it takes
#   mixlaw run {file}      everything; run again to resume
# Token counts may be written 2000000, 2e6 or 2M. Paths are relative to this file.

study: {name}
seed: 0                    # same seed, same data, same answer

domains:                   # roles were guessed: {reason}
{domains}
heldout:
  fraction: 0.05           # of the documents, by their hash; never trained on
  windows: 64              # windows of `context` tokens per domain on which the losses are measured

tokenizer:
  train: {{vocab_size: 4096}}  # or  file: tokenizer.json

model:                     # the proxy: a small Llama-style decoder
  depth: 3                 # layers; the width follows
  context: 128             # tokens

base:                      # trained on the general text; or  checkpoint: weights.pt
  tokens: {base}
  learning_rate: 2.0e-3

proxies:                   # continual pre-training of that base, once per target share
  tokens: {proxies}
  target_shares: [0.125, 0.25, 0.5, 0.625, 0.75, 0.9]
  learning_rate: 1.0e-3
  batch_tokens: 2048

decision:
  tolerance: 0.0           # nats of general loss that may be lost
  level: 0.9               # of the interval

confirm: true              # one more proxy at the recommended mix: predicted against observed

spec:                      # the run that the mix is for: put your trainer's numbers here
  total_tokens: {proxies}     # beyond what the text holds x max_epochs, the mix itself must change
  sequence_length: 2048
  global_batch_tokens: 16384  # of one optimiser step: sequences x sequence_length
"""

DOMAIN = """\
  {name}:
    role: {role:<17}# {note}
    paths: [{path}]
    max_epochs: 4          # how often this text may be repeated
"""


@dataclass(frozen=True)
class Found:
    """A sub-folder of text."""

    name: str
    path: Path
    bytes: int


def subfolders(folder: Path) -> list[Found]:
    """Sub-folders that hold files, largest first. Raises InputError where there are fewer than two."""
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder", "Name the folder that holds one sub-folder of text per domain"
        )
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            total = sum(
                (Path(root) / name).stat().st_size
                for root, _, names in os.walk(path)
                for name in names
                if (Path(root) / name).is_file()
            )
            if total:
                name = re.sub(r"[^A-Za-z0-9_-]+", "-", path.name).strip("-_") or "domain"
                found.append(Found(name, path, total))
    if len(found) < 2:
        raise InputError(
            f"{folder}: {len(found)} sub-folders with text, and a study needs at least two",
            "Put general (replay) text and target text in a sub-folder each",
        )
    names = [domain.name for domain in found]
    if len(set(names)) < len(names):
        raise InputError(f"{folder}: two sub-folders would have the same domain name", "Rename one of them")
    return sorted(found, key=lambda domain: -domain.bytes)


def guess_general(found: list[Found]) -> tuple[Found, str]:
    """The sub-folder that is taken for the general text, and why."""
    for domain in found:
        if any(word in domain.name.lower() for word in GENERAL_WORDS):
            return domain, f"{domain.name} is general by its name"
    return found[0], f"{found[0].name} is general because it is the largest"


def write_study(folder: Path, out: Path) -> tuple[str, str]:
    """Write a study file for the sub-folders of `folder`: its name, and the reason for the roles.

    Raises InputError where `out` is there already, or there is too little text.
    """
    if out.exists():
        raise InputError(f"{out}: exists already", "Choose another with --out, or remove it")
    found = subfolders(folder)
    general, reason = guess_general(found)
    targets = [domain for domain in found if domain is not general]
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")[:40] or "study"
    lines = []
    for domain in [general, *targets]:
        path = os.path.relpath(domain.path, out.absolute().parent)
        is_general = domain is general
        lines.append(
            DOMAIN.format(
                name=_quoted(domain.name),
                role="general" if is_general else "target",
                note="what the base model knows and must not forget" if is_general else "the new domain",
                path=_quoted(path),
            )
        )
    # Four epochs at about four bytes a token is what the text carries; small proxies need no more than this.
    base = min(2_000_000, general.bytes // 2)
    proxies = min(500_000, general.bytes // 2, min(domain.bytes for domain in targets) // 2)
    text = TEMPLATE.format(
        file=out.name,
        name=_quoted(name),
        reason=reason,
        domains="".join(lines),
        base=_round(base),
        proxies=_round(proxies),
    )
    replace_files({out: text.encode()})
    return name, reason


def _quoted(text: str) -> str:
    """As YAML text: `no`, `1e3` and `a: b` are quoted."""
    plain = re.fullmatch(r"[A-Za-z0-9_./-]+", text) and yaml.safe_load(text) == text
    return text if plain else "'" + text.replace("'", "''") + "'"


def _round(tokens: int) -> int:
    """Down to whole batches of 2048 tokens."""
    return max(tokens // 2048, 10) * 2048
