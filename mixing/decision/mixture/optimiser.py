"""The best mixture under fitted laws: weighted or worst target loss, protected losses, caps, a prior.

    minimise    sum_i w_i L_i(p) + kl * KL(p || prior)        (or max_i of L_i(p) - reference_i)
    subject to  L_g(p) <= limit_g for each protected loss,  p in a region of the simplex        (laws.md section 9)

SLSQP from the best of many sampled mixtures; every bootstrap replicate again, from the fit's answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from mixing.arrays import Floats
from mixing.decision.mixture.bounds import Region

CANDIDATES = 1024
"""Mixtures sampled for starts; they are the whole search where a model has no gradient."""
STARTS = 4
AVERAGED = 32
"""Without a gradient, the mean of this many best candidates: single ones are lucky (RegMix averages 128)."""
_TINY = 1e-12


class LossModel(Protocol):
    """A loss over mixtures at the budget and size that were asked about, in b versions.

    b = 0 is the fit, 1.. its bootstrap replicates (replicate b of all models belongs together). Shares are mixtures
    on the simplex or a hair off it.
    """

    @property
    def count(self) -> int:
        """b, the fit included."""
        ...

    @property
    def smooth(self) -> bool:
        """False for step functions, whose gradients say nothing."""
        ...

    def losses(self, shares_md: Floats) -> Floats:
        """losses_bm in nats."""
        ...

    def gradients(self, shares_md: Floats) -> Floats:
        """gradients_bmd of the losses in the shares, each share moved alone."""
        ...

    def only(self, b: int) -> LossModel:
        """One version of it, as a model of count 1."""
        ...


def numeric_gradients(losses: Callable[[Floats], Floats], shares_md: Floats, step: float = 1e-5) -> Floats:
    """Central differences of losses_bm, gradients_bmd; one-sided at 0."""
    m, d = shares_md.shape
    up = shares_md[:, None, :] + step * np.eye(d)
    down = np.maximum(shares_md[:, None, :] - step * np.eye(d), 0.0)
    both = losses(np.concatenate([up.reshape(-1, d), down.reshape(-1, d)]))
    width_md = np.einsum("mdd->md", up - down)
    return np.asarray((both[:, : m * d] - both[:, m * d :]).reshape(-1, m, d) / width_md)


@dataclass(frozen=True)
class Protected:
    """A loss that may not pass limit_b (nats; one limit per replicate, as the reference may be predicted too)."""

    name: str
    model: LossModel
    limit_b: Floats


@dataclass(frozen=True)
class Problem:
    """weights_t weigh the targets; with `worst` the largest L_t - reference_bt counts instead of their mean."""

    region: Region
    targets: tuple[LossModel, ...]
    weights_t: Floats
    reference_bt: Floats
    protected: tuple[Protected, ...] = ()
    worst: bool = False
    prior_d: Floats | None = None
    kl: float = 0.0

    @property
    def smooth(self) -> bool:
        return all(m.smooth for m in self.targets) and all(g.model.smooth for g in self.protected)

    @property
    def count(self) -> int:
        return self.targets[0].count

    def objective(self, shares_md: Floats) -> Floats:
        """objective_bm in nats, KL included."""
        losses_tbm = np.stack([m.losses(shares_md) for m in self.targets])
        if self.worst:
            value_bm = (losses_tbm - self.reference_bt.T[:, :, None]).max(0)
        else:
            value_bm = np.einsum("t,tbm->bm", self.weights_t, losses_tbm)
        return np.asarray(value_bm + self._kl(shares_md))

    def excess(self, shares_md: Floats) -> Floats:
        """excess_bm: how far the worst protected loss is above its limit, in nats (-inf with none)."""
        if not self.protected:
            return np.full((self.count, len(shares_md)), -np.inf)
        return np.asarray(
            np.stack([g.model.losses(shares_md) - g.limit_b[:, None] for g in self.protected]).max(0)
        )

    def only(self, b: int) -> Problem:
        guarded = tuple(Protected(g.name, g.model.only(b), g.limit_b[[b]]) for g in self.protected)
        targets = tuple(m.only(b) for m in self.targets)
        return Problem(
            self.region,
            targets,
            self.weights_t,
            self.reference_bt[[b]],
            guarded,
            self.worst,
            self.prior_d,
            self.kl,
        )

    def _kl(self, shares_md: Floats) -> Floats:
        if not self.kl or self.prior_d is None:
            return np.zeros(len(shares_md))
        p_md = np.maximum(shares_md, _TINY)
        return np.asarray(self.kl * (p_md * np.log(p_md / np.maximum(self.prior_d, _TINY))).sum(1))

    def kl_slope(self, shares_d: Floats) -> Floats:
        if not self.kl or self.prior_d is None:
            return np.zeros(len(shares_d))
        p_d = np.maximum(shares_d, _TINY)
        return np.asarray(self.kl * (np.log(p_d / np.maximum(self.prior_d, _TINY)) + 1))


@dataclass(frozen=True)
class Optimum:
    """A mixture, its objective (nats), and its `excess` over the protected losses' limits (<= 0: within them)."""

    q_q: Floats
    shares_d: Floats
    value: float
    excess: float

    @property
    def feasible(self) -> bool:
        return self.excess <= FEASIBLE


FEASIBLE = 1e-6
"""Nats by which rounding may pass a limit."""


@dataclass(frozen=True)
class Search:
    """Sampled mixtures of a region with every replicate's objective and excess: starts, and a yardstick."""

    q_mq: Floats
    objective_bm: Floats
    excess_bm: Floats

    def best(self, b: int, count: int) -> NDArray[np.int64]:
        """The best mixtures of replicate b: feasible ones by objective, else by excess."""
        excess, value = self.excess_bm[b], self.objective_bm[b]
        allowed = np.flatnonzero(excess <= FEASIBLE)
        if len(allowed):
            return np.asarray(allowed[np.argsort(value[allowed], kind="stable")][:count])
        return np.argsort(excess, kind="stable")[:count]

    def scale(self, b: int) -> float:
        spread = float(np.ptp(self.objective_bm[b]))
        return spread if np.isfinite(spread) and spread > 1e-300 else 1.0


def search(problem: Problem, centres_md: Floats, rng: np.random.Generator, count: int = CANDIDATES) -> Search:
    """Sample the region around the centres, which are candidates themselves."""
    region = problem.region
    centres_q = region.parts_of(centres_md)
    q_mq = np.concatenate([centres_q, region.sample(centres_q, count, rng)])
    shares_md = region.shares(q_mq)
    objective, excess = problem.objective(shares_md), problem.excess(shares_md)
    return Search(
        q_mq, np.where(np.isfinite(objective), objective, np.inf), np.nan_to_num(excess, nan=np.inf)
    )


def optimise(problem: Problem, found: Search, b: int = 0, starts: list[Floats] | None = None) -> Optimum:
    """The best mixture of version b; where none is feasible, the one that passes its limits by least."""
    one = problem.only(b)
    top = found.q_mq[found.best(b, AVERAGED)]
    options = [top[0]]
    if not problem.smooth:
        options += [*(starts or []), top.mean(0)]
    else:
        scale = found.scale(b)
        begin = starts if starts is not None else list(top[:: max(1, len(top) // STARTS)][:STARTS])
        options += [_local(one, start, scale) for start in begin]
        best = _pick(one, options)
        if starts is not None and np.array_equal(best.q_q, top[0]):
            options.append(_local(one, top[0], scale))
        if not _pick(one, options).feasible:
            options += [_local(one, q, scale, relaxed=True) for q in (options[-1], top[0])]
    return _pick(one, options)


def replicate(
    problem: Problem,
    found: Search,
    fitted: Optimum,
    step: Callable[[], None] | None = None,
) -> list[Optimum]:
    """The decision recomputed in every bootstrap replicate, from the fit's answer; `step` is called after each."""
    out = []
    for b in range(1, problem.count):
        out.append(optimise(problem, found, b, [fitted.q_q]))
        if step is not None:
            step()
    return out


def least_excess(problem: Problem, found: Search) -> Optimum:
    """The mixture whose protected losses are lowest against their limits, whatever the targets say."""
    one = problem.only(0)
    order = np.argsort(found.excess_bm[0], kind="stable")[:STARTS]
    options = [found.q_mq[at] for at in order]
    if problem.smooth:
        options += [_local(one, q, found.scale(0), relaxed=True) for q in options]
    projected = problem.region.project(np.stack(options))
    shares = problem.region.shares(projected)
    excess = one.excess(shares)[0]
    at = int(np.nanargmin(excess))
    return Optimum(projected[at], shares[at], float(one.objective(shares)[0, at]), float(excess[at]))


def _pick(one: Problem, options: list[Floats]) -> Optimum:
    q_mq = one.region.project(np.stack(options))
    shares_md = one.region.shares(q_mq)
    value = np.nan_to_num(one.objective(shares_md)[0], nan=np.inf)
    excess = np.nan_to_num(one.excess(shares_md)[0], nan=np.inf)
    allowed = excess <= FEASIBLE
    at = int(np.where(allowed, value, np.inf).argmin()) if allowed.any() else int(excess.argmin())
    return Optimum(q_mq[at], shares_md[at], float(value[at]), float(excess[at]))


def _local(one: Problem, start_q: Floats, scale: float, relaxed: bool = False) -> Floats:
    """SLSQP from one start. The last variable is a bound t on a maximum: of target losses with `worst`, of the
    excesses when `relaxed`, which drops the objective."""
    region = one.region
    parts_qd = region.parts_qd
    width = len(region.names)
    bounded = one.worst or relaxed
    models = [*one.targets, *(g.model for g in one.protected)]
    n_targets = len(one.targets)
    limit_g = np.array([float(g.limit_b[0]) for g in one.protected])
    reference_t = one.reference_bt[0]
    memory: dict[bytes, tuple[Floats, Floats, Floats]] = {}

    def at(x: Floats) -> tuple[Floats, Floats, Floats]:
        key = x[:width].tobytes()
        if key not in memory:
            memory.clear()
            shares_d = np.maximum(x[:width] @ parts_qd, 0.0)
            value = np.array([m.losses(shares_d[None])[0, 0] for m in models])
            slope = np.stack([m.gradients(shares_d[None])[0, 0] for m in models])
            # Power laws have no finite slope at a share of 0.
            slope = np.clip(np.nan_to_num(slope), -1e6 * scale, 1e6 * scale)
            memory[key] = (shares_d, value, slope @ parts_qd.T)
        return memory[key]

    def objective(x: Floats) -> tuple[float, Floats]:
        gradient = np.zeros(len(x))
        if bounded:
            gradient[-1] = 1.0
        if relaxed:
            return float(x[-1]), gradient
        shares_d, value, slope = at(x)
        total = float(one._kl(shares_d[None])[0]) / scale
        gradient[:width] += parts_qd @ one.kl_slope(shares_d) / scale
        if one.worst:
            return total + float(x[-1]), gradient
        gradient[:width] += one.weights_t @ slope[:n_targets] / scale
        return total + float(one.weights_t @ value[:n_targets]) / scale, gradient

    def rooms(x: Floats) -> Floats:
        _, value, _ = at(x)
        guarded = (limit_g - value[n_targets:]) / scale
        if relaxed:
            return np.asarray(guarded + x[-1])
        if one.worst:
            guarded = np.concatenate([guarded, x[-1] - (value[:n_targets] - reference_t) / scale])
        return np.asarray(guarded)

    def room_slopes(x: Floats) -> Floats:
        _, _, slope = at(x)
        guarded = -slope[n_targets:] / scale
        if not relaxed and one.worst:
            guarded = np.concatenate([guarded, -slope[:n_targets] / scale])
        if bounded:
            last = np.zeros((len(guarded), 1))
            last[0 if relaxed else len(one.protected) :] = 1.0
            guarded = np.concatenate([guarded, last], 1)
        return np.asarray(guarded)

    x = region.project(start_q[None])[0]
    limits = list(zip(region.low_q.tolist(), region.high_q.tolist(), strict=True))
    ones = np.ones(width)
    if bounded:
        _, value, _ = at(x)
        first = (value[n_targets:] - limit_g) if relaxed else (value[:n_targets] - reference_t)
        x = np.append(x, first.max() / scale)
        limits.append((-np.inf, np.inf))
        ones = np.append(ones, 0.0)
    constraints: list[dict[str, Any]] = [
        {"type": "eq", "fun": lambda x: np.array([x[:width].sum() - 1]), "jac": lambda x: ones[None]}
    ]
    if one.protected or (bounded and not relaxed):
        constraints.append({"type": "ineq", "fun": rooms, "jac": room_slopes})
    with np.errstate(all="ignore"):
        result = minimize(
            objective,
            x,
            jac=True,
            method="SLSQP",
            bounds=limits,
            constraints=constraints,
            options={"maxiter": 100, "ftol": 1e-8},
        )
    end = np.asarray(result.x[:width], dtype=float)
    return end if np.isfinite(end).all() else x[:width]
