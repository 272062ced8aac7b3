"""The Pareto front: the best target loss that every bound on the general loss allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixing.arrays import Floats
from mixing.decision.mixture.objective import LossConstraint, Problem
from mixing.decision.mixture.optimiser import Candidates, Optimum, least_violation, optimise

POINTS = 11


def front(
    problem: Problem, candidates: Candidates, general: LossConstraint, points: int = POINTS
) -> list[Optimum]:
    """Best mixtures of the fit from the least general loss to the best target, in order of the general loss.

    `general` is swept; other loss constraints keep their limits. Mixtures that another one beats on both losses are
    left out, so a short list says that there is little to trade.
    """
    one = problem.replicate(0)
    model = general.model.replicate(0)
    others = tuple(g for g in one.loss_constraints if g.name != general.name)
    swept_m = model.losses(one.region.shares(candidates.q_mq))[0]
    rest_m = replace(one, loss_constraints=others).violation(one.region.shares(candidates.q_mq))[0]

    def at(limit: float) -> tuple[Problem, Candidates]:
        bounded = replace(
            one, loss_constraints=(*others, LossConstraint(general.name, model, np.array([limit])))
        )
        return bounded, Candidates(
            candidates.q_mq, candidates.objective_bm[:1], np.maximum(rest_m, swept_m - limit)[None]
        )

    lowest = least_violation(*at(float(swept_m.min())))
    free = replace(one, loss_constraints=others)
    best = optimise(free, Candidates(candidates.q_mq, candidates.objective_bm[:1], rest_m[None]))
    low, high = (float(model.losses(o.shares_d[None])[0, 0]) for o in (lowest, best))
    if not high > low:
        return [best]
    out: list[Optimum] = []
    start = lowest.q_q
    for limit in np.linspace(low, high, points):
        bounded, sampled = at(float(limit))
        answer = optimise(bounded, sampled, 0, [start, best.q_q] if problem.smooth else None)
        start = answer.q_q
        if answer.violation <= 1e-5:
            out.append(answer)
    return _undominated(out, np.array([float(model.losses(o.shares_d[None])[0, 0]) for o in out]))


def _undominated(options: list[Optimum], general_n: Floats) -> list[Optimum]:
    undominated: list[Optimum] = []
    for at in np.argsort(general_n, kind="stable"):
        if not undominated or options[at].value < undominated[-1].value - 1e-9:
            undominated.append(options[at])
    return undominated
