"""The CMR law over budgets (Gu et al. 2024 eq. d): R_CMR(T) = a4 * T^s4 + b3, from the pairs (T0(R_k), R_k)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixing.arrays import Floats
from mixing.laws.power import power

MIN_PAIRS = 3
"""The law has three parameters."""
WARN_BEYOND, REFUSE_BEYOND = 2.0, 4.0
"""How far past the largest critical time the law is followed without a warning, and at all."""
EXPONENTS = np.concatenate([np.linspace(-4, -0.02, 200), np.linspace(0.02, 4, 200)])
"""Away from 0, where a4 and b3 grow without limit and cancel."""


@dataclass(frozen=True)
class CmrLaw:
    """R_CMR(T) = a4 * (T / unit)^s4 + b3, T in tokens; `pairs` are (T0, R), `error` the mean absolute miss on them."""

    a4: float
    s4: float
    b3: float
    unit: float
    pairs: tuple[tuple[float, float], ...]
    error: float

    def reach(self, tokens: float) -> float:
        """`tokens` over the largest critical time that the law was fitted on."""
        return tokens / max(time for time, _ in self.pairs)

    def ratio(self, tokens: float) -> float | None:
        """The critical ratio at a budget, clamped to [0, 1]; None further out than the law is followed."""
        if self.reach(tokens) > REFUSE_BEYOND:
            return None
        return float(np.clip(self.a4 * (tokens / self.unit) ** self.s4 + self.b3, 0.0, 1.0))

    def warning(self, tokens: float) -> str | None:
        """What there is to say against asking it at a budget."""
        reach = self.reach(tokens)
        if reach > REFUSE_BEYOND:
            return f"the CMR law is not followed to {reach:.1f} times the largest critical time"
        if reach > WARN_BEYOND:
            return f"the CMR law is extrapolated to {reach:.1f} times the largest critical time"
        return None

    def to_dict(self, tokens: float) -> dict[str, Any]:
        """Plain numbers, and what it says at a budget."""
        return {
            "a4": self.a4,
            "s4": self.s4,
            "b3": self.b3,
            "unit_tokens": self.unit,
            "pairs": [{"tokens": time, "target_share": ratio} for time, ratio in self.pairs],
            "error": self.error,
            "critical_ratio": self.ratio(tokens),
            "warning": self.warning(tokens),
        }


def fit_cmr_law(times: dict[float, float | None]) -> CmrLaw | None:
    """The law through the critical times of shares (R: T0 in tokens; 0 or None: none); None below three pairs."""
    pairs = sorted((time, ratio) for ratio, time in times.items() if time is not None and time > 0)
    if len({time for time, _ in pairs}) < MIN_PAIRS:
        return None
    tokens_n = np.array([time for time, _ in pairs])
    ratio_n = np.array([ratio for _, ratio in pairs])
    unit = float(tokens_n.max())

    def solve(s: float) -> tuple[float, Floats]:
        columns_n2 = np.stack([np.ones(len(pairs)), power(tokens_n / unit, np.array(s))], 1)
        linear_2 = np.linalg.lstsq(columns_n2, ratio_n, rcond=1e-10)[0]
        return float(((columns_n2 @ linear_2 - ratio_n) ** 2).sum()), linear_2

    s4 = float(min(EXPONENTS, key=lambda s: solve(float(s))[0]))
    step = float(EXPONENTS[1] - EXPONENTS[0])
    for _ in range(3):
        nearby = [s for s in np.linspace(s4 - step, s4 + step, 21) if abs(s) > 0.01]
        s4 = float(min(nearby, key=lambda s: solve(float(s))[0]))
        step /= 10
    middle, slope = solve(s4)[1]
    a4, b3 = float(slope / s4), float(middle - slope / s4)
    miss_n = a4 * (tokens_n / unit) ** s4 + b3 - ratio_n
    return CmrLaw(a4, s4, b3, unit, tuple(pairs), float(np.abs(miss_n).mean()))
