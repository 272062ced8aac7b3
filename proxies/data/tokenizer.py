"""Tokenizers: a byte-level BPE trained on the study's own text, or any `tokenizer.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mixing.atomic import replace_files
from mixing.corpora.catalog import Catalog
from mixing.corpora.documents import Source, documents, is_heldout
from mixing.corpora.left_out import Tally
from mixing.corpora.progress import ByteProgress, Report
from mixing.errors import InputError

EOS = "<|endoftext|>"
SMALLEST_VOCABULARY = 257
"""256 bytes and the end-of-document token."""
SAMPLE_BYTES = 32 << 20
RECIPE = 1
"""Raised when the same text would give another tokenizer."""
KNOWN_EOS = (EOS, "</s>", "<|end_of_text|>", "<eos>", "<|eos|>", "[EOS]", "<｜end▁of▁sentence｜>")


def train_bpe(texts: Iterable[str], vocab_size: int, path: Path) -> None:
    """Train a byte-level BPE and write it to `path`. The same texts, in any order, give the same file.

    Every byte has a token, so no text is unknown to it. Little text may give fewer tokens than `vocab_size`.
    Raises InputError for a vocabulary below 257, MixlawError where `path` cannot be written.
    """
    replace_files({path: _bpe(texts, vocab_size)})


def train_tokenizer(
    sources: Sequence[Source],
    catalog: Catalog,
    vocab_size: int,
    path: Path,
    sample_bytes: int = SAMPLE_BYTES,
    on_progress: Report | None = None,
) -> None:
    """Train on a balanced sample of the training text of all domains, unless `path` already holds the result.

    What it was trained on is noted next to it (`<name>.source.json`). Raises as `train_bpe` and
    `mixing.corpora.documents.documents`.
    """
    note_path = path.with_name(f"{path.stem}.source.json")
    settings = {
        "recipe": RECIPE,
        "vocab_size": vocab_size,
        "sample_bytes": sample_bytes,
        "heldout_fraction": catalog.heldout_fraction,
        "text": {domain.name: domain.fingerprint for domain in catalog.domains},
    }
    if path.exists() and _read_note(note_path) == {**settings, "tokenizer": tokenizer_hash(path)}:
        return
    content = _bpe(training_sample(sources, catalog, sample_bytes, on_progress), vocab_size)
    note = {**settings, "tokenizer": hashlib.sha256(content).hexdigest()}
    replace_files({path: content, note_path: (json.dumps(note, indent=2) + "\n").encode()})


def training_sample(
    sources: Sequence[Source], catalog: Catalog, sample_bytes: int, on_progress: Report | None = None
) -> Iterator[str]:
    """About the same number of bytes of every domain, `sample_bytes` in all, never held-out text.

    A document is drawn by its hash, so the sample does not depend on the order of files. A document larger
    than its domain's part gives its beginning.
    """
    part = sample_bytes // len(sources)
    progress = ByteProgress(on_progress, sum(domain.file_bytes for domain in catalog.domains))
    for source in sources:
        tally = Tally()
        training_bytes = catalog[source.name].bytes * (1 - catalog.heldout_fraction)
        drawn = min(part / training_bytes, 1.0) * 2.0**64
        for document in documents(source, tally):
            progress.at(tally.bytes_read)
            if is_heldout(document.digest, catalog.heldout_fraction):
                continue
            # The first 8 bytes decide the split.
            if int.from_bytes(document.digest[8:], "big") < drawn:
                yield document.text[:part]
        progress.next(catalog[source.name].file_bytes)
    progress.finish()


def load_tokenizer(path: Path) -> Tokenizer:
    """Load a `tokenizer.json`, or the one in a folder, to encode whole documents as they are.

    Truncation and padding that the file may ask for are turned off, and text that spells a special token is
    ordinary text. Raises InputError naming the file where it is missing or not a tokenizer.
    """
    path = tokenizer_file(path)
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises nothing narrower
        raise InputError(
            f"{path} is not a tokenizer ({str(error).splitlines()[0]})",
            "Give a tokenizer.json as the tokenizers library writes it",
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def tokenizer_file(path: Path) -> Path:
    """`path` itself, or the tokenizer.json in it. Raises InputError where there is none."""
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"{file} does not exist", "Give the path of a tokenizer.json, or let the study train one"
        )
    return file


def tokenizer_hash(path: Path) -> str:
    """SHA-256 of the tokenizer's file, hexadecimal."""
    return hashlib.sha256(tokenizer_file(path).read_bytes()).hexdigest()


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """One more than the largest token id (ids may have gaps)."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def ids_hash(vocab_size: int, eos_id: int) -> str:
    """What stands for a tokenizer's hash where only its ids are known: SHA-256, hexadecimal."""
    return hashlib.sha256(f"ids below {vocab_size}, documents end with {eos_id}".encode()).hexdigest()


def eos_id(tokenizer: Tokenizer, path: Path, eos: str | None = None) -> int:
    """The id of the token that ends a document.

    It is `eos`, or what a tokenizer_config.json next to the file says, or the first known name that the
    vocabulary holds. Raises InputError where there is none.
    """
    if eos is not None:
        candidates = [eos]
    else:
        configured = _configured_eos(tokenizer_file(path).with_name("tokenizer_config.json"))
        candidates = [configured] if configured else list(KNOWN_EOS)
    for token in candidates:
        number = tokenizer.token_to_id(token)
        if number is not None:
            return int(number)
    if eos is None:
        raise InputError(
            f"{tokenizer_file(path)}: no end-of-document token is known (looked for {', '.join(candidates)})",
            "Name the token of this tokenizer that ends a document (eos)",
        )
    raise InputError(
        f"{tokenizer_file(path)} has no token {eos!r}",
        "Name a token of its vocabulary that ends a document (eos)",
    )


def _bpe(texts: Iterable[str], vocab_size: int) -> bytes:
    if vocab_size < SMALLEST_VOCABULARY:
        raise InputError(
            f"a vocabulary of {vocab_size} is too small",
            f"Ask for at least {SMALLEST_VOCABULARY} tokens: every byte, and the end of a document",
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str(pretty=True).encode()


def _read_note(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _configured_eos(path: Path) -> str | None:
    try:
        token = json.loads(path.read_bytes()).get("eos_token")
    except (OSError, ValueError, AttributeError):
        return None
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None
