"""Documents as sets of hashed word 5-grams (shingles), by which near-duplicates are told."""

from __future__ import annotations

import re
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mixing.corpora.documents import Document
from mixing.corpora.token_files import TokenDocument

LENGTH = 5
"""Words in a shingle (Lee et al. 2022, *Deduplicating Training Data Makes Language Models Better*, appendix A)."""
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Kana, Han and Hangul: scripts that are written with no or few spaces, where each character counts as a word."""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_BASE = np.uint64(0x9E3779B97F4A7C15)

Hashes = NDArray[np.uint64]


def words_of(document: Document | TokenDocument) -> Hashes:
    """A number per word of a document, in order; case and punctuation don't count. The ids where it holds ids."""
    if isinstance(document, TokenDocument):
        return document.ids.astype(np.uint64)
    words = _WORD.findall(document.text.lower())
    return np.fromiter((crc32(word.encode()) for word in words), np.uint64, len(words))


def shingles_of(words_w: Hashes) -> Hashes:
    """The distinct shingles of a document's words, hashed evenly over 64 bits, in ascending order.

    Fewer than `LENGTH` words make one shingle; no word makes none.
    """
    if not len(words_w):
        return np.zeros(0, np.uint64)
    length = min(LENGTH, len(words_w))
    ends = len(words_w) - length + 1
    hashes = np.zeros(ends, np.uint64)
    for at in range(length):
        hashes = hashes * _BASE + words_w[at : at + ends]
    return np.unique(_mixed(hashes))


def _mixed(hashes: Hashes) -> Hashes:
    """SplitMix64's finaliser (Steele et al. 2014): neighbouring numbers end far apart."""
    hashes = hashes + _BASE
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
