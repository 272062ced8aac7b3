"""A loss over target share at one budget, with everything that few runs leave open about it.

Levels of r runs at one budget are known, each with the run's luck. Between and beyond them the loss follows

    y(R) = a + b * (x(R)^s - 1)/s + u(R),     x(R) = R, 1 - R or e^R

where x says whose share the loss answers to: the published ratio law (Gu et al. 2024) uses the target share, D-CPT
(Que et al. 2024) a loss's own share, which for the general loss is 1 - R, and data-mixing laws (Ye et al. 2025) an
exponential. u is what all of these miss: smooth, of unknown size, and zero at best. Nothing is chosen: form,
exponent, scatter of runs and size of u are averaged over, each by how well it explains the levels (Kennedy &
O'Hagan 2001 for u). So an interval knows of the law's own misfit, and few runs give wide tails by themselves.

Cells are the pairs (form, exponent); given one of them, all else is linear and Gaussian.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixing.arrays import Floats, Ints
from mixing.laws.power import power

EXPONENTS = {
    "target": np.linspace(-1.0, 8.0, 37),
    "replay": np.linspace(-1.5, 3.0, 25),
    "exponential": np.linspace(-4.0, 8.0, 33) + 1e-3,
}
"""Exponents of each form that are averaged over, all alike a priori; with 20 runs coarser steps cost coverage."""
MISFIT_LENGTH = 0.2
"""Target shares this far apart have misfits that know little of each other."""
MISFIT_SIZES = np.array([0.0, 0.003, 0.01, 0.03, 0.1])
"""Sizes of the misfit as parts of the spread of the levels."""
MISFIT_PRIOR = np.array([0.1, 0.2, 0.2, 0.3, 0.2])
SCATTER_STEPS = np.geomspace(0.5, 16.0, 10)
"""Scatter of runs as multiples of what the checkpoints of one run suggest."""
SCATTER_CENTRE = 1.5
SCATTER_DOF = 3.0
"""Runs scatter about 1.5 times as much as the checkpoints of one, and 0.9 to 4 times in nine cases of ten.

Coverage on known-answer landscapes chose both (`python -m benchmarks.coverage`); with many runs they hardly matter.
"""
SCATTER_UNKNOWN = np.geomspace(1e-3, 0.3, 12)
"""Scatter as a part of the spread of the levels, all alike, where no run has checkpoints to suggest one."""
FEATURES = 14


@dataclass(frozen=True)
class ShareBasis:
    """What does not depend on losses: for c cells, r levels and a grid of g shares.

    With levels y, `rotate_cjr` gives the r - 2 contrasts that a and b cannot follow, whose variances are
    scatter^2 + misfit^2 * `reach_cj`. The curve is `straight_cgr` y + `bent_cgj` (shrunken contrasts).
    `features_rm` and `features_gm` span the misfit.
    """

    grid_g: Floats
    form_c: Ints
    log_prior_c: Floats
    rotate_cjr: Floats
    reach_cj: Floats
    straight_cgr: Floats
    bent_cgj: Floats
    features_rm: Floats
    features_gm: Floats


@dataclass(frozen=True)
class LossPosterior:
    """What is believed of one loss on a grid of shares: mean_g, draws_bg, and the scatter of one run in each draw,
    scatter_b (nats). `form_f` is the weight of each form of EXPONENTS."""

    grid_g: Floats
    mean_g: Floats
    draws_bg: Floats
    scatter_b: Floats
    form_f: Floats

    def at(self, shares_n: Floats) -> tuple[Floats, Floats]:
        """mean_n and draws_bn between the shares of the grid; beyond its ends, the value there."""
        at_n = np.clip(np.searchsorted(self.grid_g, shares_n) - 1, 0, len(self.grid_g) - 2)
        low_n, high_n = self.grid_g[at_n], self.grid_g[at_n + 1]
        part_n = np.clip((shares_n - low_n) / (high_n - low_n), 0.0, 1.0)
        mean_n = self.mean_g[at_n] * (1 - part_n) + self.mean_g[at_n + 1] * part_n
        draws_bn = self.draws_bg[:, at_n] * (1 - part_n) + self.draws_bg[:, at_n + 1] * part_n
        return mean_n, draws_bn

    def scatter(self) -> float:
        """The scatter of one run, nats (root mean square over what is believed)."""
        return float(np.sqrt((self.scatter_b**2).mean()))

    def plus(self, mean_g: Floats, draws_bg: Floats) -> LossPosterior:
        """The same with something added, known up to its own draws."""
        return replace(self, mean_g=self.mean_g + mean_g, draws_bg=self.draws_bg + draws_bg)


def _source(form: str, shares_n: Floats) -> Floats:
    """What the power is taken of."""
    return {"target": shares_n, "replay": 1 - shares_n, "exponential": np.exp(shares_n)}[form]


def share_basis(ratios_r: Floats, grid_g: Floats) -> ShareBasis:
    """Everything that follows from the trained target shares alone; they lie strictly between 0 and 1."""
    # Features of a squared-exponential misfit: the leading parts of its kernel on knots.
    knots_k = np.linspace(0, 1, 41)
    kernel = np.exp(-0.5 * ((knots_k[:, None] - knots_k[None, :]) / MISFIT_LENGTH) ** 2)
    values_m, vectors_km = np.linalg.eigh(kernel)
    root_km = vectors_km[:, -FEATURES:] / np.sqrt(values_m[-FEATURES:])

    def features(at_n: Floats) -> Floats:
        near_nk = np.exp(-0.5 * ((at_n[:, None] - knots_k[None, :]) / MISFIT_LENGTH) ** 2)
        return np.asarray(near_nk @ root_km)

    features_rm, features_gm = features(ratios_r), features(grid_g)
    misfit_rr, misfit_gr = features_rm @ features_rm.T, features_gm @ features_rm.T
    forms, priors, rotates, reaches, straights, bents = [], [], [], [], [], []
    for number, (name, exponents) in enumerate(EXPONENTS.items()):
        for s in exponents:
            column_r = power(_source(name, ratios_r), np.array(s))
            middle, spread = column_r.mean(), column_r.std()
            columns_r2 = np.stack([np.ones_like(column_r), (column_r - middle) / spread], 1)
            column_g = (power(_source(name, grid_g), np.array(s)) - middle) / spread
            columns_g2 = np.stack([np.ones_like(grid_g), column_g], 1)
            whole_rr = np.linalg.qr(columns_r2, mode="complete")[0]
            rest_rj = whole_rr[:, 2:]
            reach_j, turn_jj = np.linalg.eigh(rest_rj.T @ misfit_rr @ rest_rj)
            turned_rj = rest_rj @ turn_jj
            hat_gr = columns_g2 @ np.linalg.pinv(columns_r2)
            forms.append(number)
            priors.append(-np.log(len(EXPONENTS) * len(exponents)))
            rotates.append(turned_rj.T)
            reaches.append(np.maximum(reach_j, 0))
            straights.append(hat_gr)
            bents.append((misfit_gr - hat_gr @ misfit_rr) @ turned_rj)
    return ShareBasis(
        grid_g,
        np.array(forms),
        np.array(priors),
        np.stack(rotates),
        np.stack(reaches),
        np.stack(straights),
        np.stack(bents),
        features_rm,
        features_gm,
    )


def loss_posterior(
    basis: ShareBasis, levels_r: Floats, suggested: float, count: int, rng: np.random.Generator
) -> LossPosterior:
    """The posterior of one loss from its levels, in nats; `suggested` is the scatter within runs, 0 if unknown.

    The mean is exact, `count` draws are by Matheron's rule: a curve from the prior, corrected by what its own levels
    would have said.
    """
    spread = max(float(np.ptp(levels_r)), 1e-12)
    if suggested > 0:
        scatter_s = max(SCATTER_CENTRE * suggested, 1e-4 * spread) * SCATTER_STEPS / SCATTER_CENTRE
        steps = SCATTER_STEPS / SCATTER_CENTRE
        log_step_s = -SCATTER_DOF * (np.log(steps) + 1 / (2 * steps**2))
    else:
        scatter_s = spread * SCATTER_UNKNOWN
        log_step_s = np.zeros(len(SCATTER_UNKNOWN))
    misfit_k = spread * MISFIT_SIZES
    contrast_cj = basis.rotate_cjr @ levels_r
    bent_ckj = misfit_k[:, None] ** 2 * basis.reach_cj[:, None, :]
    variance_cskj = scatter_s[None, :, None, None] ** 2 + bent_ckj[:, None]
    fit_csk = -0.5 * (np.log(variance_cskj) + contrast_cj[:, None, None, :] ** 2 / variance_cskj).sum(-1)
    log_csk = fit_csk + basis.log_prior_c[:, None, None] + log_step_s[None, :, None] + np.log(MISFIT_PRIOR)
    weight_csk = np.exp(log_csk - log_csk.max())
    weight_csk /= weight_csk.sum()
    shrink_cskj = misfit_k[None, None, :, None] ** 2 / variance_cskj
    bend_cj = (weight_csk[..., None] * shrink_cskj).sum((1, 2)) * contrast_cj
    weight_c = weight_csk.sum((1, 2))
    mean_g = np.tensordot(weight_c, basis.straight_cgr, 1) @ levels_r
    mean_g = mean_g + np.einsum("cgj,cj->g", basis.bent_cgj, bend_cj)

    drawn_b = rng.choice(weight_csk.size, size=count, p=weight_csk.ravel())
    cell_b, step_b, size_b = np.unravel_index(drawn_b, weight_csk.shape)
    prior_bm = misfit_k[size_b][:, None] * rng.standard_normal((count, basis.features_rm.shape[1]))
    noise_br = scatter_s[step_b][:, None] * rng.standard_normal((count, len(levels_r)))
    left_br = levels_r - (prior_bm @ basis.features_rm.T + noise_br)
    draws_bg = prior_bm @ basis.features_gm.T
    shrink_bj = shrink_cskj[cell_b, step_b, size_b]
    for cell in np.unique(cell_b):
        here = cell_b == cell
        bend_bj = shrink_bj[here] * (left_br[here] @ basis.rotate_cjr[cell].T)
        draws_bg[here] += left_br[here] @ basis.straight_cgr[cell].T + bend_bj @ basis.bent_cgj[cell].T
    forms = np.bincount(basis.form_c, weight_c, len(EXPONENTS)).astype(float)
    return LossPosterior(basis.grid_g, mean_g, draws_bg, scatter_s[step_b], forms)
