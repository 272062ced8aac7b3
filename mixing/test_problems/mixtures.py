"""Landscapes over several sources: losses of a mixture whose best one, under a tolerance, is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import minimize

from mixing.arrays import Floats
from mixing.runs.table import RunTable, make_table

TOKENS = 1_000_000_000
"""The one budget of these studies."""


@dataclass(frozen=True)
class MixtureLandscape:
    """Losses (nats) of mixtures shares_md: losses_m of the general and of the target text.

    `base` is the base model's general loss, over which increments count; `tolerance` leaves some room to forget. The
    first domain is the general one. `tilt_d` are the expected shares of drawn mixtures.
    """

    name: str
    domains: tuple[str, ...]
    general: Callable[[Floats], Floats]
    target: Callable[[Floats], Floats]
    in_family: bool
    tilt_d: tuple[float, ...]
    base: float
    tolerance: float

    def best(self) -> tuple[Floats, float]:
        """The mixture shares_d with the least target loss among those within the tolerance, and that loss.

        The best of SLSQP's answers from 60 starts; the losses are smooth.
        """
        width = len(self.domains)
        starts = np.random.default_rng(0).dirichlet(np.ones(width), 60)
        room = {"type": "ineq", "fun": lambda p: self.base + self.tolerance - float(self.general(p[None])[0])}
        whole = {"type": "eq", "fun": lambda p: float(p.sum() - 1)}
        optima = [
            minimize(
                lambda p: float(self.target(p[None])[0]),
                start,
                method="SLSQP",
                bounds=[(0.0, 1.0)] * width,
                constraints=[room, whole],
                options={"ftol": 1e-12, "maxiter": 300},
            )
            for start in starts
        ]
        reached = [f for f in optima if f.success and room["fun"](f.x) > -1e-7]  # type: ignore[operator]
        least = min(reached, key=lambda f: float(f.fun))
        return np.asarray(least.x), float(least.fun)

    def study(
        self, runs: int, *, noise: float = 0.002, concentration: float = 6.0, seed: int = 0
    ) -> RunTable:
        """A runs table of Dirichlet mixtures at one budget, losses with that noise (nats); base rows included."""
        rng = np.random.default_rng(seed)
        shares_rd = rng.dirichlet(concentration * np.array(self.tilt_d), runs)
        rows: list[dict[str, object]] = []
        for name, law in (("general", self.general), ("target", self.target)):
            rows.append({"run": "base", "tokens": 0, "eval": name, "loss": self.base})
            losses_r = law(shares_rd) + noise * rng.standard_normal(runs)
            rows += [
                {"run": f"run{r:03}", "tokens": TOKENS, "eval": name, "loss": float(losses_r[r])}
                | {f"share.{d}": float(s) for d, s in zip(self.domains, shares_rd[r], strict=True)}
                for r in range(runs)
            ]
        return make_table(pl.DataFrame(rows, infer_schema_length=None), self.name)


def _powers(floor: float, scale_d: Floats, known_d: Floats, power_d: Floats) -> Callable[[Floats], Floats]:
    return lambda p: floor + (scale_d * (p + known_d) ** -power_d).sum(-1)


def _exponentials(floor: float, scale_k: Floats, slopes_kd: Floats) -> Callable[[Floats], Floats]:
    return lambda p: floor + (scale_k * np.exp(p @ slopes_kd.T)).sum(-1)


def _synergy(p: Floats) -> Floats:
    """Code and maths help each other; each alone saturates."""
    code, maths = p[:, 1], p[:, 2]
    return np.asarray(2.2 - 0.25 * np.tanh(3 * code) - 0.2 * np.tanh(4 * maths) - 0.6 * code * maths)


def _onset(p: Floats) -> Floats:
    """Forgetting sets in where little general text is left, and saturates."""
    return np.asarray(2.9 + 0.3 / (1 + np.exp(14 * (p[:, 0] - 0.3))))


MIXTURE_LANDSCAPES = (
    MixtureLandscape(
        "powers",
        ("web", "code", "maths"),
        _powers(2.5, np.array([0.20, 0.0, 0.0]), np.array([0.1, 1.0, 1.0]), np.array([0.5, 1.0, 1.0])),
        _powers(1.5, np.array([0.0, 0.20, 0.08]), np.array([1.0, 0.1, 0.05]), np.array([1.0, 0.5, 0.6])),
        in_family=True,
        tilt_d=(0.4, 0.35, 0.25),
        base=2.80,
        tolerance=0.02,
    ),
    MixtureLandscape(
        "powers-of-five",
        ("web", "code", "maths", "german", "news"),
        _powers(
            2.4,
            np.array([0.16, 0.0, 0.0, 0.0, 0.07]),
            np.array([0.1, 1.0, 1.0, 1.0, 0.1]),
            np.array([0.5, 1.0, 1.0, 1.0, 0.4]),
        ),
        _powers(
            1.4,
            np.array([0.0, 0.14, 0.07, 0.08, 0.0]),
            np.array([1.0, 0.1, 0.06, 0.08, 1.0]),
            np.array([1.0, 0.5, 0.6, 0.5, 1.0]),
        ),
        in_family=True,
        tilt_d=(0.28, 0.24, 0.16, 0.18, 0.14),
        base=2.82,
        tolerance=0.02,
    ),
    # Two exponentials: data mixing laws have one per validation set, implicit domains several.
    MixtureLandscape(
        "exponentials",
        ("web", "code", "maths"),
        _exponentials(2.4, np.array([0.6]), np.array([[-2.4, 0.3, 0.1]])),
        _exponentials(1.5, np.array([0.5, 0.35]), np.array([[0.1, -2.2, 0.0], [0.0, -0.3, -3.0]])),
        in_family=True,
        tilt_d=(0.4, 0.35, 0.25),
        base=2.66,
        tolerance=0.02,
    ),
    MixtureLandscape(
        "synergy",
        ("web", "code", "maths"),
        _powers(2.5, np.array([0.20, 0.0, 0.0]), np.array([0.1, 1.0, 1.0]), np.array([0.5, 1.0, 1.0])),
        _synergy,
        in_family=False,
        tilt_d=(0.4, 0.35, 0.25),
        base=2.80,
        tolerance=0.02,
    ),
    MixtureLandscape(
        "onset",
        ("web", "code", "maths"),
        _onset,
        _powers(1.5, np.array([0.0, 0.20, 0.08]), np.array([1.0, 0.1, 0.05]), np.array([1.0, 0.5, 0.6])),
        in_family=False,
        tilt_d=(0.4, 0.35, 0.25),
        base=2.95,
        tolerance=0.02,
    ),
)
