"""Which mixtures to train next, with more than two sources.

Where a law can be fitted, the bootstrap replicates are an ensemble of what may be true: the answer and the losses at a
candidate vary together over it. Observing a candidate would take from the answer's variance what its losses explain
(the update of an ensemble Kalman filter), and the candidate that takes most is trained first. Where no law can be
fitted yet, mixtures are spread.
"""

from __future__ import annotations

import numpy as np

from mixing.arrays import Floats
from mixing.decision.mixture.bounds import Region, by_domain
from mixing.decision.mixture.optimiser import Candidates, Optimum
from mixing.decision.mixture.predictions import Predictor

NEXT_RUNS = 3
"""Mixtures that a decision asks for."""


def most_telling(
    answers_bd: Floats, losses_vbm: Floats, noise_v: Floats, count: int
) -> tuple[list[int], list[float]]:
    """`count` candidates m, greedily, and after each the answer's remaining variance as a share of today's.

    `answers_bd` are the replicates' mixtures, `losses_vbm` their losses at the candidates, `noise_v` the scatter of a
    run (nats). No candidate comes twice.
    """
    replicates, width = answers_bd.shape
    losses, _, candidates = losses_vbm.shape
    both = np.concatenate([answers_bd, losses_vbm.transpose(1, 2, 0).reshape(replicates, -1)], axis=1)
    both = both - both.mean(0)
    covariance = both.T @ both / max(replicates - 1, 1)
    today = float(np.trace(covariance[:width, :width]))
    chosen: list[int] = []
    left: list[float] = []
    if not today > 0 or not np.isfinite(covariance).all():
        return [], []
    noise = np.diag(np.maximum(noise_v, 1e-12) ** 2)
    for _ in range(min(count, candidates)):
        gains = np.zeros(candidates)
        for m in range(candidates):
            at = width + m * losses + np.arange(losses)
            shared = covariance[:width, at]
            gains[m] = np.trace(shared @ np.linalg.solve(covariance[np.ix_(at, at)] + noise, shared.T))
        gains[chosen] = -1.0
        best = int(gains.argmax())
        at = width + best * losses + np.arange(losses)
        column = covariance[:, at]
        covariance = covariance - column @ np.linalg.solve(covariance[np.ix_(at, at)] + noise, column.T)
        chosen.append(best)
        left.append(max(float(np.trace(covariance[:width, :width])) / today, 0.0))
    return chosen, left


def spread(candidates_md: Floats, trained_nd: Floats, count: int) -> list[int]:
    """`count` candidates that lie farthest from the trained mixtures and from each other (total variation)."""
    chosen: list[int] = []
    near_m = np.full(len(candidates_md), np.inf)
    for row_d in trained_nd:
        near_m = np.minimum(near_m, np.abs(candidates_md - row_d).sum(1) / 2)
    for _ in range(min(count, len(candidates_md))):
        at = int(near_m.argmax())
        chosen.append(at)
        near_m = np.minimum(near_m, np.abs(candidates_md - candidates_md[at]).sum(1) / 2)
    return chosen


def next_mixtures(
    predictor: Predictor,
    region: Region,
    sampled: Candidates,
    answer: Optimum,
    many_bd: Floats,
    *,
    first: bool,
) -> list[dict[str, float]]:
    """The mixtures that narrow the answer most; the answer itself `first` where it is extrapolated."""
    domains = predictor.data.domains
    head = [by_domain(domains, answer.shares_d)] if first else []
    best = sampled.best(0, 120)
    options = np.concatenate([answer.shares_d[None], region.shares(sampled.q_mq[best]), many_bd[:60]])
    options = _apart(options)[len(head) :]
    if not len(options):
        return head
    fitted = predictor.fitted
    losses = np.stack([fitted.models[role].losses(options)[1:] for role in predictor.roles])
    noise_v = np.array([fitted.noise[role] for role in predictor.roles])
    chosen, _ = most_telling(many_bd, losses, noise_v, NEXT_RUNS - len(head))
    return head + [by_domain(domains, options[m]) for m in chosen]


def _apart(mixtures_md: Floats, least: float = 0.03) -> Floats:
    """The mixtures that differ from every one before them by more than `least` (total variation)."""
    apart: list[Floats] = []
    for mix_d in mixtures_md:
        if all(np.abs(mix_d - other_d).sum() / 2 > least for other_d in apart):
            apart.append(mix_d)
    return np.stack(apart)
