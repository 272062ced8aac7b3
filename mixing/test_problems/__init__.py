"""Known-answer landscapes: loss surfaces whose critical ratio, or best mixture, is known.

For tests and for checking that intervals cover: draw a study, ask `decide`, compare.
"""

from mixing.test_problems.mixtures import (
    DEVELOPMENT_MIXTURES,
    MIXTURE_LANDSCAPES,
    NEVER_TUNED_ON,
    MixtureLandscape,
)
from mixing.test_problems.ratios import LANDSCAPES, Landscape, sized_study

__all__ = [
    "DEVELOPMENT_MIXTURES",
    "LANDSCAPES",
    "MIXTURE_LANDSCAPES",
    "NEVER_TUNED_ON",
    "Landscape",
    "MixtureLandscape",
    "sized_study",
]
