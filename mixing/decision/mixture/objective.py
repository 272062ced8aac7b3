"""What is minimised over mixtures: losses in replicates, constraints on losses, and the pull towards a prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mixing.arrays import Floats
from mixing.decision.mixture.bounds import Region

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

    def replicate(self, b: int) -> LossModel:
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
class LossConstraint:
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
    loss_constraints: tuple[LossConstraint, ...] = ()
    worst: bool = False
    prior_d: Floats | None = None
    kl: float = 0.0

    @property
    def smooth(self) -> bool:
        return all(m.smooth for m in self.targets) and all(g.model.smooth for g in self.loss_constraints)

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
        return np.asarray(value_bm + self.divergence(shares_md))

    def violation(self, shares_md: Floats) -> Floats:
        """violation_bm: how far the worst protected loss is above its limit, in nats (-inf with none)."""
        if not self.loss_constraints:
            return np.full((self.count, len(shares_md)), -np.inf)
        return np.asarray(
            np.stack([g.model.losses(shares_md) - g.limit_b[:, None] for g in self.loss_constraints]).max(0)
        )

    def replicate(self, b: int) -> Problem:
        constraints = tuple(
            LossConstraint(g.name, g.model.replicate(b), g.limit_b[[b]]) for g in self.loss_constraints
        )
        targets = tuple(m.replicate(b) for m in self.targets)
        return Problem(
            self.region,
            targets,
            self.weights_t,
            self.reference_bt[[b]],
            constraints,
            self.worst,
            self.prior_d,
            self.kl,
        )

    def divergence(self, shares_md: Floats) -> Floats:
        if not self.kl or self.prior_d is None:
            return np.zeros(len(shares_md))
        p_md = np.maximum(shares_md, _TINY)
        return np.asarray(self.kl * (p_md * np.log(p_md / np.maximum(self.prior_d, _TINY))).sum(1))

    def kl_slope(self, shares_d: Floats) -> Floats:
        if not self.kl or self.prior_d is None:
            return np.zeros(len(shares_d))
        p_d = np.maximum(shares_d, _TINY)
        return np.asarray(self.kl * (np.log(p_d / np.maximum(self.prior_d, _TINY)) + 1))
