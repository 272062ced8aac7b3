"""Small corpora and stores for the tests of tokens."""

from __future__ import annotations

import json
import random
from pathlib import Path

from mixing.corpora.documents import Source
from proxies.data.token_store import TokenStore, build

WORDS = "Mischung Verhältnis 混合 share token naïve loss the of and def return self x1 == 🦄 Größe"
FRACTION = 0.2


def texts(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [
        f"{seed}.{i} " + " ".join(rng.choice(WORDS.split()) for _ in range(rng.randrange(3, 120)))
        for i in range(count)
    ]


def corpus(folder: Path, some: list[str], name: str = "a.jsonl") -> Source:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in some))
    return Source(folder.name, "general", (folder,))


def rebuild(sources: list[Source], tokenizer: Path, folder: Path, **options: object) -> TokenStore:
    settings = {"threads": 2, "shard_bytes": 20_000, "heldout_fraction": FRACTION, **options}
    return build(sources, tokenizer, folder, **settings)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def stamps(folder: Path) -> dict[str, int]:
    """By path: which file it is on disk (another one after it was written again)."""
    return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}
