"""The best mixture under fitted laws: weighted or worst target loss, loss constraints, caps, a prior.

    minimise    sum_i w_i L_i(p) + kl * KL(p || prior)        (or max_i of L_i(p) - reference_i)
    subject to  L_g(p) <= limit_g for each protected loss,  p in a region of the simplex

SLSQP from the best of many sampled mixtures; every bootstrap replicate again, from the fit's answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.decision.mixture.objective import Problem
from mixing.decision.mixture.slsqp import local_optimum

CANDIDATES = 1024
"""Mixtures sampled for starts; they are the whole search where a model has no gradient."""
STARTS = 4
AVERAGED = 32
"""Without a gradient, the mean of this many best candidates: single ones are lucky (RegMix averages 128)."""


@dataclass(frozen=True)
class Optimum:
    """A mixture, its objective (nats), and its `violation` over the protected losses' limits (<= 0: within them)."""

    q_q: Floats
    shares_d: Floats
    value: float
    violation: float

    @property
    def feasible(self) -> bool:
        return self.violation <= FEASIBLE


FEASIBLE = 1e-6
"""Nats by which rounding may pass a limit."""


@dataclass(frozen=True)
class Candidates:
    """Sampled mixtures of a region with every replicate's objective and violation: starts, and a yardstick."""

    q_mq: Floats
    objective_bm: Floats
    violation_bm: Floats

    def best(self, b: int, count: int) -> NDArray[np.int64]:
        """The best mixtures of replicate b: feasible ones by objective, else by violation."""
        violation, value = self.violation_bm[b], self.objective_bm[b]
        allowed = np.flatnonzero(violation <= FEASIBLE)
        if len(allowed):
            return np.asarray(allowed[np.argsort(value[allowed], kind="stable")][:count])
        return np.argsort(violation, kind="stable")[:count]

    def unconstrained(self) -> Candidates:
        """Those of the fit, without its loss constraints."""
        return Candidates(self.q_mq, self.objective_bm[:1], np.full_like(self.violation_bm[:1], -np.inf))

    def scale(self, b: int) -> float:
        """The spread of the objective over the candidates, nats."""
        spread = float(np.ptp(self.objective_bm[b]))
        return spread if np.isfinite(spread) and spread > 1e-300 else 1.0


def sample_candidates(
    problem: Problem, centres_md: Floats, rng: np.random.Generator, count: int = CANDIDATES
) -> Candidates:
    """Sample the region around the centres, which are candidates themselves."""
    region = problem.region
    centres_q = region.parts_of(centres_md)
    q_mq = np.concatenate([centres_q, region.sample(centres_q, count, rng)])
    shares_md = region.shares(q_mq)
    objective, violation = problem.objective(shares_md), problem.violation(shares_md)
    return Candidates(
        q_mq, np.where(np.isfinite(objective), objective, np.inf), np.nan_to_num(violation, nan=np.inf)
    )


def optimise(
    problem: Problem, candidates: Candidates, b: int = 0, starts: list[Floats] | None = None
) -> Optimum:
    """The best mixture of version b; where none is feasible, the one that passes its limits by least."""
    one = problem.replicate(b)
    top = candidates.q_mq[candidates.best(b, AVERAGED)]
    options = [top[0]]
    if not problem.smooth:
        options += [*(starts or []), top.mean(0)]
    else:
        scale = candidates.scale(b)
        begin = starts if starts is not None else list(top[:: max(1, len(top) // STARTS)][:STARTS])
        options += [local_optimum(one, start, scale) for start in begin]
        best = _pick(one, options)
        if starts is not None and np.array_equal(best.q_q, top[0]):
            options.append(local_optimum(one, top[0], scale))
        if not _pick(one, options).feasible:
            options += [local_optimum(one, q, scale, relaxed=True) for q in (options[-1], top[0])]
    return _pick(one, options)


def optimise_replicates(
    problem: Problem,
    candidates: Candidates,
    fitted: Optimum,
    step: Callable[[], None] | None = None,
) -> list[Optimum]:
    """The decision recomputed in every bootstrap replicate, from the fit's answer; `step` is called after each."""
    out = []
    for b in range(1, problem.count):
        out.append(optimise(problem, candidates, b, [fitted.q_q]))
        if step is not None:
            step()
    return out


def least_violation(problem: Problem, candidates: Candidates) -> Optimum:
    """The mixture whose protected losses are lowest against their limits, whatever the targets say."""
    one = problem.replicate(0)
    order = np.argsort(candidates.violation_bm[0], kind="stable")[:STARTS]
    options = [candidates.q_mq[at] for at in order]
    if problem.smooth:
        options += [local_optimum(one, q, candidates.scale(0), relaxed=True) for q in options]
    projected = problem.region.project(np.stack(options))
    shares = problem.region.shares(projected)
    violation = one.violation(shares)[0]
    at = int(np.nanargmin(violation))
    return Optimum(projected[at], shares[at], float(one.objective(shares)[0, at]), float(violation[at]))


def _pick(one: Problem, options: list[Floats]) -> Optimum:
    q_mq = one.region.project(np.stack(options))
    shares_md = one.region.shares(q_mq)
    value = np.nan_to_num(one.objective(shares_md)[0], nan=np.inf)
    violation = np.nan_to_num(one.violation(shares_md)[0], nan=np.inf)
    allowed = violation <= FEASIBLE
    at = int(np.where(allowed, value, np.inf).argmin()) if allowed.any() else int(violation.argmin())
    return Optimum(q_mq[at], shares_md[at], float(value[at]), float(violation[at]))
