"""How far off the decision's own curves are, on mixtures that they have not seen.

A decision on one ratio averages forms over the levels of runs; no single law of `mixing.fitting` is what it uses, so
none of their errors is its own. Each inner share is left out in turn, with all its runs, and everything is fitted anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixing.arrays import Floats
from mixing.decision.critical_ratio.evidence import surface_generator
from mixing.decision.critical_ratio.loss_surface import MIN_RATIOS, fit_surface
from mixing.decision.question import Question
from mixing.laws.base import NotApplicable
from mixing.runs.increments import Increments
from mixing.runs.points import Points

MOST_PARTS = 6
"""More inner shares than this are left out several at a time, neighbours apart."""


@dataclass(frozen=True)
class LeftOut:
    """A run's increment (nats) of a role's loss, `eval`, at the last budget that the question needs: as observed, and
    as a fit predicts it that has not seen its mixture."""

    run: str
    eval: str
    observed: float
    predicted: float


def left_out(data: Increments, question: Question, seed: int = 0) -> list[LeftOut]:
    """Both losses of every run with an inner target share, predicted from the other shares.

    Empty where fewer than four shares leave too few to fit, or no law follows the others. The outermost shares are
    never left out: they would ask for what lies beyond the rest. Runs of another held-out sample than most take no
    part: their luck is another.
    """
    inside_n = data.points.interior()
    usual_n = np.ones(len(inside_n), dtype=bool)
    if data.sample_n is not None and inside_n.any():
        usual_n = data.sample_n == np.bincount(data.sample_n[inside_n]).argmax()
    inside_n = inside_n & usual_n
    share_n = data.points.target_n.round(9)
    inner = np.unique(share_n[inside_n])[1:-1]
    if len(inner) + 1 < MIN_RATIOS:
        return []
    parts = [inner[k::MOST_PARTS] for k in range(min(MOST_PARTS, len(inner)))]
    losses = {"general": (data.points, data.general_n), "target": (data.target_points, data.target_n)}
    found = []
    for role, (points, losses_n) in losses.items():
        for part in parts:
            out_n = inside_n & np.isin(share_n, part)
            last = float(points.tokens_n[out_n].max())
            tokens = min(float(question.tokens), last)
            at_n = out_n & _nearest(points, tokens)
            predicted_n = _predicted(points, losses_n, usual_n & ~out_n, tokens, share_n[at_n], role, seed)
            if predicted_n is None:
                return []
            found += [
                LeftOut(data.runs_n[at], role, float(losses_n[at]), float(value))
                for at, value in zip(np.flatnonzero(at_n), predicted_n, strict=True)
            ]
    return found


def mean_errors(predictions: list[LeftOut]) -> dict[str, float]:
    """The mean absolute error by role, nats."""
    roles = dict.fromkeys(one.eval for one in predictions)
    return {
        role: float(np.mean([abs(p.observed - p.predicted) for p in predictions if p.eval == role]))
        for role in roles
    }


def _nearest(points: Points, tokens: float) -> np.ndarray:
    """The row of each run at a budget; a run without one there has none."""
    return np.asarray(np.abs(points.tokens_n / tokens - 1) <= 0.01)


def _predicted(
    points: Points,
    losses_n: Floats,
    kept_n: np.ndarray,
    tokens: float,
    shares_n: Floats,
    role: str,
    seed: int,
) -> Floats | None:
    try:
        surface = fit_surface(
            points.take(kept_n),
            losses_n[kept_n],
            tokens,
            surface_generator(seed),
            rising=role == "general",
        )
    except NotApplicable:
        return None
    return surface.curve(tokens, 2, [seed]).at(shares_n)[0]
