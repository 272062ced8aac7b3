"""Known-answer landscapes: loss surfaces whose critical ratio, or best mixture, is known.

For tests and for checking that intervals cover: draw a study, ask `decide`, compare.
"""

from mixing.test_problems.mixtures import MIXTURE_LANDSCAPES, MixtureLandscape
from mixing.test_problems.ratios import LANDSCAPES, Landscape, sized_study

__all__ = ["LANDSCAPES", "MIXTURE_LANDSCAPES", "Landscape", "MixtureLandscape", "sized_study"]
