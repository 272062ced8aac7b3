"""The critical mixture ratio with an interval (Gu et al. 2024, laws.md 1.1): two tests, and which one binds.

With two sources, or several of fixed proportions within each role, one number is decided: the target share R.
(tolerance)     the general loss at the asked budget is within the tolerance of the base model's
(turning point) F = dL_target + LAMBDA * dL_general falls at that budget: the general loss has turned down
The critical ratio is the largest R that passes both. The whole chain is recomputed in every replicate of a bootstrap
over runs.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from mixing.arrays import Floats
from mixing.decision.binding import Binding
from mixing.decision.critical_ratio.cmr_law import fit_cmr_law
from mixing.decision.critical_ratio.evidence import (
    DRAWS,
    LAMBDA,
    REFUSE_BEYOND,
    Evidence,
    across_sizes,
    evidence,
    in_order,
    surfaces_of,
)
from mixing.decision.critical_ratio.feasibility import critical_times
from mixing.decision.critical_ratio.loss_surface import MIN_RATIOS
from mixing.decision.critical_ratio.model_sizes import sizes_to_extend
from mixing.decision.question import Question
from mixing.decision.result import (
    Baseline,
    CurvePoint,
    Decision,
    Interval,
    Prediction,
    Test,
    not_yet,
)
from mixing.errors import InputError
from mixing.laws.base import NotApplicable
from mixing.runs.increments import Increments
from mixing.runs.table import RunTable

CURVE_DRAWS = 200
"""Draws of the loss over shares at each point of the curve over budgets."""
WARN_BEYOND = 2.0
"""How far past the largest trained budget a law is followed without a warning."""
WIDE = 0.05
"""An interval wider than +- this deserves a warning, and more runs."""

SIGNAL = 3.0
"""Increments of the general loss below this many times the scatter of runs say little."""


def decide(
    table: RunTable,
    question: Question,
    *,
    max_shares: dict[str, float] | None = None,
    bounds: dict[str, float] | None = None,
    natural_shares: dict[str, float] | None = None,
    seed: int = 0,
) -> Decision:
    """The largest target share that the question allows, or "not yet" with the runs to add.

    `max_shares` caps domains by what repetition allows (max epochs * tokens / budget), `bounds` by what the user
    wants; `natural_shares` adds the
    corpora's own proportions to the baselines. Raises InputError for a table without base rows, without the named
    validation sets, or whose shares within a role vary between runs.
    """
    table = in_order(table)
    sizes = sizes_to_extend(table, question)
    data = (question if sizes is None else replace(question, params=sizes[-1])).increments(table)
    within = _composition(table, data, question)
    inside = data.points.interior()
    points = data.points.take(inside)
    trained = sorted({round(float(r), 9) for r in points.target_n})
    warnings = [*table.warnings, *data.warnings]
    if not inside.all():
        warnings.append("runs at target share 0 or 1 are outside the ratio law and were left out of its fit")

    n_runs = len(np.unique(points.run_n))

    def refused(reason: str, ratios: list[float]) -> Decision:
        runs = [_mix(within, question, ratio) for ratio in ratios]
        return not_yet(question, reason, n_runs=n_runs, next_runs=runs, warnings=warnings)

    if len(trained) < MIN_RATIOS:
        return refused(
            f"the ratio law has three parameters and {len(trained)} target share(s) strictly between 0 and 1 "
            "were trained; train the mixtures of next_runs",
            _spread(trained),
        )
    reach = question.tokens / float(points.tokens_n.max())
    if reach > REFUSE_BEYOND:
        return refused(
            f"{question.tokens:,} tokens are {reach:.1f} times the largest trained budget; train proxies for "
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
        surfaces = surfaces_of(data, inside, question, rng)
    except NotApplicable as error:
        return refused(f"no law fits these runs: {error}", _spread(trained))
    found_all = evidence(surfaces, question, question.tokens, DRAWS, seed)
    if sizes is not None:
        extended = across_sizes(table, question, sizes, found_all, seed)
        if extended is None:
            return refused("one of the sizes has too few mixtures for a law of its own", trained)
        found_all, base, notes = extended
        data = replace(data, base=base)
        warnings += notes
    repeated, asked = _caps(max_shares or {}, within, question), _caps(bounds or {}, within, question)
    low_cap, high_cap = max(repeated[0], asked[0]), min(repeated[1], asked[1])
    if low_cap > high_cap:
        raise InputError(
            "the caps leave no mixture: every domain together may not fill the budget",
            "Raise max_epochs or --max, add text, or lower the token budget",
        )
    reachable = (trained[0] / 2, (1 + trained[-1]) / 2)
    found = found_all.one
    if low_cap > min(max(found, reachable[0]), reachable[1]):
        # The scarce general text sets a least target share, which must be allowed and within reach of the runs.
        allowed = found >= low_cap
        decision = refused(
            f"the caps on general text need a target share of at least {low_cap:.3g}, and "
            + (
                f"the largest trained is {trained[-1]:g}; train higher shares"
                if allowed
                else f"the general loss allows {found:.3g}; add general text, or allow more forgetting"
            ),
            [round(low_cap, 3)] if allowed and low_cap < 1 else [],
        )
        return _with_curves(decision, found_all, trained, seed)
    if found < reachable[0]:
        decision = refused(
            f"no trained target share keeps the general loss within {question.tolerance:g} nats; "
            "train lower shares, or allow more forgetting",
            [round(trained[0] / 2, 3), round(trained[0] / 4, 3)],
        )
        return _with_curves(decision, found_all, trained, seed)
    ceiling = min(reachable[1], high_cap)
    ratio = min(found, ceiling)
    binding: Binding = "tolerance"
    if found_all.turning_one is not None and found_all.turning_one < found_all.tolerance_one:
        binding = "turning_point"
    if found > ceiling:
        binding = "repetition" if repeated[1] < min(reachable[1], asked[1]) else "bound"
    edges = np.quantile(
        np.clip(found_all.both_b, 0.0, ceiling), [(1 - question.level) / 2, (1 + question.level) / 2]
    )
    interval = (float(min(edges[0], ratio)), float(max(edges[1], ratio)))
    next_runs: list[float] = []
    if binding == "bound" and asked[1] >= reachable[1]:
        warnings.append(
            f"both tests pass at every trained target share, the largest being {trained[-1]:g}; the answer is a bound"
        )
        next_runs = [round(ratio, 3)]
    elif not trained[0] <= ratio <= trained[-1]:
        warnings.append(f"the critical ratio {ratio:.3f} lies outside the trained shares: extrapolated")
        next_runs = [round(ratio, 3)]
    levels_r = surfaces["general"].levels(min(question.tokens, float(points.tokens_n.max())))
    scatter = found_all.now["general"].scatter()
    moved = float(np.abs(levels_r).max())
    if moved < SIGNAL * scatter:
        warnings.append(
            f"the general loss moved by at most {moved:.2g} nats, less than {SIGNAL:g} times the scatter "
            f"of one run ({scatter:.2g}): train longer, or repeat mixtures with other seeds"
        )
    if interval[1] - interval[0] > 2 * WIDE:
        warnings.append(f"the interval is wider than +-{WIDE}: train more runs near the critical ratio")
        next_runs = sorted({*next_runs, *(round(float(np.clip(e, 0.02, 0.98)), 3) for e in interval)})
    predicted = _predictions(found_all, data, question, ratio, rng)
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
        surfaces["general"].law.name,
        n_runs,
        predicted,
        _baselines(found_all, data, question, within, natural_shares, rng),
        next_runs=[_mix(within, question, r) for r in next_runs],
        warnings=warnings,
    )
    return _with_curves(decision, found_all, trained, seed)


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
        "cmr_law": _cmr_law(decision),
        "next_runs": decision.next_runs,
        "warnings": decision.warnings,
    }


def _cmr_law(decision: Decision) -> dict[str, Any] | None:
    law, tokens = decision.cmr_law, decision.question.tokens
    if law is None:
        return None
    return {
        "a4": law.a4,
        "s4": law.s4,
        "b3": law.b3,
        "unit_tokens": law.unit,
        "pairs": [{"tokens": time, "target_share": ratio} for time, ratio in law.pairs],
        "error": law.error,
        "critical_ratio": law.ratio(tokens),
        "warning": law.warning(tokens),
    }


def _plain(prediction: Prediction) -> dict[str, Any]:
    return {**asdict(prediction), "interval": list(prediction.interval)}


def _interval(values_b: Floats, level: float) -> Interval:
    low, high = np.quantile(values_b, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _tests(found: Evidence, question: Question) -> list[Test]:
    tests = [_test("tolerance", found.tolerance_one, found.tolerance_b, question)]
    if found.turning_one is None or found.turning_b is None:
        if found.extended:
            note = "turning points are not followed to other sizes"
            return [*tests, Test("turning_point", None, None, note)]
        note = "the form chosen for the general loss has no turning point: too few checkpoints, or none to be seen"
        return [*tests, Test("turning_point", None, None, note)]
    return [*tests, _test("turning_point", found.turning_one, found.turning_b, question)]


def _test(name: Any, one: float, many_b: Floats, question: Question) -> Test:
    note = {0.0: "no share passes", 1.0: "every share passes"}.get(one, "")
    return Test(name, one, _interval(many_b, question.level), note)


def _predictions(
    found: Evidence, data: Increments, question: Question, ratio: float, rng: np.random.Generator
) -> dict[str, Prediction]:
    """Both losses of a new run at a target share: the scatter of one run is part of the interval."""
    predictions = {}
    for name, curve in found.now.items():
        mean_n, draws_bn = curve.at(np.array([ratio]))
        low, high = _interval(
            draws_bn[:, 0] + curve.scatter_b * rng.standard_normal(len(draws_bn)), question.level
        )
        value, base = float(mean_n[0]), data.base[name]
        predictions[name] = Prediction(base + value, (base + min(low, value), base + max(high, value)), value)
    return predictions


def _baselines(
    found: Evidence,
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
        Baseline(name, _mix(within, question, ratio), _predictions(found, data, question, ratio, rng))
        for name, ratio in ratios.items()
    ]


def _with_curves(decision: Decision, found: Evidence, trained: list[float], seed: int) -> Decision:
    question = decision.question
    shares = np.linspace(max(trained[0] / 2, 0.01), min((1 + trained[-1]) / 2, 0.99), 81)
    edges = [(1 - question.level) / 2, (1 + question.level) / 2]
    ratio_curves = {}
    for name, curve in found.now.items():
        mean_n, draws_bn = curve.at(shares)
        low_n, high_n = np.quantile(draws_bn, edges, axis=0)
        rows = zip(shares, mean_n, np.minimum(low_n, mean_n), np.maximum(high_n, mean_n), strict=True)
        ratio_curves[name] = [CurvePoint(*map(float, row)) for row in rows]
    general = found.surfaces["general"]
    cmr_curve = []
    times: dict[float, float | None] = {}
    law = None
    # The curve over budgets is that of a trained size.
    if general.law.token_powers and not found.extended:
        tokens_n = general.points.tokens_n
        last = max(float(tokens_n.max()) * 2, float(question.tokens))
        for budget in np.geomspace(float(tokens_n.min()), last, 25):
            then = evidence(found.surfaces, question, float(budget), CURVE_DRAWS, seed)
            low, high = _interval(then.both_b, question.level)
            cmr_curve.append(CurvePoint(float(budget), then.one, min(low, then.one), max(high, then.one)))
        target = found.surfaces["target"]
        times = critical_times(general.fit, target.fit, general.points, trained, question.tokens, LAMBDA)
        law = fit_cmr_law(times)
    return replace(
        decision,
        tests=_tests(found, question),
        ratio_curves=ratio_curves,
        cmr_curve=cmr_curve,
        critical_times=times,
        cmr_law=law,
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
