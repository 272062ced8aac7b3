"""Landscapes over target share and tokens whose critical ratio is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import brentq

from mixing.arrays import Floats
from mixing.runs.table import RunTable, make_table

Increment = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class Landscape:
    """Increments over the base model in nats, as functions of (target share R, tokens T in `unit` tokens)."""

    name: str
    general: Increment
    target: Increment
    in_family: bool
    unit: int = 1_000_000
    shared: float = 0.0
    """The part of the variance between runs that neighbours in target share have in common (runs of one seed)."""

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
        losses = {
            name: self.losses(name, ratios, tokens, 1, run_sd, checkpoint_sd, correlation, rng)[0]
            for name in BASE
        }
        return self.table(ratios, tokens, losses)

    def table(self, ratios: list[float], tokens: list[int], losses: dict[str, Floats]) -> RunTable:
        """A runs table of increments increment_rt by name, base rows included."""
        rows: list[dict[str, object]] = []
        blank = {"share.general": None, "share.target": None}
        for name, loss in BASE.items():
            rows.append({"run": "base", **blank, "tokens": 0, "eval": name, "loss": loss})
        for index, ratio in enumerate(ratios):
            shares = {"share.general": 1 - ratio, "share.target": ratio}
            for name, loss_rt in losses.items():
                rows += [
                    {"run": f"run{index:03}", **shares, "tokens": budget, "eval": name}
                    | {"loss": BASE[name] + float(loss)}
                    for budget, loss in zip(tokens, loss_rt[index], strict=True)
                ]
        return make_table(pl.DataFrame(rows, infer_schema_length=None), self.name)

    def losses(
        self,
        name: str,
        ratios: list[float],
        tokens: list[int],
        count: int,
        run_sd: float,
        checkpoint_sd: float,
        correlation: float,
        rng: np.random.Generator,
    ) -> Floats:
        """Increments of `count` studies at once, increment_vrt in nats: surface, offsets of runs, AR(1) checkpoints."""
        surface = self.general if name == "general" else self.target
        shares_r = np.array(ratios)
        at_t = np.array(tokens) / self.unit
        clean_rt = np.stack([surface(np.full(len(at_t), r), at_t) for r in shares_r])
        # Neighbours in share that see the same data in the same order have some of their luck in common.
        near_rr = np.exp(-0.5 * ((shares_r[:, None] - shares_r[None, :]) / 0.2) ** 2)
        root_rr = np.linalg.cholesky(self.shared * near_rr + (1 - self.shared + 1e-9) * np.eye(len(shares_r)))
        offset_vr = run_sd * rng.standard_normal((count, len(shares_r))) @ root_rr.T
        state_vrt = rng.standard_normal((count, len(shares_r), len(at_t)))
        keep = np.sqrt(1 - correlation**2)
        for t in range(1, len(at_t)):
            state_vrt[..., t] = correlation * state_vrt[..., t - 1] + keep * state_vrt[..., t]
        return np.asarray(clean_rt + offset_vr[..., None] + checkpoint_sd * state_vrt)


BASE = {"general": 3.0, "target": 2.0}


def _target(ratio: Floats, tokens: Floats) -> Floats:
    return -(0.3 + 0.5 * ratio**0.4) * (1 - 0.7 * (1 + 3 * tokens) ** -0.4)


def _power(ratio: Floats, tokens: Floats) -> Floats:
    return (0.30 * ratio**3 - 0.10) + (0.10 - 0.05 * ratio**3) * tokens**-0.3 - 0.06 * tokens**0.5


LANDSCAPES = (
    Landscape(
        "power",
        _power,
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
    # Curved in log T, as a loss is under a learning rate that rises and falls.
    Landscape(
        "curved",
        lambda r, t: (
            (0.30 * r**3 - 0.10) * (1 + 0.01 * np.log(t) ** 2)
            + 0.02 * r**2 * np.sin(1.2 * np.log(t) + 2.5)
            - 0.03 * t**0.3
        ),
        _target,
        in_family=False,
    ),
    # Forgetting that sets in and saturates: no form that is averaged over has a turn of its slope in R.
    Landscape(
        "saturating",
        lambda r, t: 0.15 / (1 + np.exp(-8 * (r - 0.65))) * (1 - 0.1 * np.log(t)) - 0.05 * t**0.3,
        _target,
        in_family=False,
    ),
    # The surface of `power`; a quarter of the variance between runs is luck that neighbouring shares have in common.
    Landscape("shared-luck", _power, _target, in_family=False, shared=0.25),
)


def sized_study(
    sizes: list[int], ratios: list[float], tokens: list[int], *, target_size: int, noise: float, seed: int = 0
) -> tuple[RunTable, float]:
    """Runs of several sizes, and the critical ratio (tolerance 0, largest budget) at the size asked about.

    The larger the model, the less it forgets: the general increment of `power` falls by 0.2 R (1 - N^-0.1) nats, N in
    millions of parameters, which is no straight line in ln N.
    """

    def at_size(size: float) -> Landscape:
        gain = 0.2 * (1 - (size / 1e6) ** -0.1)
        return Landscape(f"{size:g}", lambda r, t: _power(r, t) - gain * r, _target, in_family=False)

    frames = []
    for number, size in enumerate(sizes):
        table = at_size(size).study(
            ratios, tokens, run_sd=noise, checkpoint_sd=noise, seed=1000 * seed + number
        )
        frames.append(
            table.rows.with_columns(
                params=pl.lit(size, dtype=pl.Int64), run=pl.col("run") + pl.lit(f"-{size}")
            )
        )
    truth = at_size(target_size).critical_ratio(0.0, tokens[-1])
    return RunTable(pl.concat(frames), "sizes"), truth
