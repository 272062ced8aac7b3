"""Landscapes of forms that no law has: kinks, cliffs, sharp onsets, forgetting that creeps, rates that decay.

`DEVELOPED_ON` may be looked at while priors and rules are chosen. `NEVER_TUNED_ON` may not: what it shows is reported
(`python -m benchmarks.audit`) and nothing is chosen by it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mixing.arrays import Floats
from mixing.test_problems.ratios import Landscape, _target

Shape = Callable[[Floats], Floats]
Course = Callable[[Floats, Floats], Floats]


def _growing(shape_n: Floats, tokens_n: Floats) -> Floats:
    """Effects of the mixture grow with the tokens."""
    return np.asarray(shape_n * (1 + 0.12 * np.log(tokens_n)))


def _relearning(shape_n: Floats, tokens_n: Floats) -> Floats:
    """A rise at the start that is relearned."""
    return np.asarray(shape_n + 0.03 * (tokens_n**-0.3 - 1))


def _decaying_rate(shape_n: Floats, tokens_n: Floats) -> Floats:
    """The learning rate decays over the last fifth: every loss drops there, where forgetting is large the most."""
    part_n = np.clip((tokens_n - 0.8) / 0.2, 0.0, 1.0)
    return np.asarray(shape_n + (1 - part_n) * (0.035 + 0.15 * shape_n) + 0.02 * (tokens_n**-0.3 - 1))


def _cosine_rate(shape_n: Floats, tokens_n: Floats) -> Floats:
    """The learning rate follows a cosine down to zero."""
    rate_n = 0.5 * (1 + np.cos(np.pi * np.clip(tokens_n, 0.0, 1.0)))
    return np.asarray(shape_n + rate_n * (0.03 + 0.1 * shape_n) + 0.015 * (tokens_n**-0.3 - 1))


def _rooted(shape_n: Floats, tokens_n: Floats) -> Floats:
    """Forgetting that goes on with the root of the tokens."""
    return np.asarray(shape_n + (0.015 + 0.2 * np.maximum(shape_n, 0)) * (np.sqrt(tokens_n) - 1))


def _creeping(shape_n: Floats, tokens_n: Floats) -> Floats:
    """Forgetting that goes on with the logarithm of the tokens and never turns."""
    return np.asarray(shape_n + (0.02 + 0.1 * np.maximum(shape_n, 0)) * np.log(tokens_n))


def _waving(shape_n: Floats, tokens_n: Floats) -> Floats:
    """Restarts of the learning rate."""
    return np.asarray(shape_n * (1 + 0.05 * np.log(tokens_n)) + 0.012 * np.sin(3 * np.log(tokens_n)))


def _landscape(name: str, shape: Shape, course: Course) -> Landscape:
    return Landscape(name, lambda r, t: course(np.asarray(shape(r)), t), _target, in_family=False)


def _logistic(r: Floats, slope: float, middle: float) -> Floats:
    return np.asarray(1 / (1 + np.exp(-slope * (r - middle))))


DEVELOPED_ON = (
    _landscape("cubic", lambda r: 0.3 * r**3 - 0.08, _decaying_rate),
    _landscape("onset 8", lambda r: 0.15 * _logistic(r, 8, 0.65) - 0.05, _growing),
    _landscape("onset 17", lambda r: 0.15 * _logistic(r, 17, 0.6) - 0.05, _relearning),
    _landscape("kink", lambda r: np.where(r < 0.55, 0.02, 0.6) * (r - 0.55) - 0.01, _growing),
    _landscape(
        "soft hinge", lambda r: 0.025 * np.logaddexp(0, 20 * (r - 0.5)) - 0.03 + 0.01 * r, _decaying_rate
    ),
    _landscape("cliff", lambda r: 0.05 * r + 0.3 * np.clip((r - 0.7) / 0.06, 0, 1) - 0.06, _growing),
    _landscape("last replay", lambda r: -0.06 * np.log(1.03 - r) - 0.05, _creeping),
    _landscape("dip", lambda r: 0.25 * (r - 0.15) ** 2 - 0.05, _relearning),
    _landscape("wavy", lambda r: 0.25 * r**2 - 0.06 + 0.006 * np.sin(9 * r), _waving),
    _landscape("square root", lambda r: 0.15 * np.sqrt(r) - 0.1, _creeping),
    _landscape(
        "two steps", lambda r: 0.06 * _logistic(r, 25, 0.25) + 0.1 * _logistic(r, 20, 0.75) - 0.08, _growing
    ),
    _landscape("tanh", lambda r: 0.1 * np.tanh(6 * (r - 0.55)) + 0.02 * r, _relearning),
    _landscape("quartic", lambda r: 0.45 * r**4 - 0.05, _decaying_rate),
    _landscape("two kinks", lambda r: np.maximum(0.04 * (r - 0.4), 0.35 * (r - 0.62)) - 0.02, _growing),
    _landscape("logit", lambda r: 0.02 * np.log((r + 0.02) / (1.02 - r)), _creeping),
    _landscape("late bell", lambda r: 0.2 * np.exp(-(((1 - r) / 0.35) ** 2)) - 0.06, _waving),
    _landscape("arc", lambda r: 0.05 * np.arctan(12 * (r - 0.7)) + 0.03, _decaying_rate),
    _landscape("bump", lambda r: 0.2 * r**1.3 - 0.07 + 0.02 * np.exp(-(((r - 0.5) / 0.12) ** 2)), _growing),
    _landscape("ledge", lambda r: 0.08 * r - 0.06 + 0.09 * _logistic(r, 40, 0.52), _decaying_rate),
)
NEVER_TUNED_ON = (
    _landscape("gompertz", lambda r: 0.22 * np.exp(-np.exp(-7 * (r - 0.5))) - 0.06, _cosine_rate),
    _landscape(
        "three pieces", lambda r: np.interp(r, [0, 0.35, 0.6, 1], [-0.06, -0.045, 0.03, 0.07]), _growing
    ),
    _landscape("rational", lambda r: 0.03 * r / (1.06 - r) - 0.05, _rooted),
    _landscape("plateau", lambda r: 0.01 * r + 0.25 * np.clip((r - 0.8) / 0.03, 0, 1) - 0.04, _relearning),
    _landscape("log target", lambda r: 0.035 * np.log1p(30 * r) - 0.09, _cosine_rate),
    _landscape("valley", lambda r: 0.16 * np.abs(r - 0.25) - 0.045, _growing),
    _landscape("half cosine", lambda r: 0.07 * (1 - np.cos(np.pi * r**1.5)) - 0.05, _rooted),
    _landscape(
        "stairs",
        lambda r: 0.03 * r - 0.07 + sum(0.03 * _logistic(r, 45, m) for m in (0.2, 0.4, 0.6, 0.8)),
        _decaying_rate,
    ),
    _landscape("creeping onset", lambda r: 0.12 * _logistic(r, 13, 0.45) - 0.04, _creeping),
)
