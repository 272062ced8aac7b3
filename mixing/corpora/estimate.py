"""What a whole corpus holds, by a sample of its blocks: a ratio estimate with its standard error.

Cochran, Sampling Techniques (1977), chapter 6: text per stored byte, in clusters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """What a whole corpus holds, by its sample: bytes of text with their standard error, and the part that was read."""

    bytes: float
    stderr: float
    part: float


def estimate(read: Iterable[tuple[int, int]], part: float, stored: int) -> Estimate:
    """What a corpus of `stored` bytes holds, of whose blocks (stored bytes, bytes of text kept) were read."""
    sizes, texts = zip(*read, strict=True)
    sampled = sum(sizes)
    ratio = sum(texts) / part / max(sampled, 1)
    left_out = 1 - min(1.0, sampled / max(stored, 1)) * part
    stderr = 0.0
    if len(sizes) > 1 and left_out > 0:
        squares = sum((text / part - ratio * size) ** 2 for size, text in zip(sizes, texts, strict=True))
        count = len(sizes)
        stderr = math.sqrt(left_out * squares * count / (count - 1)) * stored / max(sampled, 1)
    return Estimate(ratio * stored, stderr, 1 - left_out)
