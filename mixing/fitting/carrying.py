"""Carrying the order of mixtures to a size far from the only one that was trained.

What fits small runs finely holds less and less for larger models; simple forms lose less. So the law chosen is averaged
with a simple one, whose weight grows with the logarithm of the factor between the sizes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixing.arrays import Floats
from mixing.fitting.blend import Blend
from mixing.fitting.cross_validation import score
from mixing.fitting.selection import Candidate, Choice
from mixing.runs.points import Points

CARRIED = "carried"
"""The name of the average."""
SIMPLE = "mixture-additive"
PER_LOG_FACTOR = 0.2
"""Weight of the simple form for each factor e between the sizes: the best weights on public runs of 122M to 680M
parameters, by leaving the larger size out (`python -m benchmarks.sizes`)."""


def simple_weight(reach: float) -> float:
    """The weight of the simple form for a size `reach` times the trained one: 0 there, 1 from a factor of 148."""
    return float(min(1.0, PER_LOG_FACTOR * abs(np.log(reach))))


def carried(
    choice: Choice, fitted: list[Candidate], points: Points, losses_n: Floats, reach: float
) -> Candidate | None:
    """The candidate chosen, averaged with the simple form; None where there is nothing to average."""
    simple = next((one for one in fitted if one.name == SIMPLE), None)
    chosen, weight = choice.candidate, simple_weight(reach)
    if simple is None or chosen.name == SIMPLE or not chosen.ranks_mixtures or weight == 0:
        return None
    if weight == 1:
        return simple
    weights = {chosen.name: 1 - weight, SIMPLE: weight}
    blend = Blend([chosen.fitted, simple.fitted], weights)
    held_out_n = cv = None
    if chosen.held_out_n is not None and simple.held_out_n is not None:
        held_out_n = (1 - weight) * chosen.held_out_n + weight * simple.held_out_n
        known_n = np.isfinite(held_out_n)
        if known_n.any():
            cv = score(held_out_n[known_n], losses_n[known_n], points.take(known_n))
    return replace(
        simple,
        name=CARRIED,
        fitted=blend,
        train=score(blend.predict(points)[0], losses_n, points),
        cv=cv,
        held_out_n=held_out_n,
    )
