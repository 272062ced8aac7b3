"""The critical mixture ratio with an interval (Gu et al. 2024, laws.md 1.1): two tests, and which one binds.

With two sources, or several of fixed proportions within each role, one number is decided: the target share R.
(tolerance)     the general loss at the asked budget is within the tolerance of the base model's
(turning point) F = dL_target + LAMBDA * dL_general falls at that budget: the general loss has turned down
The critical ratio is the largest R that passes both. The whole chain is recomputed in every replicate of a bootstrap
over runs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mixing.critical import CriticalRatios, critical_ratios, critical_times
from mixing.crossval import cross_validate
from mixing.decision import Baseline, Binding, CurvePoint, Decision, Interval, Prediction, Question, Test
from mixing.errors import InputError
from mixing.fit import Solution, fit, refit
from mixing.laws import CMR, CMR_MONOTONE, RATIO
from mixing.laws.base import Floats, NotApplicable, Points
from mixing.laws.cmr import Cmr
from mixing.noise import Noise, estimate
from mixing.question import Increments, increments
from mixing.runs import RunTable

REPLICATES = 400
LAMBDA = 1000.0
"""Weight of the general loss in F; published range 100 to 7000."""
REFUSE_BEYOND, WARN_BEYOND = 4.0, 2.0
"""How far past the largest trained budget a law is followed at all, and without a warning."""
WIDE = 0.05
"""An interval wider than +- this deserves a warning, and more runs."""
MIN_RATIOS = 3
"""A ratio law has three parameters."""


@dataclass(frozen=True)
class Replicated:
    """A fitted law of one loss, its bootstrap replicates, and the noise that made them."""

    law: Cmr
    fit: Solution
    replicates: Solution
    noise: Noise


def decide(
    table: RunTable,
    question: Question,
    *,
    max_shares: dict[str, float] | None = None,
    natural_shares: dict[str, float] | None = None,
    seed: int = 0,
) -> Decision:
    """The largest target share that the question allows, or "not yet" with the runs to add.

    `max_shares` caps domains by what repetition allows (max epochs * tokens / budget); `natural_shares` adds the
    corpora's own proportions to the baselines. Raises InputError for a table without base rows, without the named
    validation sets, or whose shares within a role vary between runs.
    """
    data = increments(table, question)
    within = _composition(table, data, question)
    inside = data.points.interior()
    points = data.points.take(inside)
    trained = sorted({round(float(r), 9) for r in points.target_n})
    warnings = [*table.warnings, *data.warnings]
    if not inside.all():
        warnings.append("runs at target share 0 or 1 are outside the ratio law and were left out of its fit")

    def not_yet(reason: str, ratios: list[float]) -> Decision:
        runs = [_mix(within, question, ratio) for ratio in ratios]
        n_runs = len(np.unique(points.run_n))
        return Decision(
            question,
            "not_yet",
            {},
            None,
            None,
            "none",
            "none",
            n_runs,
            {},
            [],
            next_runs=runs,
            warnings=[*warnings, reason],
        )

    if len(trained) < MIN_RATIOS:
        return not_yet(
            f"not yet: the ratio law has three parameters and {len(trained)} target share(s) strictly between 0 and 1 "
            "were trained; train the mixtures of next_runs",
            _spread(trained),
        )
    reach = question.tokens / float(points.tokens_n.max())
    if reach > REFUSE_BEYOND:
        return not_yet(
            f"not yet: {question.tokens:,} tokens are {reach:.1f} times the largest trained budget; train proxies for "
            f"at least {int(np.ceil(question.tokens / REFUSE_BEYOND)):,} tokens",
            trained,
        )
    if reach > WARN_BEYOND:
        warnings.append(f"the budget asked about is {reach:.1f} times the largest trained one: extrapolated")
    if question.tokens < points.tokens_n.min():
        warnings.append(
            f"{question.tokens:,} tokens are fewer than at the first checkpoint of any run "
            f"({int(points.tokens_n.min()):,}): extrapolated; are these tokens, not steps?"
        )
    rng = np.random.default_rng([seed, 0xB007])
    try:
        general = _replicated(points, data.general_n[inside], reach, rng)
        target = _replicated(points, data.target_n[inside], reach, rng)
    except NotApplicable as error:
        return not_yet(f"not yet: no law fits these runs: {error}", _spread(trained))

    one = critical_ratios(general.fit, target.fit, points, question.tokens, question.tolerance, LAMBDA)
    many = critical_ratios(
        general.replicates, target.replicates, points, question.tokens, question.tolerance, LAMBDA
    )
    low_cap, high_cap = _caps(max_shares or {}, within, question)
    if low_cap > high_cap:
        raise InputError(
            "the caps on repetition leave no mixture: every domain together may not fill the budget",
            "Raise max_epochs, add text, or lower the token budget",
        )
    reachable = (trained[0] / 2, (1 + trained[-1]) / 2)
    found = float(one.both()[0])
    if low_cap > min(max(found, reachable[0]), reachable[1]):
        # The scarce general text sets a least target share, which must be allowed and within reach of the runs.
        allowed = found >= low_cap
        decision = not_yet(
            f"not yet: the caps on repeating general text need a target share of at least {low_cap:.3g}, and "
            + (
                f"the largest trained is {trained[-1]:g}; train higher shares"
                if allowed
                else f"the general loss allows {found:.3g}; add general text, or allow more forgetting"
            ),
            [round(low_cap, 3)] if allowed and low_cap < 1 else [],
        )
        return _with_curves(decision, _tests(one, many, question), general, target, points, trained, question)
    if found < reachable[0]:
        tests = _tests(one, many, question)
        decision = not_yet(
            f"not yet: no trained target share keeps the general loss within {question.tolerance:g} nats; "
            "train lower shares, or allow more forgetting",
            [round(trained[0] / 2, 3), round(trained[0] / 4, 3)],
        )
        return _with_curves(decision, tests, general, target, points, trained, question)
    ceiling = min(reachable[1], high_cap)
    ratio = min(found, ceiling)
    binding: Binding = "tolerance"
    if one.turning_b is not None and one.turning_b[0] < one.tolerance_b[0]:
        binding = "turning_point"
    if found > ceiling:
        binding = "repetition" if high_cap < reachable[1] else "bound"
    edges = np.quantile(
        np.clip(many.both(), 0.0, ceiling), [(1 - question.level) / 2, (1 + question.level) / 2]
    )
    interval = (float(min(edges[0], ratio)), float(max(edges[1], ratio)))
    next_runs: list[float] = []
    if binding == "bound":
        warnings.append(
            f"both tests pass at every trained target share, the largest being {trained[-1]:g}; the answer is a bound"
        )
        next_runs = [round(ratio, 3)]
    elif not trained[0] <= ratio <= trained[-1]:
        warnings.append(f"the critical ratio {ratio:.3f} lies outside the trained shares: extrapolated")
        next_runs = [round(ratio, 3)]
    if interval[1] - interval[0] > 2 * WIDE:
        warnings.append(f"the interval is wider than +-{WIDE}: train more runs near the critical ratio")
        next_runs = sorted({*next_runs, *(round(float(np.clip(e, 0.02, 0.98)), 3) for e in interval)})
    predicted = _predictions(general, target, points, data, question, ratio, rng)
    if predicted["target"].increment >= 0:
        warnings.append(
            "the target loss does not fall at the recommended mix: the second condition of the law fails"
        )
    decision = Decision(
        question,
        "decided",
        _mix(within, question, ratio),
        ratio,
        interval,
        binding,
        general.law.name,
        len(np.unique(points.run_n)),
        predicted,
        _baselines(general, target, points, data, question, within, natural_shares, rng),
        next_runs=[_mix(within, question, r) for r in next_runs],
        warnings=warnings,
    )
    return _with_curves(decision, _tests(one, many, question), general, target, points, trained, question)


def decision_json(decision: Decision) -> dict[str, Any]:
    """The object that `mixlaw decide --json` prints (interfaces.md)."""
    return {
        "status": decision.status,
        "shares": decision.shares,
        "critical_ratio": decision.critical_ratio,
        "interval": list(decision.interval) if decision.interval else None,
        "level": decision.question.level,
        "binding": decision.binding,
        "law": decision.law,
        "n_runs": decision.n_runs,
        "predicted": {name: _plain(p) for name, p in decision.predicted.items()},
        "baselines": [
            {"name": b.name, "shares": b.shares, "predicted": {n: _plain(p) for n, p in b.predicted.items()}}
            for b in decision.baselines
        ],
        "tests": [asdict(test) for test in decision.tests],
        "critical_times": [{"target_share": r, "tokens": t} for r, t in decision.critical_times.items()],
        "next_runs": decision.next_runs,
        "warnings": decision.warnings,
    }


def _plain(prediction: Prediction) -> dict[str, Any]:
    return {**asdict(prediction), "interval": list(prediction.interval)}


def _replicated(points: Points, losses_n: Floats, reach: float, rng: np.random.Generator) -> Replicated:
    """Choose the form by leave-mixture-out error (a tie within one standard error keeps the fuller, whose turning
    point the second test needs), fit it, and refit it on bootstrap replicates."""
    law: Cmr = RATIO
    scores = {}
    for candidate in (CMR_MONOTONE, CMR):
        try:
            candidate.prepare(points)
        except NotApplicable:
            continue
        law = candidate
        found = cross_validate(candidate, points, losses_n[None, :], "leave-mixture-out")
        if found is not None:
            scores[candidate.name] = found[0]
    if len(scores) == 2:
        simple, full = scores[CMR_MONOTONE.name], scores[CMR.name]
        if simple.mae + simple.standard_error < full.mae:
            law = CMR_MONOTONE
    if law is RATIO:
        # It knows one budget only, so that must be the one asked about.
        asked = np.abs(points.tokens_n / points.tokens_n.max() - reach) <= 0.01 * reach
        if not asked.any():
            raise NotApplicable(
                "too few checkpoints per run to follow the loss to a budget that is none of theirs"
            )
        points, losses_n = points.take(asked), losses_n[asked]
    solution = fit(law, points, losses_n[None, :])[0]
    fitted_n = solution.predict(points)[0]
    noise = estimate(losses_n - fitted_n, points.run_n, points.tokens_n, MIN_RATIOS)
    draws_bn = noise.draw(points.run_n, points.tokens_n, REPLICATES, rng)
    assert isinstance(solution.law, Cmr)
    return Replicated(solution.law, solution, refit(solution, points, fitted_n + draws_bn), noise)


def _interval(values_b: Floats, level: float) -> Interval:
    low, high = np.quantile(values_b, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _tests(one: CriticalRatios, many: CriticalRatios, question: Question) -> list[Test]:
    tests = [_test("tolerance", one.tolerance_b, many.tolerance_b, question)]
    if one.turning_b is None:
        note = "the form chosen for the general loss has no turning point: too few checkpoints, or none to be seen"
        tests.append(Test("turning_point", None, None, note))
    else:
        assert many.turning_b is not None
        tests.append(_test("turning_point", one.turning_b, many.turning_b, question))
    return tests


def _test(name: Any, one_b: Floats, many_b: Floats, question: Question) -> Test:
    note = {0.0: "no share passes", 1.0: "every share passes"}.get(float(one_b[0]), "")
    return Test(name, float(one_b[0]), _interval(many_b, question.level), note)


def _predict(
    fitted: Replicated,
    points: Points,
    ratios: Floats,
    tokens: float,
    level: float,
    rng: np.random.Generator | None,
) -> tuple[Floats, Floats, Floats]:
    """value_n, low_n, high_n of the increment; with `rng`, the interval is that of a new run, not of the law."""
    at = points.at(ratios, np.full(len(ratios), tokens))
    values_bn = fitted.replicates.predict(at)
    if rng is not None:
        values_bn = values_bn + fitted.noise.total() * rng.standard_normal(values_bn.shape)
    low_n, high_n = np.quantile(values_bn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    value_n = fitted.fit.predict(at)[0]
    return value_n, np.minimum(low_n, value_n), np.maximum(high_n, value_n)


def _predictions(
    general: Replicated,
    target: Replicated,
    points: Points,
    data: Increments,
    question: Question,
    ratio: float,
    rng: np.random.Generator,
) -> dict[str, Prediction]:
    found = {}
    for name, fitted in (("general", general), ("target", target)):
        value, low, high = (
            float(v[0])
            for v in _predict(fitted, points, np.array([ratio]), question.tokens, question.level, rng)
        )
        base = data.base[name]
        found[name] = Prediction(base + value, (base + low, base + high), value)
    return found


def _baselines(
    general: Replicated,
    target: Replicated,
    points: Points,
    data: Increments,
    question: Question,
    within: dict[str, float],
    natural_shares: dict[str, float] | None,
    rng: np.random.Generator,
) -> list[Baseline]:
    ratios = {"replay 0%": 1.0, "replay 5%": 0.95, "replay 25%": 0.75, "replay 50%": 0.5}
    if natural_shares:
        total = sum(natural_shares.values())
        ratios["natural shares"] = sum(natural_shares.get(d, 0.0) for d in question.target_domains) / total
    return [
        Baseline(
            name,
            _mix(within, question, ratio),
            _predictions(general, target, points, data, question, ratio, rng),
        )
        for name, ratio in ratios.items()
    ]


def _with_curves(
    decision: Decision,
    tests: list[Test],
    general: Replicated,
    target: Replicated,
    points: Points,
    trained: list[float],
    question: Question,
) -> Decision:
    shares = np.linspace(max(trained[0] / 2, 0.01), min((1 + trained[-1]) / 2, 0.99), 81)
    ratio_curves = {}
    for name, fitted in (("general", general), ("target", target)):
        columns = _predict(fitted, points, shares, question.tokens, question.level, None)
        ratio_curves[name] = [CurvePoint(*map(float, row)) for row in zip(shares, *columns, strict=True)]
    cmr_curve = []
    if general.law.token_powers:
        first, last = (
            float(points.tokens_n.min()),
            max(float(points.tokens_n.max()) * 2, float(question.tokens)),
        )
        for budget in np.geomspace(first, last, 25):
            one = critical_ratios(general.fit, target.fit, points, budget, question.tolerance, LAMBDA)
            many = critical_ratios(
                general.replicates, target.replicates, points, budget, question.tolerance, LAMBDA
            )
            value = float(one.both()[0])
            low, high = _interval(many.both(), question.level)
            cmr_curve.append(CurvePoint(float(budget), value, min(low, value), max(high, value)))
    times = critical_times(general.fit, target.fit, points, trained, question.tokens, LAMBDA)
    return replace(
        decision,
        tests=tests,
        ratio_curves=ratio_curves,
        cmr_curve=cmr_curve,
        critical_times=times,
        law=general.law.name,
    )


def _composition(table: RunTable, data: Increments, question: Question) -> dict[str, float]:
    """Each domain's share within its role, which must be the same in all runs for R to be one number."""
    shares_nd = data.points.shares_nd
    is_target_d = np.array([d in question.target_domains for d in table.domains])
    within_d = np.zeros(len(table.domains))
    for mask_d in (is_target_d, ~is_target_d):
        total_n = shares_nd[:, mask_d].sum(1)
        rows = total_n > 1e-9
        if not rows.any():
            within_d[mask_d] = 1 / mask_d.sum()
            continue
        parts_nd = shares_nd[rows][:, mask_d] / total_n[rows, None]
        if np.ptp(parts_nd, axis=0).max() > 0.02:
            raise InputError(
                f"{table.source}: shares within the {'target' if mask_d is is_target_d else 'general'} domains vary "
                "between runs, so no single target share describes them",
                "This version decides one ratio; keep the proportions within each role fixed",
            )
        within_d[mask_d] = parts_nd.mean(0)
    return dict(zip(table.domains, within_d.tolist(), strict=True))


def _mix(within: dict[str, float], question: Question, ratio: float) -> dict[str, float]:
    return {
        domain: part * (ratio if domain in question.target_domains else 1 - ratio)
        for domain, part in within.items()
    }


def _caps(max_shares: dict[str, float], within: dict[str, float], question: Question) -> Interval:
    """The range of target shares that no domain's cap forbids."""
    low, high = 0.0, 1.0
    for domain, cap in max_shares.items():
        part = within.get(domain, 0.0)
        if part <= 0:
            continue
        if domain in question.target_domains:
            high = min(high, cap / part)
        else:
            low = max(low, 1 - cap / part)
    return low, high


def _spread(trained: list[float]) -> list[float]:
    """Target shares that would let a ratio law be fitted, away from those already trained."""
    return [r for r in (0.25, 0.5, 0.75, 0.9) if all(abs(r - t) > 0.05 for t in trained)][: MIN_RATIOS + 1]
