"""A study's domains as the corpora that `mixing.corpora.documents` reads."""

from __future__ import annotations

import glob

from flows.study.models import Study
from mixing.corpora.documents import Source
from mixing.corpora.token_files import TokenFiles, paths_of
from mixing.errors import InputError


def sources_of(study: Study) -> tuple[Source, ...]:
    """In the study's order.

    Raises InputError for a folder or file that is not there and, where a domain is ids, for a tokenizer that
    does not say how large its vocabulary is and what ends a document.
    """
    ids = any(part.tokens for part in study.domains.values())
    vocab_size, eos_id = _vocabulary(study) if ids else (0, 0)
    sources = []
    for name, part in study.domains.items():
        if part.paths:
            paths = tuple(study.path(text) for text in part.paths)
            for text, path in zip(part.paths, paths, strict=True):
                if not any(char in text for char in "*?[") and not path.exists():
                    raise _absent(study, f"domains.{name}.paths: {path}")
            sources.append(Source(name, part.role, paths, part.text_field, part.max_epochs))
            continue
        kind = part.token_kind(part.tokens[0])
        found = []
        for address in part.tokens:
            for path in paths_of(kind, study.path(address.partition("://")[2])):
                if not glob.glob(str(path)) and not path.exists():
                    raise _absent(study, f"domains.{name}.tokens: {path}")
                found.append(path)
        files = TokenFiles(kind, vocab_size, eos_id, part.token_dtype)
        sources.append(Source(name, part.role, tuple(found), max_epochs=part.max_epochs, tokens=files))
    return tuple(sources)


def _vocabulary(study: Study) -> tuple[int, int]:
    """Size, and the id that ends a document."""
    given = study.tokenizer
    if given.vocab_size is not None and given.eos_id is not None:
        return given.vocab_size, given.eos_id
    from proxies.data.tokenizer import eos_id, load_tokenizer, vocabulary_size

    assert given.file is not None
    path = study.path(given.file)
    tokenizer = load_tokenizer(path)
    return vocabulary_size(tokenizer), eos_id(tokenizer, path, given.eos)


def _absent(study: Study, what: str) -> InputError:
    return InputError(
        f"{study.file.name}: {what} does not exist",
        "Correct the path; it is taken from the study file's folder",
    )
