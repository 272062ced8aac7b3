"""A study's domains and validation sets as the corpora that `mixing.corpora.documents` reads."""

from __future__ import annotations

import glob
from dataclasses import replace
from pathlib import Path

from flows.study.corpus_parts import CorpusPart, SplitPart
from flows.study.models import Study
from mixing.corpora.buckets import Bucket
from mixing.corpora.documents import Role, Source
from mixing.corpora.token_files import TokenFiles, paths_of
from mixing.errors import InputError


def study_corpora(study: Study) -> tuple[Source, ...]:
    """The corpora of a study's domains, in its order.

    Raises InputError for a folder or file that does not exist and, where a domain is token ids, for a tokenizer
    that does not record its vocabulary size or the id that ends a document.
    """
    return tuple(
        replace(
            _source(study, f"domains.{name}", name, part.role, part),
            max_epochs=part.max_epochs,
            sample=part.sample,
            bucket=_bucket(part.split_by),
        )
        for name, part in study.domains.items()
    )


def _bucket(split: SplitPart | None) -> Bucket | None:
    if split is None or split.bucket is None:
        return None
    return Bucket(split.field, split.bucket - 1, split.values, split.edges)


def study_evals(study: Study) -> tuple[Source, ...]:
    """The corpora of a study's own validation sets. Raises as `study_corpora`."""
    # They have no role: a decision names what it asks about.
    return tuple(_source(study, f"evals.{name}", name, "general", part) for name, part in study.evals.items())


def _source(study: Study, key: str, name: str, role: Role, part: CorpusPart) -> Source:
    if part.paths:
        return Source(
            name,
            role,
            _text_paths(study, key, part),
            part.text_field,
            format=part.format,
            encodings=part.encoding,
            max_left_out=part.max_left_out,
        )
    vocab_size, eos_id = _vocabulary(study)
    files = TokenFiles(part.token_kind(part.tokens[0]), vocab_size, eos_id, part.token_dtype)
    return Source(name, role, _token_paths(study, key, part), tokens=files)


def _text_paths(study: Study, key: str, part: CorpusPart) -> tuple[Path, ...]:
    paths = tuple(study.path(text) for text in part.paths)
    for text, path in zip(part.paths, paths, strict=True):
        if not any(char in text for char in "*?[") and not path.exists():
            raise _absent(study, f"{key}.paths: {path}")
    return paths


def _token_paths(study: Study, key: str, part: CorpusPart) -> tuple[Path, ...]:
    kind = part.token_kind(part.tokens[0])
    paths = tuple(
        path for address in part.tokens for path in paths_of(kind, study.path(address.partition("://")[2]))
    )
    for path in paths:
        if not glob.glob(str(path)) and not path.exists():
            raise _absent(study, f"{key}.tokens: {path}")
    return paths


def _vocabulary(study: Study) -> tuple[int, int]:
    """Number of token ids, and the id that ends a document."""
    tokenizer = study.tokenizer
    if tokenizer.vocab_size is not None and tokenizer.eos_id is not None:
        return tokenizer.vocab_size, tokenizer.eos_id
    from proxies.data.tokenizer import eos_id, load_tokenizer, vocabulary_size

    assert tokenizer.file is not None
    path = study.path(tokenizer.file)
    loaded = load_tokenizer(path)
    return vocabulary_size(loaded), eos_id(loaded, path, tokenizer.eos)


def _absent(study: Study, what: str) -> InputError:
    return InputError(
        f"{study.file.name}: {what} does not exist",
        "Correct the path; it is taken from the study file's folder",
    )
