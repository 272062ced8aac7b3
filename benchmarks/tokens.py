"""The token store against tokenizers' own `encode_batch` on the same text, alternated in one run.

    python -m benchmarks.tokens [FOLDER] [THREADS]

FOLDER holds text as `mixing.corpus` reads it (default: the demo's, collected into a temporary folder).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from mixing.catalog import scan
from mixing.corpus import Source, documents
from proxies.tokenizer import load_tokenizer, train_tokenizer
from proxies.tokens import TokenStore, build

ROUNDS = 3
FRACTION = 0.05


def seconds(work: object, *arguments: object, **options: object) -> float:
    start = time.perf_counter()
    work(*arguments, **options)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="text to read (default: the demo's)")
    parser.add_argument("threads", type=int, nargs="?", default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    # Both sides get the same number of threads; tokenizers' pool is sized when it first runs.
    os.environ["RAYON_NUM_THREADS"] = str(asked.threads)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        folder = asked.folder
        if folder is None:
            from flows.demo_text import collect

            folder = root / "text"
            print(f"collecting the demo's text: {seconds(collect, folder):.1f} s")
        sources = [Source("text", "general", (folder,))]
        start = time.perf_counter()
        catalog = scan(sources, FRACTION, scratch=root)
        size = catalog["text"].bytes / 1e6
        print(f"{size:.1f} MB of text, {catalog['text'].documents} documents, {asked.threads} threads")
        print(f"catalogue: {size / (time.perf_counter() - start):.0f} MB/s", end=", ")
        print(f"again, unchanged: {seconds(scan, sources, FRACTION, previous=catalog) * 1e3:.1f} ms")
        tokenizer = root / "tokenizer.json"
        print(f"tokenizer of 4096: {seconds(train_tokenizer, sources, catalog, 4096, tokenizer):.1f} s")
        texts = [document.text for document in documents(sources[0])]
        theirs, ours = [], []
        for number in range(ROUNDS):
            loaded = load_tokenizer(tokenizer)
            theirs.append(seconds(loaded.encode_batch, texts, add_special_tokens=False))
            options = {"threads": asked.threads}
            ours.append(seconds(build, sources, tokenizer, root / f"store-{number}", FRACTION, **options))
        print(f"encode_batch, nothing read or written: {size / median(theirs):.2f} MB/s")
        print(f"token store, read to verified:         {size / median(ours):.2f} MB/s")
        print(f"ratio: {median(theirs) / median(ours):.2f}")
        path = root / "store-0"
        print(
            f"again, unchanged: {seconds(build, sources, tokenizer, path, FRACTION) * 1e3:.0f} ms", end=", "
        )
        print(f"open and verify: {seconds(TokenStore.open, path) * 1e3:.0f} ms")
        split = TokenStore.open(path).domains["text"].train
        ids = np.random.default_rng(0).integers(0, split.n_windows(128), size=200_000)
        rate = len(ids) * 128 / seconds(split.windows, ids, 128) / 1e6
        print(f"windows of 128 at random: {rate:.0f} M tokens/s")


if __name__ == "__main__":
    main()
