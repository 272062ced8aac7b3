"""A law's surface over target share and tokens, and the levels of runs at one budget that it smooths.

The surface says how a loss moves over tokens. How it depends on the share at one budget is told by the levels, with
everything that the surface leaves open (`mixing.decision.critical_ratio.posterior`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixing.arrays import Floats, Ints
from mixing.decision.critical_ratio.feasibility import GRID
from mixing.decision.critical_ratio.levels import EndRuns, Levels, levels_at
from mixing.decision.critical_ratio.merged_runs import merged_runs
from mixing.decision.critical_ratio.other_samples import OtherSample, other_samples, weighed
from mixing.decision.critical_ratio.posterior import LossPosterior, ShareBasis, loss_posterior, share_basis
from mixing.decision.critical_ratio.run_noise import Noise, estimate
from mixing.fitting.engine import Solution, fit, refit, solve
from mixing.laws import CMR, CMR_MONOTONE, RATIO
from mixing.laws.base import NotApplicable
from mixing.laws.cmr import CMR_STEADY, Cmr
from mixing.runs.points import Points

REPLICATES = 400
MIN_RATIOS = 3
"""A ratio law has three parameters."""
MAX_FOLDS = 5
NO_ENDS = EndRuns(np.zeros(0))


@dataclass(frozen=True)
class Surface:
    """A fitted law of one loss with its points and losses (nats), and its noise.

    `smooth` follows the checkpoints as they lie, for levels at trained budgets. `fit` and its `replicates` (refits
    to noise drawn by run) tell slopes and what comes after the last checkpoint, with exponents of tokens that are
    held near the usual ones. `drift` is how far, per unit of log tokens, a law of this form went astray past the first
    part of the budgets. `rising` says whether the loss is expected to rise with the target share (the general loss) or
    to fall (the target's); None if nobody knows. `sampling_n` are the standard errors of the rows over the held-out
    text that all of them share. `ends` are runs at target share 0 or 1, which only the levels see; `others` runs that
    were measured on other held-out text, by which the draws are weighed.
    """

    law: Cmr
    points: Points
    losses_n: Floats
    smooth: Solution
    fit: Solution
    noise: Noise
    replicates: Solution
    drift: float
    basis: ShareBasis
    rising: bool | None = True
    sampling_n: Floats | None = None
    ends: EndRuns = NO_ENDS
    others: tuple[OtherSample, ...] = ()

    def levels(self, tokens: float) -> Levels:
        """Each run's loss at a budget."""
        return levels_at(self.points, self.losses_n, self.smooth, tokens)

    @property
    def knows_sampling(self) -> bool:
        """Whether the error of the held-out sample is known."""
        return self.sampling_n is not None

    def _sampling(self, tokens: float) -> Floats:
        """The standard error over the held-out text at each share of the grid, at the checkpoints nearest a budget."""
        assert self.sampling_n is not None
        distance_n = np.abs(np.log(self.points.tokens_n / tokens))
        near_n = distance_n <= distance_n.min() + 0.01
        share_r, at_n = np.unique(self.points.target_n[near_n], return_inverse=True)
        error_r = np.bincount(at_n, self.sampling_n[near_n]) / np.bincount(at_n)
        return np.asarray(np.interp(GRID, share_r, error_r))

    def curve(self, tokens: float, count: int, seed: list[int]) -> LossPosterior:
        """What is believed of the loss over target share at a budget; past the trained ones, as the surface moves."""
        last = self.points.usual_budget
        rng = np.random.default_rng(seed)
        levels = self.levels(min(tokens, last))
        within = levels.within if self.law.token_powers else 0.0
        levels_r = np.concatenate([levels.levels_r, self.ends.levels(min(tokens, last))])
        posterior = loss_posterior(self.basis, levels_r, within, count, rng)
        posterior = replace(posterior, checkpoint_sd=within)
        posterior = posterior.plus(np.zeros(len(GRID)), levels.common_error(GRID, count, rng))
        if self.sampling_n is not None:
            luck_b = rng.standard_normal(count)
            posterior = posterior.sharing(luck_b[:, None] * self._sampling(min(tokens, last)))
        if self.rising is not None:
            posterior = posterior.monotone(self.rising)
        posterior = weighed(posterior, self.others, min(tokens, last), rng)
        if tokens <= last * 1.001 or not self.law.token_powers:
            return posterior
        now, then = (self.points.at(GRID, np.full(len(GRID), t)) for t in (last, float(tokens)))
        take = np.arange(count) % len(self.replicates.theta_bq)
        moved_bg = (self.replicates.predict(then) - self.replicates.predict(now))[take]
        shares_n = self.points.target_n
        tilt_g = (GRID - shares_n.mean()) / max(float(shares_n.std()), 1e-3)
        astray_b2 = self.drift * np.log(tokens / last) * rng.standard_normal((count, 2))
        astray_bg = astray_b2[:, :1] + astray_b2[:, 1:] * np.clip(tilt_g, -2, 2)
        return posterior.plus((self.fit.predict(then) - self.fit.predict(now))[0], moved_bg + astray_bg)


def select_forms(points: Points, losses_vn: Floats) -> list[tuple[Solution, Cmr]]:
    """For each of v losses at the same points, the form and its fit.

    Two powers of tokens, unless one power is better on left-out mixtures by more than a standard error: with one
    power the general loss cannot turn, and the second test would be silent. Raises NotApplicable.
    """
    fits_by_law: dict[str, list[Solution]] = {}
    for candidate in (CMR_MONOTONE, CMR):
        try:
            fits_by_law[candidate.name] = fit(candidate, points, losses_vn)
        except NotApplicable:
            continue
    if not fits_by_law:
        raise NotApplicable("too few checkpoints per run to follow the loss over tokens")
    if len(fits_by_law) == 1:
        ((name, fits),) = fits_by_law.items()
        law = CMR if name == CMR.name else CMR_MONOTONE
        return [(one, law) for one in fits]
    errors = {name: _left_out(points, losses_vn, fits) for name, fits in fits_by_law.items()}
    simple_vm, full_vm = errors[CMR_MONOTONE.name], errors[CMR.name]
    if simple_vm is None or full_vm is None:
        return [(one, CMR) for one in fits_by_law[CMR.name]]
    error_v = simple_vm.std(1, ddof=1) / np.sqrt(simple_vm.shape[1])
    simpler_v = simple_vm.mean(1) + error_v < full_vm.mean(1)
    return [
        (one, CMR_MONOTONE) if simpler else (two, CMR)
        for one, two, simpler in zip(
            fits_by_law[CMR_MONOTONE.name], fits_by_law[CMR.name], simpler_v, strict=True
        )
    ]


def _left_out(points: Points, losses_vn: Floats, fits: list[Solution]) -> Floats | None:
    """Mean absolute error of each left-out group of interior mixtures, error_vm: all folds of all losses at once."""
    shares = np.unique(points.target_n.round(9))
    if len(shares) <= MIN_RATIOS:
        return None
    inner = shares[1:-1]
    groups = [inner[k :: min(MAX_FOLDS, len(inner))] for k in range(min(MAX_FOLDS, len(inner)))]
    masks_mn = np.stack([np.isin(points.target_n.round(9), group) for group in groups])
    count, folds = len(losses_vn), len(masks_mn)
    solved = solve(
        fits[0].law,
        points,
        np.repeat(losses_vn, folds, axis=0),
        np.tile(1.0 - masks_mn, (count, 1)),
        np.repeat(np.concatenate([f.theta_bq for f in fits]), folds, axis=0),
        15,
        scatter_b=np.repeat(np.concatenate([f.scatter_b for f in fits]), folds),
    )
    error_bn = np.abs(solved.predict(points) - np.repeat(losses_vn, folds, axis=0))
    mask_bn = np.tile(masks_mn, (count, 1))
    return np.asarray(((error_bn * mask_bn).sum(1) / mask_bn.sum(1)).reshape(count, folds))


def levels_only(
    points: Points,
    losses_n: Floats,
    smooth: Solution,
    basis: ShareBasis | None = None,
    rising: bool | None = True,
) -> Surface:
    """A surface that answers at trained budgets: without replicates or what comes later."""
    law = smooth.law
    assert isinstance(law, Cmr)
    residual_n = losses_n - smooth.predict(points)[0]
    noise = estimate(residual_n, points.run_n, points.tokens_n, MIN_RATIOS, law.token_powers)
    return Surface(
        law, points, losses_n, smooth, smooth, noise, smooth, 0.0, basis or run_basis(points), rising
    )


def run_basis(points: Points, ends: EndRuns | None = None) -> ShareBasis:
    """The part of the curve's posterior that only the runs' target shares decide."""
    _, first_r = np.unique(points.run_n, return_index=True)
    share_r = points.target_n[first_r]
    return share_basis(share_r if ends is None else np.concatenate([share_r, ends.share_r]), GRID)


def _at_budget(points: Points, tokens: float) -> NDArray[np.bool_]:
    """The rows at the budget asked about, for a law that knows one budget only; raises NotApplicable."""
    at_budget = np.abs(points.tokens_n / tokens - 1) <= 0.01
    if not at_budget.any():
        raise NotApplicable(
            "too few checkpoints per run to follow the loss to a budget that is none of theirs"
        )
    return np.asarray(at_budget)


def fit_surface(
    points: Points,
    losses_n: Floats,
    tokens: float,
    rng: np.random.Generator,
    *,
    rising: bool | None = None,
    sampling_n: Floats | None = None,
    sample_n: Ints | None = None,
) -> Surface:
    """Choose the form for one loss, fit it and replicate it; the ratio law where checkpoints are too few.

    Runs at target share 0 or 1, and those of other held-out samples (rows of sample_n that are not of the largest one),
    are no part of the fit, but of what is believed of the loss over shares.
    """
    inside = points.interior()
    if not inside.any():
        raise NotApplicable("no run has a target share strictly between 0 and 1")
    others: tuple[OtherSample, ...] = ()
    if sample_n is not None:
        apart = sample_n != np.bincount(sample_n[inside]).argmax()
        errors_n = None if sampling_n is None else sampling_n[apart]
        last = float(points.tokens_n[inside & ~apart].max())
        others = other_samples(points.take(apart), losses_n[apart], errors_n, sample_n[apart], last)
        points, losses_n, inside = points.take(~apart), losses_n[~apart], inside[~apart]
        sampling_n = None if sampling_n is None else sampling_n[~apart]
    ends = EndRuns.of(points, losses_n, float(points.tokens_n[inside].max()))
    points, losses_n = points.take(inside), losses_n[inside]
    sampling_n = None if sampling_n is None else sampling_n[inside]
    few = merged_runs(points)
    try:
        ((smooth, law),) = select_forms(few.points, few.mean(losses_n)[None, :])
    except NotApplicable:
        at_budget = _at_budget(points, tokens)
        points, losses_n = points.take(at_budget), losses_n[at_budget]
        sampling_n = None if sampling_n is None else sampling_n[at_budget]
        few = merged_runs(points)
        smooth, law = fit(RATIO, few.points, few.mean(losses_n)[None, :])[0], RATIO
    few_m = few.mean(losses_n)
    later = CMR_STEADY if law is CMR else law
    solution = smooth if later is law else fit(later, few.points, few_m[None, :])[0]
    if law is CMR and _turns_up(solution, few.points, tokens):
        later, solution = CMR_MONOTONE, fit(CMR_MONOTONE, few.points, few_m[None, :])[0]
    plain = replace(levels_only(points, losses_n, smooth, run_basis(points, ends), rising), ends=ends)
    draws_bm = few.noise(plain.noise).draw(few.points.run_n, few.points.tokens_n, REPLICATES, rng)
    replicates = refit(solution, few.points, solution.predict(few.points)[0] + draws_bm)
    beyond = tokens > 1.001 * points.usual_budget and law.token_powers
    drift = _drift(few.points, few_m, later) if beyond else 0.0
    return replace(
        plain, fit=solution, replicates=replicates, drift=drift, sampling_n=sampling_n, others=others
    )


def _turns_up(solution: Solution, points: Points, tokens: float) -> bool:
    """Whether a fit carries a loss that still falls at the last checkpoint to a rise before the asked budget."""
    last = points.usual_budget
    if tokens <= 1.001 * last:
        return False
    shares_g = np.unique(points.target_n.round(9))
    before, now, then = (
        solution.predict(points.at(shares_g, np.full(len(shares_g), t)))[0]
        for t in (0.8 * last, last, tokens)
    )
    return bool(((now < before) & (then > now)).any())


def _drift(points: Points, losses_n: Floats, law: Cmr) -> float:
    """Nats per unit of log tokens by which a fit on the first budgets missed the last one, over runs."""
    ends = np.unique(points.tokens_n)
    if len(ends) < 5:
        return 0.0
    cut = ends[max(int(0.6 * len(ends)), 4) - 1]
    early_rows = points.tokens_n <= cut
    last = points.tokens_n == ends[-1]
    try:
        early = fit(law, points.take(early_rows), losses_n[None, early_rows])[0]
    except NotApplicable:
        return 0.0
    miss_n = early.predict(points.take(last))[0] - losses_n[last]
    return float(np.sqrt((miss_n**2).mean()) / np.log(ends[-1] / cut))
