"""The token store against tokenizers' own `encode_batch` on the same text, alternated in one run.

    python -m benchmarks.tokens [FOLDER] [--threads N]
    python -m benchmarks.tokens --large GB [--threads N]

FOLDER holds text as `mixing.corpora.documents` reads it (default: the demo's, collected into a temporary folder). With
`--large` so many gigabytes of text are generated and tokenised, for the memory it takes. Where other work shares the
cores, processor seconds are the fairer measure.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mixing.corpora.catalog import scan
from mixing.corpora.documents import Source, documents
from proxies.data.token_store import TokenSplit, TokenStore, build
from proxies.data.tokenizer import load_tokenizer, train_bpe, train_tokenizer

ROUNDS = 3
FRACTION = 0.05
WINDOW = 128
GENERATED_WORDS = 20_000


def seconds(work: Callable[..., Any], *arguments: object, **options: object) -> tuple[float, float]:
    """Wall clock, and processor time of all threads."""
    start, spent = time.perf_counter(), time.process_time()
    work(*arguments, **options)
    return time.perf_counter() - start, time.process_time() - spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="text to read (default: the demo's)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--large", type=float, metavar="GB", help="generate and tokenise so much")
    arguments = parser.parse_args()
    # Both sides get the same number of threads; tokenizers' pool is sized when it first runs.
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.large is not None:
            large(Path(scratch), arguments.large, arguments.threads)
        else:
            compare(Path(scratch), arguments.folder, arguments.threads)


def compare(root: Path, folder: Path | None, threads: int) -> None:
    """Tokenising beside tokenizers, and how fast windows are gathered."""
    if folder is None:
        from flows.demo.text import collect

        folder = root / "text"
        print(f"collecting the demo's text: {seconds(collect, folder)[0]:.1f} s")
    sources = [Source("text", "general", (folder,))]
    start = time.perf_counter()
    catalog = scan(sources, FRACTION, scratch=root)
    size = catalog["text"].bytes / 1e6
    print(f"{size:.1f} MB of text, {catalog['text'].documents} documents, {threads} threads")
    print(f"catalogue: {size / (time.perf_counter() - start):.0f} MB/s", end=", ")
    print(f"again, unchanged: {seconds(scan, sources, FRACTION, previous=catalog)[0] * 1e3:.1f} ms")
    tokenizer = root / "tokenizer.json"
    print(f"tokenizer of 4096: {seconds(train_tokenizer, sources, catalog, 4096, tokenizer)[0]:.1f} s")
    texts = [document.text for document in documents(sources[0])]
    theirs, fast, ours = [], [], []
    for number in range(ROUNDS):
        loaded = load_tokenizer(tokenizer)
        theirs.append(seconds(loaded.encode_batch, texts, add_special_tokens=False))
        fast.append(seconds(loaded.encode_batch_fast, texts, add_special_tokens=False))
        ours.append(seconds(build, sources, tokenizer, root / f"store-{number}", FRACTION, threads=threads))
    for place, what in enumerate(("wall clock", "processor time")):
        their, quick, our = (median(times[place] for times in side) for side in (theirs, fast, ours))
        print(f"by {what}:")
        print(f"  encode_batch, nothing read or written: {size / their:.2f} MB/s")
        print(f"  encode_batch_fast, the same:           {size / quick:.2f} MB/s")
        print(f"  token store, read to verified:         {size / our:.2f} MB/s")
        print(f"  ratio: {their / our:.2f}, to the fast one {quick / our:.2f}")
    path = root / "store-0"
    print(f"again, unchanged: {seconds(build, sources, tokenizer, path, FRACTION)[0] * 1e3:.0f} ms", end=", ")
    print(f"open and verify: {seconds(TokenStore.open, path)[0] * 1e3:.0f} ms")
    gather(path)


def gather(store: Path) -> None:
    """Windows at random by one thread; a training batch at a time, and all at once."""
    split = TokenStore.open(store).domains["text"].train
    ids = np.random.default_rng(0).integers(0, split.n_windows(WINDOW), size=200_000)
    split.windows(ids, WINDOW)  # so that the files are in memory
    for batch in (16, 256, len(ids)):
        spent = min(_gathering(split, ids, batch) for _ in range(ROUNDS))
        rate = len(ids) * WINDOW / 1e6 / spent
        print(
            f"windows of {WINDOW}, {batch} at a time: {rate:.0f} M tokens per processor second (best of {ROUNDS})"
        )


def _gathering(split: TokenSplit, ids: np.ndarray, batch: int) -> float:
    start = time.process_time()
    for first in range(0, len(ids), batch):
        split.windows(ids[first : first + batch], WINDOW)
    return time.process_time() - start


def large(root: Path, gigabytes: float, threads: int) -> None:
    """Memory and speed on generated text."""
    words = ["".join(map(chr, row)) for row in _letters(np.random.default_rng(0))]
    train_bpe([" ".join(words)], 4096, root / "tokenizer.json")
    target = int(gigabytes * 1e9)
    _write_text(root / "text.jsonl", words, target)
    print(f"{target / 1e9:g} GB of generated text, {threads} threads; memory before: {_peak():.0f} MB")
    source = Source("text", "general", (root / "text.jsonl",))
    wall, spent = seconds(build, [source], root / "tokenizer.json", root / "store", FRACTION, threads=threads)
    print(
        f"token store: {target / 1e6 / wall:.2f} MB/s by wall clock, {target / 1e6 / spent:.2f} MB per processor "
        f"second; at most {_peak():.0f} MB of memory"
    )


def _letters(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.integers(97, 123, size=rng.integers(2, 10)) for _ in range(GENERATED_WORDS)]


def _write_text(path: Path, words: list[str], size: int) -> None:
    """Documents of some hundred words, the frequent ones far more often than the others."""
    rng = np.random.default_rng(1)
    written = 0
    with open(path, "w", encoding="utf-8") as file:
        while written < size:
            drawn = np.minimum(rng.zipf(1.2, size=200_000) - 1, len(words) - 1).tolist()
            for start in range(0, len(drawn), 400):
                text = " ".join(words[word] for word in drawn[start : start + 400])
                file.write(json.dumps({"text": f"{written} {text}"}) + "\n")
                written += len(text)


def _peak() -> float:
    """The most memory this process has had, in MB."""
    match = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


if __name__ == "__main__":
    main()
