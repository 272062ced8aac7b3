"""The decision with more than two sources: the best mixture under protected losses and caps, with intervals.

    minimise    the weighted (or the worst) target loss + kl * KL(p || prior)
    subject to  general loss - base <= tolerance, each protected loss - base <= its own, caps, bounds, the trained range

The whole chain is recomputed in every replicate of a bootstrap over runs. Without base rows (a swarm from scratch) the
reference is the loss predicted at the prior mixture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixing.critical_ratio.decide import decision_json
from mixing.decision import Baseline, Decision, FrontPoint, Interval, Prediction, Question, Test
from mixing.laws import LAWS
from mixing.laws.base import Floats, NotApplicable
from mixing.optimum import baselines
from mixing.optimum.limits import (
    Limits,
    build_problem,
    named_losses,
    natural_shares,
    outside_hull,
    what_binds,
)
from mixing.optimum.models import REPLICATES, FittedLosses, Slice, fit_losses, slice_runs
from mixing.optimum.next_mixtures import most_telling, spread
from mixing.optimum.pareto import front
from mixing.optimum.region import Region, make_region
from mixing.optimum.solve import Optimum, Problem, Search, least_excess, optimise, replicate, search
from mixing.runs import RunTable

REFUSE_BEYOND, WARN_BEYOND = 4.0, 2.0
"""How far past the trained budget an increment over the base is followed, and followed without a warning."""
OUTSIDE, FAR_OUTSIDE = 0.02, 0.3
"""Share of a mixture (total variation) outside the hull of the trained ones: warned of, and refused."""
RUNS_PER_PART = 3
"""Mixtures per free share, and one more such lot, below which a decision is warned of (olmix, arXiv 2602.12237)."""
WIDE = 0.05
NEXT_RUNS = 3


def decide_sources(
    table: RunTable,
    question: Question,
    limits: Limits | None = None,
    *,
    law: str = "auto",
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Decision:
    """The best mixture that the question and the limits allow, or "not yet" with the runs to add.

    Raises InputError for limits that leave no mixture, unknown names, and a table without the named losses.
    """
    limits = limits or Limits()
    losses = named_losses(table, question, limits)
    progress = _Progress(on_progress, len(losses) * len(LAWS) + REPLICATES)
    data = slice_runs(table, question, losses)
    warnings = [*table.warnings, *data.warnings]
    natural, known = natural_shares(table.domains, data, limits)
    region = make_region(
        table.domains,
        data.points.shares_nd,
        low=limits.low,
        high=limits.high,
        caps=limits.caps(question.tokens),
        frozen=limits.frozen,
        within=natural,
    )
    rng = np.random.default_rng([seed, 0x50C5])
    refused = _too_little(data, question, region, warnings)
    if refused is None:
        try:
            fitted = fit_losses(data, law, rng, step=progress.step)
        except NotApplicable as error:
            refused = f"no law fits these runs: {error}"
        else:
            if all(fitted.laws[n] == "constant" for n in losses if n not in ("general", *limits.protect)):
                refused = (
                    "no law beats the constant on held-out mixtures: these runs do not tell mixtures apart"
                )
    if refused is not None:
        return _not_yet(question, data, region, warnings, refused, rng)
    natural_d = np.array([natural[d] for d in table.domains])
    problem, reference = build_problem(question, limits, region, data, fitted, natural_d, warnings)
    centres = np.concatenate([data.mixtures_kd, natural_d[None]])
    found = search(problem, centres, rng)
    answer = optimise(problem, found)
    if not answer.feasible:
        return _nothing_feasible(question, data, problem, found, fitted, reference, warnings)
    many = replicate(problem, found, answer, progress.step)
    many_bd = np.stack([o.shares_d for o in many])
    infeasible = sum(not o.feasible for o in many) / len(many)
    if infeasible > 0.05:
        warnings.append(
            f"in {infeasible:.0%} of the bootstrap replicates no mixture keeps within the tolerance: it is barely "
            "reachable"
        )
    outside = outside_hull(answer.shares_d, data.mixtures_kd)
    if outside > FAR_OUTSIDE:
        refused = (
            f"{outside:.0%} of the best mixture lies outside all mixtures of trained ones; train it first"
        )
        return replace(
            _not_yet(question, data, region, warnings, refused, rng),
            next_runs=[_named(table.domains, answer.shares_d)],
            law=_law(fitted),
        )
    scored = _Scored(question, data, fitted, reference, rng)
    decision = Decision(
        question=question,
        status="decided",
        shares=_named(table.domains, answer.shares_d),
        critical_ratio=None,
        interval=None,
        binding="none",
        law=_law(fitted),
        n_runs=len(np.unique(data.points.run_n)),
        predicted=scored.at(answer.shares_d),
        baselines=_baselines(scored, table.domains, natural, known, limits),
        share_intervals=_share_intervals(table.domains, answer.shares_d, many_bd, question.level),
        regret=_regret(problem, answer, many),
    )
    binding, said = what_binds(problem, found, answer)
    if data.base and question.target_domains:
        columns = [table.domains.index(d) for d in question.target_domains]
        ratio = float(answer.shares_d[columns].sum())
        interval = _interval(many_bd[:, columns].sum(1), ratio, question.level)
        decision = replace(decision, critical_ratio=ratio, interval=interval)
    if question.general:
        general = next(g for g in problem.protected if g.name == "general")
        points = [
            FrontPoint(_named(table.domains, o.shares_d), *scored.both(o.shares_d))
            for o in front(problem, found, general)
        ]
        decision = replace(decision, front=points)
    decision = replace(decision, binding=binding, limits=said)
    warnings += _gates(decision, scored, region, answer, outside)
    return replace(
        decision,
        warnings=warnings,
        next_runs=_next_runs(scored, region, found, answer, many_bd, data, outside),
    )


def sources_json(decision: Decision) -> dict[str, Any]:
    """`decision_json` with what only many sources have; additions to interfaces.md."""

    def plain(prediction: Prediction) -> dict[str, Any]:
        return {
            "loss": prediction.loss,
            "interval": list(prediction.interval),
            "increment": prediction.increment,
        }

    return {
        **decision_json(decision),
        "tokens": decision.question.tokens,
        "share_intervals": {d: list(i) for d, i in decision.share_intervals.items()},
        "limits": decision.limits,
        "regret": decision.regret,
        "front": [
            {"shares": p.shares, "general": plain(p.general), "target": plain(p.target)}
            for p in decision.front
        ],
    }


@dataclass
class _Progress:
    """Counts laws that were tried, then replicates."""

    report: Callable[[int, int], None] | None
    total: int
    done: int = 0

    def step(self) -> None:
        self.done += 1
        if self.report is not None:
            self.report(min(self.done, self.total), self.total)


@dataclass(frozen=True)
class _Scored:
    """Predictions at any mixture, for the general and the target loss."""

    question: Question
    data: Slice
    fitted: FittedLosses
    reference: dict[str, Floats]
    rng: np.random.Generator

    def roles(self) -> list[str]:
        return [r for r in ("general", "target") if r in self.fitted.models]

    def at(self, shares_d: Floats, new_run: bool = True) -> dict[str, Prediction]:
        """With `new_run` the interval is that of a run to be trained there, else that of the law."""
        return {role: self._one(role, shares_d, new_run) for role in self.roles()}

    def both(self, shares_d: Floats) -> tuple[Prediction, Prediction]:
        found = self.at(shares_d, new_run=False)
        return found["general"], found["target"]

    def _one(self, role: str, shares_d: Floats, new_run: bool) -> Prediction:
        values_b = self.fitted.models[role].losses(shares_d[None])[:, 0]
        value = float(values_b[0])
        if new_run:
            values_b = values_b + self.fitted.noise[role] * self.rng.standard_normal(len(values_b))
        interval = _interval(values_b[1:], value, self.question.level)
        return Prediction(value, interval, value - float(self.reference[role][0]))


def _too_little(data: Slice, question: Question, region: Region, warnings: list[str]) -> str | None:
    """Why these runs cannot carry a decision at all; warnings where they can, but barely."""
    if len(data.mixtures_kd) < 2:
        return "all runs have one mixture, so nothing is known about another"
    fixed = [d for d, s in zip(data.domains, np.ptp(data.points.shares_nd, axis=0), strict=True) if s < 1e-6]
    if fixed:
        warnings.append(f"the share of {', '.join(fixed)} never varied: it stays as trained")
    free, mixtures = int((region.high_q - region.low_q > 1e-9).sum()), len(data.mixtures_kd)
    if mixtures <= free:
        return (
            f"{mixtures} different mixtures cannot tell {free} free shares apart and show how far a law misses; "
            f"train at least {free + 1}"
        )
    if mixtures < RUNS_PER_PART * (free + 1):
        warnings.append(
            f"{mixtures} different mixtures for {free} free shares are few (rule of thumb: "
            f"{RUNS_PER_PART * (free + 1)}): intervals know of the runs' scatter and of rival laws, but not of what "
            "no run has tried"
        )
    if data.reached <= 1:  # a table without a tokens column
        return None
    reach = max(question.tokens / data.reached, data.reached / question.tokens)
    if reach > REFUSE_BEYOND and data.base and question.general:
        return (
            f"the runs are at {int(data.reached):,} tokens and {question.tokens:,} are asked about: an increment over "
            "the base model is not followed that far; train proxies nearer to it"
        )
    if reach > WARN_BEYOND and data.follows:
        warnings.append(f"the budget asked about is {reach:.1f} times the trained one: extrapolated")
    elif reach > WARN_BEYOND:
        warnings.append(
            f"the laws know {int(data.reached):,} tokens; that the best mixture is the same at {question.tokens:,} is "
            "assumed (caps are those of the asked budget)"
        )
    return None


def _baselines(
    scored: _Scored, domains: tuple[str, ...], natural: dict[str, float], known: bool, limits: Limits
) -> list[Baseline]:
    question, data = scored.question, scored.data
    epochs = dict.fromkeys(domains, limits.max_epochs)
    mixes = baselines.usual(
        domains, question.target_domains, natural, known, limits.supply or None, question.tokens, epochs
    )
    seen = dict(zip(data.names, data.losses_vn, strict=True))
    if data.follows:  # runs are elsewhere: the laws say which is best where the question is
        seen = {n: m.losses(data.points.shares_nd)[0] for n, m in scored.fitted.models.items()}
    allowed_n = np.ones(len(data.runs), dtype=bool)
    if "general" in seen:
        within = seen["general"] <= float(scored.reference["general"][0]) + question.tolerance
        allowed_n = within if within.any() else seen["general"] <= seen["general"].min()
    at = int(np.where(allowed_n, seen["target"], np.inf).argmin())
    mixes[f"best run ({data.runs[at]})"] = _named(domains, data.points.shares_nd[at])
    return [
        Baseline(name, mix, scored.at(np.array([mix[d] for d in domains]))) for name, mix in mixes.items()
    ]


def _gates(decision: Decision, scored: _Scored, region: Region, answer: Optimum, outside: float) -> list[str]:
    """Doubts that the reader must see (laws.md section 10)."""
    out = []
    trained = [name for name, why, _ in region.binding(answer.q_q) if why == "trained"]
    if trained:
        out.append(
            f"{', '.join(trained)} at the end of the trained range: a better mixture may lie beyond; train there"
        )
    if outside > OUTSIDE:
        out.append(
            f"{outside:.1%} of the mixture lies outside all mixtures of trained ones: extrapolated; train it next"
        )
    wide = {d: high - low for d, (low, high) in decision.share_intervals.items() if high - low > 2 * WIDE}
    if wide:
        worst = sorted(wide, key=lambda d: -wide[d])
        shown = ", ".join(f"{d} {_span(decision.share_intervals[d])}" for d in worst[:4])
        some = "one share is" if len(wide) == 1 else f"{len(wide)} shares are"
        out.append(f"{some} known no better than +-{WIDE:g}, e.g. {shown}")
    if "general" in decision.predicted:
        increment = decision.predicted["general"].increment
        noise = scored.fitted.noise["general"]
        if scored.data.base and 0 < abs(increment) < 3 * noise:
            out.append(
                f"the general increment ({increment:+.4f}) is under three times a run's scatter ({noise:.4f})"
            )
    target = decision.predicted["target"]
    if scored.data.base and target.increment >= 0:
        out.append("the target loss does not fall at the recommended mix")
    best = next(b for b in decision.baselines if b.name.startswith("best run"))
    if target.loss > best.predicted["target"].loss + 1e-9 and decision.binding != "tolerance":
        out.append(f"no better than the {best.name}, which the limits forbid or the law doubts")
    return out


def _next_runs(
    scored: _Scored,
    region: Region,
    found: Search,
    answer: Optimum,
    many_bd: Floats,
    data: Slice,
    outside: float,
) -> list[dict[str, float]]:
    """The mixtures that narrow the answer most; the answer itself first where it is extrapolated."""
    first = [_named(data.domains, answer.shares_d)] if outside > OUTSIDE else []
    best = found.best(0, 120)
    candidates = _apart(
        np.concatenate([answer.shares_d[None], region.shares(found.q_mq[best]), many_bd[:60]])
    )
    candidates = candidates[len(first) :]
    if not len(candidates):
        return first
    roles = scored.roles()
    losses = np.stack([scored.fitted.models[r].losses(candidates)[1:] for r in roles])
    noise_v = np.array([scored.fitted.noise[r] for r in roles])
    chosen, _ = most_telling(many_bd, losses, noise_v, NEXT_RUNS - len(first))
    return first + [_named(data.domains, candidates[m]) for m in chosen]


def _apart(mixtures_md: Floats, least: float = 0.03) -> Floats:
    """The mixtures that differ from every one before them by more than `least` (total variation)."""
    kept: list[Floats] = []
    for mix_d in mixtures_md:
        if all(np.abs(mix_d - other_d).sum() / 2 > least for other_d in kept):
            kept.append(mix_d)
    return np.stack(kept)


def _not_yet(
    question: Question,
    data: Slice,
    region: Region,
    warnings: list[str],
    reason: str,
    rng: np.random.Generator,
) -> Decision:
    """No answer, and mixtures spread over the simplex (within what the user allows) that would give one."""
    wide = make_region(data.domains, np.eye(len(data.domains)))
    centre = np.full((1, len(data.domains)), 1 / len(data.domains))
    options = wide.shares(np.concatenate([centre, wide.sample(centre, 400, rng)]))
    wanted = max(NEXT_RUNS, 2 * len(data.domains) - len(data.mixtures_kd))
    chosen = spread(options, data.mixtures_kd, min(wanted, 12))
    return _no_answer(question, data, warnings, reason, [options[m] for m in chosen])


def _nothing_feasible(
    question: Question,
    data: Slice,
    problem: Problem,
    found: Search,
    fitted: FittedLosses,
    reference: dict[str, Floats],
    warnings: list[str],
) -> Decision:
    """No mixture keeps its tolerances: by how much at best, where, and what to allow."""
    least = least_excess(problem, found)
    over = []
    for guarded in problem.protected:
        key = "general" if guarded.name == "general" else f"protect:{guarded.name}"
        loss = float(guarded.model.losses(least.shares_d[None])[0, 0])
        if loss > guarded.limit_b[0] + 1e-6:
            over.append(f"{guarded.name} {loss - float(reference[key][0]):+.4g}")
    held = (
        "; ".join(said for said in what_binds(problem, found, least)[1] if "tolerance" not in said)
        or "no other limit"
    )
    reason = (
        f"no mixture keeps every protected loss within its tolerance; the least increments within reach are "
        f"{', '.join(over)} nats (there: {held}). Allow that much, relax the limits, or train mixtures nearer to it"
    )
    increment = float(least.excess) + question.tolerance
    tests = (
        [Test("tolerance", None, None, f"the least increment is {increment:+.4g} nats")]
        if question.general
        else []
    )
    silent = _no_answer(question, data, warnings, reason, [least.shares_d])
    return replace(silent, binding="tolerance", law=_law(fitted), tests=tests)


def _no_answer(
    question: Question, data: Slice, warnings: list[str], reason: str, following: list[Floats]
) -> Decision:
    """ "Not yet", with the mixtures to train next."""
    return Decision(
        question=question,
        status="not_yet",
        shares={},
        critical_ratio=None,
        interval=None,
        binding="none",
        law="none",
        n_runs=len(np.unique(data.points.run_n)),
        predicted={},
        baselines=[],
        next_runs=[_named(data.domains, shares_d.round(3)) for shares_d in following],
        warnings=[*warnings, f"not yet: {reason}"],
    )


def _regret(problem: Problem, answer: Optimum, many: list[Optimum]) -> float:
    """What knowing the landscape would gain on average: each replicate's own optimum against this answer there."""
    at_answer = problem.objective(answer.shares_d[None])[1:, 0]
    allowed = problem.excess(answer.shares_d[None])[1:, 0] <= 1e-6
    gains = np.array([at_answer[b] - many[b].value for b in range(len(many)) if allowed[b]])
    return float(np.maximum(gains, 0.0).mean()) if len(gains) else 0.0


def _share_intervals(
    domains: tuple[str, ...], shares_d: Floats, many_bd: Floats, level: float
) -> dict[str, Interval]:
    return {d: _interval(many_bd[:, i], float(shares_d[i]), level) for i, d in enumerate(domains)}


def _interval(values_b: Floats, value: float, level: float) -> Interval:
    low, high = np.quantile(values_b, [(1 - level) / 2, (1 + level) / 2])
    return min(float(low), value), max(float(high), value)


def _law(fitted: FittedLosses) -> str:
    names = {role: fitted.laws[role] for role in ("general", "target") if role in fitted.laws}
    if len(set(names.values())) == 1:
        return next(iter(names.values()))
    return ", ".join(f"{law} ({role})" for role, law in names.items())


def _named(domains: tuple[str, ...], shares_d: Floats) -> dict[str, float]:
    """Shares by domain; a hair above 0 is 0."""
    clean_d = np.where(shares_d < 1e-6, 0.0, shares_d)
    return dict(zip(domains, (clean_d / clean_d.sum()).tolist(), strict=True))


def _span(interval: Interval) -> str:
    return f"[{interval[0]:.2f}, {interval[1]:.2f}]"
