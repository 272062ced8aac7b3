"""Known-answer landscapes: loss surfaces over target share and tokens whose critical ratio is known.

For tests and for checking that intervals cover: draw a study, ask for the critical ratio, compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import brentq

from mixing.laws.base import Floats
from mixing.runs import RunTable, make_table

Increment = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class Landscape:
    """Increments over the base model in nats, as functions of (target share R, tokens T in `unit` tokens)."""

    name: str
    general: Increment
    target: Increment
    in_family: bool
    unit: int = 1_000_000

    def critical_ratio(self, tolerance: float, tokens: float) -> float:
        """The largest R whose general increment at `tokens` is within `tolerance` nats (1 if all are)."""
        at = np.array([tokens / self.unit])

        def excess(ratio: float) -> float:
            return float(self.general(np.array([ratio]), at)[0]) - tolerance

        if excess(1 - 1e-9) <= 0:
            return 1.0
        return float(brentq(excess, 1e-6, 1 - 1e-9)) if excess(1e-6) < 0 else 0.0

    def study(
        self,
        ratios: list[float],
        tokens: list[int],
        *,
        run_sd: float = 0.002,
        checkpoint_sd: float = 0.002,
        correlation: float = 0.3,
        seed: int = 0,
    ) -> RunTable:
        """A runs table of one run per ratio with that noise (nats), base rows included."""
        rng = np.random.default_rng(seed)
        rows: list[dict[str, object]] = []
        base = {"general": 3.0, "target": 2.0}
        blank = {"share.general": None, "share.target": None}
        for name, loss in base.items():
            rows.append({"run": "base", **blank, "tokens": 0, "eval": name, "loss": loss})
        keep = np.sqrt(1 - correlation**2)
        for index, ratio in enumerate(ratios):
            for name, surface in (("general", self.general), ("target", self.target)):
                offset, state = run_sd * rng.standard_normal(), rng.standard_normal()
                for budget in tokens:
                    value = surface(np.array([ratio]), np.array([budget / self.unit]))[0]
                    rows.append(
                        {
                            "run": f"run{index}",
                            "share.general": 1 - ratio,
                            "share.target": ratio,
                            "tokens": budget,
                            "eval": name,
                            "loss": base[name] + float(value) + offset + checkpoint_sd * state,
                        }
                    )
                    state = correlation * state + keep * rng.standard_normal()
        return make_table(pl.DataFrame(rows, infer_schema_length=None), self.name)


def _target(ratio: Floats, tokens: Floats) -> Floats:
    return -(0.3 + 0.5 * ratio**0.4) * (1 - 0.7 * (1 + 3 * tokens) ** -0.4)


LANDSCAPES = (
    Landscape(
        "power",
        lambda r, t: (0.30 * r**3 - 0.10) + (0.10 - 0.05 * r**3) * t**-0.3 - 0.06 * t**0.5,
        _target,
        in_family=True,
    ),
    Landscape(
        "exponential",
        lambda r, t: 0.012 * np.exp(3.2 * r) * (1 - 0.3 * np.log1p(t)) - 0.07 * t**0.3,
        _target,
        in_family=False,
    ),
    Landscape(
        "steep",
        lambda r, t: -0.06 * np.log(1.03 - r) * (1 + 0.2 * np.log1p(t)) - 0.09 * t**0.25,
        _target,
        in_family=False,
    ),
)
