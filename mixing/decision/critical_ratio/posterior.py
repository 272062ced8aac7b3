"""A loss over target share at one budget, with everything that few runs leave open about it.

Levels of r shares at one budget are known, each with the luck of its runs. Between and beyond them the loss follows

    y(R) = a + b * g(R) + u(R)

with g one of many forms (`mixing.decision.critical_ratio.forms`). u is what all of them miss: of unknown size, and
zero at best (Kennedy & O'Hagan 2001). Beside the forms with a smooth misfit (Matern 3/2) stands a straight line with a
rough one (Brownian motion, whose mean is the linear interpolation between levels). Nothing is chosen: form, scatter of
runs, kind and size of u are averaged over, each by how well it explains the levels. So an interval knows of the law's
own misfit, and few runs give wide tails by themselves.

Cells are the forms' columns; given a cell, scatter and size of the misfit, all else is linear and Gaussian.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixing.arrays import Floats, Ints
from mixing.decision.critical_ratio.forms import FORMS, LINE, Columns, columns_of

MISFIT_LENGTH = 0.12
"""Target shares this far apart have smooth misfits that know little of each other."""
SMOOTH_SIZES = np.array([0.0, 0.003, 0.01, 0.03, 0.1, 0.3])
SMOOTH_PRIOR = np.array([0.1, 0.15, 0.15, 0.2, 0.15, 0.07])
"""Sizes of the misfit as parts of the spread of the levels, and what is believed of them beforehand."""
ROUGH_SIZES = np.array([0.1, 0.3, 1.0, 3.0])
ROUGH_PRIOR = np.array([0.008, 0.012, 0.012, 0.012])
SCATTER_STEPS = np.geomspace(0.5, 16.0, 10)
"""Scatter of runs as multiples of what the checkpoints of one run suggest."""
SCATTER_CENTRE = 1.5
SCATTER_DOF = 3.0
"""Runs scatter about 1.5 times as much as the checkpoints of one, and 0.9 to 4 times in nine cases of ten.

Coverage on known-answer landscapes chose both (`python -m benchmarks.coverage`); with many runs they hardly matter.
"""
SCATTER_UNKNOWN = np.geomspace(1e-3, 0.3, 12)
"""Scatter as a part of the spread of the levels, all alike, where no run has checkpoints to suggest one."""
MOST_LEVELS = 48
"""More shares than this are brought together in so many groups of neighbours."""
DIP = 2.0
"""A loss that falls where it ought to rise is believed at this many standard deviations of the fall."""


@dataclass(frozen=True)
class Component:
    """c cells that share one kind of misfit with k sizes, for r levels and a grid of g shares.

    With weighted levels z, `rotate_cjr` gives the r - 2 contrasts that a and b cannot follow, whose variances are
    scatter^2 + misfit^2 * `reach_cj`. The curve is `straight_cgr` z + `bent_cgj` (shrunken contrasts).
    `features_rm` (weighted) and `features_gm` span the misfit.
    """

    rotate_cjr: Floats
    reach_cj: Floats
    straight_cgr: Floats
    bent_cgj: Floats
    log_prior_c: Floats
    features_rm: Floats
    features_gm: Floats
    sizes_k: Floats
    log_size_k: Floats


@dataclass(frozen=True)
class ShareBasis:
    """What the trained shares alone decide: run n is of level `level_n`, at share `share_r`."""

    grid_g: Floats
    run_share_n: Floats
    level_n: Ints
    share_r: Floats
    components: tuple[Component, ...]

    @property
    def weight_r(self) -> Floats:
        """Runs of each level."""
        return np.bincount(self.level_n).astype(float)


@dataclass(frozen=True)
class LossPosterior:
    """What is believed of one loss on a grid of shares: mean_g, draws_bg, and the scatter of one run in each draw,
    scatter_b (nats). `shared_bg` is the part of the draws that every run shares, so that no further run tells it: the
    luck of the held-out text. A single checkpoint lies off its run by `checkpoint_sd`."""

    grid_g: Floats
    mean_g: Floats
    draws_bg: Floats
    scatter_b: Floats
    shared_bg: Floats | None = None
    checkpoint_sd: float = 0.0

    def at(self, shares_n: Floats) -> tuple[Floats, Floats]:
        """mean_n and draws_bn between the shares of the grid; beyond its ends, the value there."""
        at_n = np.clip(np.searchsorted(self.grid_g, shares_n) - 1, 0, len(self.grid_g) - 2)
        low_n, high_n = self.grid_g[at_n], self.grid_g[at_n + 1]
        part_n = np.clip((shares_n - low_n) / (high_n - low_n), 0.0, 1.0)
        mean_n = self.mean_g[at_n] * (1 - part_n) + self.mean_g[at_n + 1] * part_n
        draws_bn = self.draws_bg[:, at_n] * (1 - part_n) + self.draws_bg[:, at_n + 1] * part_n
        return mean_n, draws_bn

    def of_new_run(self, share: float, rng: np.random.Generator) -> tuple[float, Floats]:
        """The loss that a new run's checkpoint is expected to show at a share, and draws_b of what it may show."""
        mean_n, draws_bn = self.at(np.array([share]))
        sd_b = np.hypot(self.scatter_b, self.checkpoint_sd)
        return float(mean_n[0]), np.asarray(draws_bn[:, 0] + sd_b * rng.standard_normal(len(sd_b)))

    def scatter(self) -> float:
        """The scatter of one run, nats (root mean square over what is believed)."""
        return float(np.sqrt((self.scatter_b**2).mean()))

    def plus(self, mean_g: Floats, draws_bg: Floats) -> LossPosterior:
        """The same with something added, known up to its own draws."""
        return replace(self, mean_g=self.mean_g + mean_g, draws_bg=self.draws_bg + draws_bg)

    def sharing(self, luck_bg: Floats) -> LossPosterior:
        """The same with luck that all runs share."""
        return replace(self, draws_bg=self.draws_bg + luck_bg, shared_bg=luck_bg)

    def taking(self, rows_b: Ints, mean_g: Floats) -> LossPosterior:
        """The same with these of its draws, and another mean."""
        shared_bg = None if self.shared_bg is None else self.shared_bg[rows_b]
        return replace(
            self,
            mean_g=mean_g,
            draws_bg=self.draws_bg[rows_b],
            scatter_b=self.scatter_b[rows_b],
            shared_bg=shared_bg,
        )

    def told_by_runs(self) -> LossPosterior:
        """The same without what no run tells."""
        return self if self.shared_bg is None else replace(self, draws_bg=self.draws_bg - self.shared_bg)

    def monotone(self, rising: bool) -> LossPosterior:
        """The same with every draw made to rise (or fall) over shares; but left of a dip that the draws agree on.

        A draw becomes the middle between the least rising curve above it and the largest below it.
        """
        sign = 1.0 if rising else -1.0
        lowest = int((sign * self.mean_g).argmin())
        start = lowest if _dips(sign * self.draws_bg, lowest) else 0
        mean_g = np.concatenate([self.mean_g[:start], sign * _rising(sign * self.mean_g[None, start:])[0]])
        draws_bg = np.concatenate(
            [self.draws_bg[:, :start], sign * _rising(sign * self.draws_bg[:, start:])], 1
        )
        return replace(self, mean_g=mean_g, draws_bg=draws_bg)


def _dips(draws_bg: Floats, lowest: int) -> bool:
    """Whether curves that ought to rise fall towards the grid's place `lowest`, by more than their draws vary."""
    if lowest == 0:
        return False
    fall_bg = draws_bg[:, :lowest] - draws_bg[:, lowest : lowest + 1]
    return bool((fall_bg.mean(0) > DIP * fall_bg.std(0)).any())


def _rising(curves_bg: Floats) -> Floats:
    upper_bg = np.maximum.accumulate(curves_bg, 1)
    lower_bg = np.minimum.accumulate(curves_bg[:, ::-1], 1)[:, ::-1]
    return np.asarray((upper_bg + lower_bg) / 2)


def share_basis(run_share_n: Floats, grid_g: Floats) -> ShareBasis:
    """Everything that follows from the target shares of n runs alone; runs of one share make one level."""
    share_r, level_n = _levels(run_share_n)
    root_r = np.sqrt(np.bincount(level_n))
    both = np.concatenate([share_r, grid_g])
    distance = np.sqrt(3) * np.abs(both[:, None] - both[None, :]) / MISFIT_LENGTH
    smooth, rough = (1 + distance) * np.exp(-distance), np.minimum(both[:, None], both[None, :])
    components = (
        _component(columns_of(FORMS, share_r, grid_g), smooth, root_r, SMOOTH_SIZES, SMOOTH_PRIOR),
        _component(columns_of(LINE, share_r, grid_g), rough, root_r, ROUGH_SIZES, ROUGH_PRIOR),
    )
    return ShareBasis(grid_g, run_share_n, level_n, share_r, components)


def _levels(run_share_n: Floats) -> tuple[Floats, Ints]:
    """The share of each level, and the level of each run."""
    share_r, level_n = np.unique(run_share_n.round(9), return_inverse=True)
    if len(share_r) <= MOST_LEVELS:
        return share_r, level_n
    ranks_n = np.argsort(np.argsort(run_share_n, kind="stable"), kind="stable")
    level_n = ranks_n * MOST_LEVELS // len(run_share_n)
    return np.bincount(level_n, run_share_n) / np.bincount(level_n), level_n


def _component(
    columns: Columns, kernel: Floats, root_r: Floats, sizes_k: Floats, prior_k: Floats
) -> Component:
    """`kernel` is that of the misfit over the trained, then the grid's shares; `root_r` the square roots of weights."""
    count, cells = len(root_r), len(columns.log_prior_c)
    values_m, vectors = np.linalg.eigh(kernel)
    kept_m = values_m > 1e-6 * values_m[-1]
    features = vectors[:, kept_m] * np.sqrt(values_m[kept_m])
    features_rm, features_gm = root_r[:, None] * features[:count], features[count:]
    misfit_rr, misfit_gr = features_rm @ features_rm.T, features_gm @ features_rm.T
    trained_cr2 = np.stack(
        [np.broadcast_to(root_r, (cells, count)), (root_r[:, None] * columns.trained_rc).T], 2
    )
    grid_cg2 = np.stack([np.ones_like(columns.grid_gc.T), columns.grid_gc.T], 2)
    rest_crj = np.linalg.qr(trained_cr2, mode="complete")[0][:, :, 2:]
    reach_cj, turn_cjj = np.linalg.eigh(rest_crj.transpose(0, 2, 1) @ misfit_rr @ rest_crj)
    turned_crj = rest_crj @ turn_cjj
    straight_cgr = grid_cg2 @ np.linalg.pinv(trained_cr2)
    return Component(
        turned_crj.transpose(0, 2, 1),
        np.maximum(reach_cj, 0.0),
        straight_cgr,
        (misfit_gr - straight_cgr @ misfit_rr) @ turned_crj,
        columns.log_prior_c,
        features_rm,
        features_gm,
        sizes_k,
        np.log(prior_k),
    )


@dataclass(frozen=True)
class _Weights:
    """Of one component: the log weight of each (cell, scatter, size) and how far contrasts are shrunk there."""

    log_csk: Floats
    shrink_cskj: Floats
    contrast_cj: Floats
    misfit_k: Floats


def loss_posterior(
    basis: ShareBasis, levels_n: Floats, suggested: float, count: int, rng: np.random.Generator
) -> LossPosterior:
    """The posterior of one loss from the levels of n runs, nats; `suggested` is the scatter within runs, 0 if unknown.

    The mean is exact, `count` draws are by Matheron's rule: a curve from the prior, corrected by what its own levels
    would have said.
    """
    levels_n = _at_centres(basis, levels_n)
    spread = max(float(np.ptp(levels_n)), 1e-12)
    scatter_s, log_scatter_s = _scatter(suggested, spread)
    weight_r = basis.weight_r
    mean_r = np.bincount(basis.level_n, levels_n) / weight_r
    z_r = np.sqrt(weight_r) * mean_r
    within = float(((levels_n - mean_r[basis.level_n]) ** 2).sum())
    spare = len(levels_n) - len(mean_r)
    log_scatter_s = log_scatter_s - 0.5 * (spare * np.log(scatter_s**2) + within / scatter_s**2)
    weights = [_weigh(part, z_r, spread, scatter_s, log_scatter_s) for part in basis.components]
    top = max(float(w.log_csk.max()) for w in weights)
    total = sum(float(np.exp(w.log_csk - top).sum()) for w in weights)
    mean_g, draws, scatters = np.zeros(len(basis.grid_g)), [], []
    chances = [np.exp(w.log_csk - top) / total for w in weights]
    parts = np.array([chance.sum() for chance in chances])
    counts = rng.multinomial(count, np.minimum(parts / parts.sum(), 1.0))
    for part, weight, chance_csk, drawn in zip(basis.components, weights, chances, counts, strict=True):
        mean_g += _mean(part, weight, chance_csk, z_r)
        draws_bg, scatter_b = _draw(part, weight, chance_csk, z_r, scatter_s, int(drawn), rng)
        draws.append(draws_bg)
        scatters.append(scatter_b)
    order_b = rng.permutation(count)
    return LossPosterior(
        basis.grid_g, mean_g, np.concatenate(draws)[order_b], np.concatenate(scatters)[order_b]
    )


def _at_centres(basis: ShareBasis, levels_n: Floats) -> Floats:
    """Levels of runs whose shares were brought together, moved to their group's share along a smooth curve."""
    centre_n = basis.share_r[basis.level_n]
    if np.allclose(centre_n, basis.run_share_n, atol=1e-8):
        return levels_n
    curve = np.polynomial.Polynomial.fit(basis.run_share_n, levels_n, 7)
    return np.asarray(levels_n + curve(centre_n) - curve(basis.run_share_n))


def _scatter(suggested: float, spread: float) -> tuple[Floats, Floats]:
    """The sizes of scatter that are averaged over, and the log prior of each."""
    if suggested <= 0:
        return spread * SCATTER_UNKNOWN, np.zeros(len(SCATTER_UNKNOWN))
    steps = SCATTER_STEPS / SCATTER_CENTRE
    centre = max(SCATTER_CENTRE * suggested, 1e-4 * spread)
    return centre * steps, -SCATTER_DOF * (np.log(steps) + 1 / (2 * steps**2))


def _weigh(part: Component, z_r: Floats, spread: float, scatter_s: Floats, log_scatter_s: Floats) -> _Weights:
    misfit_k = spread * part.sizes_k
    contrast_cj = part.rotate_cjr @ z_r
    bent_ckj = misfit_k[:, None] ** 2 * part.reach_cj[:, None, :]
    variance_cskj = scatter_s[None, :, None, None] ** 2 + bent_ckj[:, None]
    fit_csk = -0.5 * (np.log(variance_cskj) + contrast_cj[:, None, None, :] ** 2 / variance_cskj).sum(-1)
    log_csk = fit_csk + part.log_prior_c[:, None, None] + log_scatter_s[None, :, None] + part.log_size_k
    shrink_cskj = misfit_k[None, None, :, None] ** 2 / variance_cskj
    return _Weights(log_csk, shrink_cskj, contrast_cj, misfit_k)


def _mean(part: Component, weight: _Weights, chance_csk: Floats, z_r: Floats) -> Floats:
    bend_cj = (chance_csk[..., None] * weight.shrink_cskj).sum((1, 2)) * weight.contrast_cj
    straight_g = np.tensordot(chance_csk.sum((1, 2)), part.straight_cgr, 1) @ z_r
    return np.asarray(straight_g + np.einsum("cgj,cj->g", part.bent_cgj, bend_cj))


def _draw(
    part: Component,
    weight: _Weights,
    chance_csk: Floats,
    z_r: Floats,
    scatter_s: Floats,
    count: int,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """draws_bg of one component, and the scatter of runs in each."""
    drawn_b = rng.choice(chance_csk.size, size=count, p=chance_csk.ravel() / chance_csk.sum())
    cell_b, step_b, size_b = np.unravel_index(drawn_b, chance_csk.shape)
    prior_bm = weight.misfit_k[size_b][:, None] * rng.standard_normal((count, part.features_rm.shape[1]))
    noise_br = scatter_s[step_b][:, None] * rng.standard_normal((count, len(z_r)))
    left_br = z_r - (prior_bm @ part.features_rm.T + noise_br)
    draws_bg = prior_bm @ part.features_gm.T
    shrink_bj = weight.shrink_cskj[cell_b, step_b, size_b]
    for cell in np.unique(cell_b):
        here = cell_b == cell
        bend_bj = shrink_bj[here] * (left_br[here] @ part.rotate_cjr[cell].T)
        draws_bg[here] += left_br[here] @ part.straight_cgr[cell].T + bend_bj @ part.bent_cgj[cell].T
    return draws_bg, scatter_s[step_b]
