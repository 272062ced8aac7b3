"""The mixture that keeps every tolerance with the asked probability, and how probable that is at any mixture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from mixing.arrays import Floats
from mixing.decision.mixture.objective import LossConstraint, Problem
from mixing.decision.mixture.optimiser import FEASIBLE, Candidates, Optimum, optimise
from mixing.decision.mixture.versions import Margin

MOST_SPREADS = 8.0
_STEPS = 6


@dataclass(frozen=True)
class SafeMixture:
    """The best mixture whose losses keep their limits with probability `within`; `problem` is what it solves, whose
    limits are `spreads` standard deviations off, and `candidates` are those of that problem."""

    optimum: Optimum
    within: float
    problem: Problem
    candidates: Candidates


def within(problem: Problem, shares_md: Floats) -> Floats:
    """The part of the replicates in which every loss keeps its limit, within_m; 1 where none has one."""
    return np.asarray((problem.violation(shares_md)[1:] <= FEASIBLE).mean(0))


def safe_mixture(
    problem: Problem, candidates: Candidates, estimate: Optimum, confidence: float
) -> SafeMixture | None:
    """The least objective of the fit among mixtures that keep every limit with probability `confidence`.

    Each loss is held under its limit by so many standard deviations over the replicates that all limits together are
    kept in that part of them: smooth, where the part itself is a step function that a search would play on. None where
    no mixture is that safe.
    """
    if not problem.loss_constraints:
        return SafeMixture(estimate, 1.0, problem, candidates)
    shares_md = problem.region.shares(candidates.q_mq)
    over_cbm = [c.model.losses(shares_md)[1:] - c.limit_b[1:, None] for c in problem.loss_constraints]
    mean_cm, spread_cm = np.stack([o.mean(0) for o in over_cbm]), np.stack([o.std(0) for o in over_cbm])

    def solve(spreads: float, start: Floats) -> SafeMixture:
        margins = tuple(
            LossConstraint(c.name, Margin(c.model, c.limit_b, spreads), np.zeros(1))
            for c in problem.loss_constraints
        )
        bounded = replace(problem.replicate(0), loss_constraints=margins)
        violation = (mean_cm + spreads * spread_cm).max(0)[None]
        sampled = Candidates(candidates.q_mq, candidates.objective_bm[:1], violation)
        best = optimise(bounded, sampled, 0, [start, sampled.q_mq[sampled.best(0, 1)[0]]])
        return SafeMixture(best, float(within(problem, best.shares_d[None])[0]), bounded, sampled)

    low, high = 0.0, MOST_SPREADS
    spreads = max(float(ndtri(confidence)), 0.0)
    safe: SafeMixture | None = None
    start = estimate.q_q
    for _ in range(_STEPS):
        one = solve(spreads, start)
        start = one.optimum.q_q
        enough = one.within >= confidence and one.optimum.feasible
        if enough:
            high = spreads
            if safe is None or one.optimum.value < safe.optimum.value:
                safe = one
        elif not one.optimum.feasible:
            high = spreads
        else:
            low = spreads
        if high - low < 0.05:
            break
        short = float(ndtri(confidence) - ndtri(np.clip(one.within, 0.005, 0.995)))
        spreads = min(max(spreads + short, low + 0.1 * (high - low)), low + 0.7 * (high - low))
    return safe or _safest(problem, candidates, confidence)


def _safest(problem: Problem, candidates: Candidates, confidence: float) -> SafeMixture | None:
    """The best of the sampled mixtures that are safe enough."""
    part_m = (candidates.violation_bm[1:] <= FEASIBLE).mean(0)
    enough = np.flatnonzero(part_m >= confidence)
    if not len(enough):
        return None
    at = int(enough[candidates.objective_bm[0, enough].argmin()])
    q_q = candidates.q_mq[at]
    best = Optimum(q_q, problem.region.shares(q_q[None])[0], float(candidates.objective_bm[0, at]), 0.0)
    return SafeMixture(best, float(part_m[at]), problem, candidates)
