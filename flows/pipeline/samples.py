"""How much is read of corpora that are larger than what a study can use."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.pipeline.heldout import windows_of
from flows.study.models import Study

if TYPE_CHECKING:
    from mixing.corpora.documents import Source

LARGE_BYTES = 1 << 30
"""Stored bytes past which a corpus is sampled where the study file does not say how much to read."""
SPARE = 1.5
"""By how much more is read than the runs can use: tokens are guessed from bytes, and windows end in mid-document."""


def usable_tokens(study: Study) -> int:
    """Tokens of one domain that the runs of a study can use: the longest of them never reads a window twice, and the
    held-out part has its windows and others for the confirmation."""
    longest = max(study.base.tokens or 0, study.proxies.trained_tokens, study.asked_tokens)
    heldout = 3 * windows_of(study).last * study.model.context / study.heldout.fraction
    tokens = SPARE * max(longest / (1 - study.heldout.fraction), heldout)
    # In steps, so that a small change of the study leaves its tokens, and so its runs, as they are.
    return 1 << math.ceil(math.log2(tokens))


def with_samples(study: Study, sources: tuple[Source, ...], store: Path) -> tuple[Source, ...]:
    """The corpora, of which large ones that the file says nothing about are sampled.

    A domain that is in the token store whole stays whole: its runs are known by its tokens.
    """
    from mixing.corpora.files import corpus_files

    sampled = []
    for source in sources:
        part = study.domains[source.name]
        if part.sample is None and not _is_whole(store, source.name):
            size = 0
            for file in corpus_files(source.name, source.paths):
                size += file.size
                if size > LARGE_BYTES:
                    source = replace(source, sample=usable_tokens(study))
                    break
        sampled.append(source)
    return tuple(sampled)


def _is_whole(store: Path, name: str) -> bool:
    from mixing.errors import InputError
    from proxies.data.manifest import read_manifest

    try:
        entry = read_manifest(store).domains.get(name)
    except InputError:
        return False
    return entry is not None and entry.whole == 1.0
