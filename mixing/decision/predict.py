"""`predict`: what a run of some mixture would reach, on every validation set, with an interval."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mixing.arguments import amount, number, numbers_by_name, whole
from mixing.decision.critical_ratio.curves import interval_of
from mixing.decision.critical_ratio.evidence import DRAWS, surface_generator
from mixing.decision.critical_ratio.loss_surface import fit_surface
from mixing.decision.critical_ratio.ratio_runs import in_order
from mixing.decision.mixture.loss_models import fit_losses
from mixing.decision.mixture.predictions import widened
from mixing.decision.mixture.problem import outside_hull
from mixing.decision.mixture.slices import slice_runs
from mixing.decision.question import REFUSE_BEYOND, Question
from mixing.decision.record import Interval, Prediction, Predictions
from mixing.decision.refusals import FAR_OUTSIDE
from mixing.errors import InputError, MixlawError
from mixing.laws.base import NotApplicable
from mixing.mixture import Mixture
from mixing.runs.budgets import usual_budget_of
from mixing.runs.increments import increments
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable

PREDICT_STREAM = 0x9D1C
"""Tells the random numbers of new runs from those of other uses of a seed."""


def predict(
    runs: object,
    shares: Mapping[str, float],
    *,
    tokens: float | str | None = None,
    params: float | str | None = None,
    level: float = 0.9,
    seed: int = 0,
) -> dict[str, Prediction]:
    """The losses of a run of one mixture, on every validation set, with the interval of a run to be trained there.

    With two sources over a base model each loss is read off the posterior that a critical ratio rests on: an average
    over published forms in the target share. Otherwise it is that of the law which predicts left-out mixtures best,
    with the replicates that a best mixture rests on. Both intervals include the scatter of one run.

    Args:
        runs: a runs table, or anything that `read_runs` reads.
        shares: token shares by domain; they sum to 1, a domain left out has share 0.
        tokens: training tokens of the run (default: the largest budget that almost all runs reached).
        params: its model size, non-embedding parameters (default: the largest of the table with at
            least half as many mixtures as any).
        level: confidence level of the intervals.
        seed: of all random numbers; the same seed gives the same answer.

    Returns:
        A Prediction (nats per token) by validation set. Its increment is over the base model; NaN where the table
        has no base rows for the set.

    Raises:
        InputError: for shares off the simplex, an unknown domain, a size of which the runs say nothing.
        MixlawError: where no law fits these runs, or is not followed as far as the mixture or the budget.

    Example:
        >>> from mixing.test_problems import LANDSCAPES
        >>> runs = LANDSCAPES[0].study([0.2, 0.4, 0.6, 0.8], [250_000, 500_000, 1_000_000])
        >>> sorted(predict(runs, {"general": 0.3, "target": 0.7}))
        ['general', 'target']
    """
    table = in_order(read_runs(runs))
    mixture = Mixture.of(numbers_by_name(shares, "shares"), "shares")
    size = None if params is None else amount(params, "params")
    table.check_has_sizes(size)
    unknown = [domain for domain in mixture.domains if domain not in table.domains]
    if unknown:
        raise InputError(
            f"shares {unknown[0]}: no such domain", f"The table's domains: {', '.join(table.domains)}"
        )
    if not 0 < number(level, "level") < 1:
        raise InputError(f"level {level} is not between 0 and 1", "Give 0.9 for 90%")
    budget = amount(tokens, "tokens") if tokens is not None else _usual_budget(table)
    if budget <= 0:
        raise InputError(f"tokens {budget} is not a token budget", "Give the run's tokens, e.g. 20000000000")
    try:
        if len(table.domains) == 2 and table.base.height:
            return _at_ratio(table, mixture, budget, size, level, whole(seed, "seed"))
        return _at_mixture(table, mixture, budget, size, level, whole(seed, "seed"))
    except NotApplicable as error:
        raise MixlawError(
            f"no law fits these runs: {error}", "Train more mixtures, or more checkpoints of each"
        ) from error


def _at_ratio(
    table: RunTable, mixture: Mixture, tokens: int, params: int | None, level: float, seed: int
) -> dict[str, Prediction]:
    """Two sources: each loss over the share of the second, at one budget."""
    second = table.domains[1]
    ratio = mixture.share(second)
    predictions = Predictions()
    for place, name in enumerate(table.evals):
        # The target loss of increments is the one that is predicted here; no other is needed.
        data = increments(table, {name: 1.0}, {name: 1.0}, (second,), params)
        points = data.points
        _check_reach(tokens, points.usual_budget if len(points) else float(tokens))
        surface = fit_surface(
            points,
            data.general_n,
            tokens,
            surface_generator(seed),
            sampling_n=data.general_sampling_n,
            sample_n=data.sample_n,
        )
        curve = surface.curve(tokens, DRAWS, [seed, place, tokens])
        increment, draws_b = curve.of_new_run(ratio, np.random.default_rng([seed, place, PREDICT_STREAM]))
        low, high = interval_of(draws_b, level)
        base = data.base["general"]
        interval: Interval = (base + min(low, increment), base + max(high, increment))
        predictions[name] = Prediction(base + increment, interval, increment)
    return predictions


def _at_mixture(
    table: RunTable, mixture: Mixture, tokens: int, params: int | None, level: float, seed: int
) -> dict[str, Prediction]:
    """Many sources: the law of each loss, and its replicates."""
    losses = {name: {name: 1.0} for name in table.evals}
    data = slice_runs(table, Question({}, {}, (), 0.0, tokens, params, level), losses)
    _check_reach(tokens, data.reached if data.reached > 1 else float(tokens))
    shares_d = np.array([mixture.share(domain) for domain in table.domains])
    outside = outside_hull(shares_d, data.mixtures_kd)
    if outside > FAR_OUTSIDE:
        raise MixlawError(
            f"{outside:.0%} of the mixture lies outside all mixtures of trained ones: laws say nothing there",
            "Train runs nearer to it first",
        )
    rng = np.random.default_rng([seed, PREDICT_STREAM])
    fits = fit_losses(data, "auto", rng)
    predictions = Predictions()
    for name, model in fits.models.items():
        values_b = model.losses(shares_d[None])[:, 0]
        value = float(values_b[0])
        interval = widened(
            values_b[1:] + fits.noise[name] * rng.standard_normal(len(values_b) - 1), value, level
        )
        predictions[name] = Prediction(value, interval, value - data.base.get(name, float("nan")))
    return predictions


def _usual_budget(table: RunTable) -> int:
    return usual_budget_of(table.trained) if table.trained.height else 0


def _check_reach(tokens: int, trained: float) -> None:
    if tokens > REFUSE_BEYOND * trained:
        raise MixlawError(
            f"{tokens:,} tokens are {tokens / trained:.1f} times the largest trained budget that almost all runs "
            "reached: no law is followed there",
            f"Train proxies for at least {int(np.ceil(tokens / REFUSE_BEYOND)):,} tokens",
        )
