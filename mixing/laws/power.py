"""The power (x^s - 1)/s, which has the logarithm as its limit at s = 0.

a*x^s + b and a'*(x^s - 1)/s + b' are the same family (a = a'/s, b = b' - a'/s), but only the second stays well
conditioned as s passes 0, where a fit of the first degenerates (|a| in the hundreds).
"""

from __future__ import annotations

import numpy as np

from mixing.arrays import Floats

_SMALL = 1e-4


def power(x: Floats, s: Floats) -> Floats:
    """(x^s - 1)/s, elementwise after broadcasting; log x where |s| is small (by its series, so that no jump shows)."""
    log_x = np.log(x)
    safe = np.where(np.abs(s) < _SMALL, 1.0, s)
    u = s * log_x
    exact = np.expm1(safe * log_x) / safe
    return np.asarray(np.where(np.abs(s) < _SMALL, log_x * (1 + u / 2 + u**2 / 6), exact))


def power_ds(x: Floats, s: Floats) -> Floats:
    """The derivative of `power` by s."""
    log_x = np.log(x)
    safe = np.where(np.abs(s) < _SMALL, 1.0, s)
    u = s * log_x
    exact = (np.exp(safe * log_x) * (safe * log_x - 1) + 1) / safe**2
    return np.asarray(np.where(np.abs(s) < _SMALL, log_x**2 * (1 / 2 + u / 3 + u**2 / 8), exact))


def power_dx(x: Floats, s: Floats) -> Floats:
    """The derivative of `power` by x: x^(s-1)."""
    return np.asarray(np.exp((s - 1) * np.log(x)))
