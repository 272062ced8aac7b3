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

from mixing.arrays import Floats
from mixing.decision import baselines
from mixing.decision.critical_ratio.decider import decision_json
from mixing.decision.mixture.bounds import Region, by_domain, make_region
from mixing.decision.mixture.constraints import (
    Limits,
    build_problem,
    named_losses,
    natural_shares,
    outside_hull,
    what_binds,
)
from mixing.decision.mixture.loss_models import REPLICATES, FittedLosses, Slice, fit_losses, slice_runs
from mixing.decision.mixture.next_mixtures import NEXT_RUNS, most_telling
from mixing.decision.mixture.optimiser import Optimum, Problem, Search, optimise, replicate, search
from mixing.decision.mixture.pareto import front
from mixing.decision.question import Question
from mixing.decision.refusals import FAR_OUTSIDE, far_outside, no_mixture_allowed, too_little, train_a_spread
from mixing.decision.result import Baseline, Decision, FrontPoint, Interval, Prediction
from mixing.laws import LAWS
from mixing.laws.base import NotApplicable
from mixing.runs.table import RunTable

OUTSIDE = 0.02
"""Share of a mixture (total variation) outside the hull of the trained ones that is warned of."""
WIDE = 0.05


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
    refused = too_little(data, question, region, warnings)
    if refused is None:
        try:
            fitted = fit_losses(data, law, rng, step=progress.step)
        except NotApplicable as error:
            refused = f"no law fits these runs: {error}"
        else:
            if all(
                not LAWS[fitted.laws[n]].ranks_mixtures
                for n in losses
                if n not in ("general", *limits.protect)
            ):
                refused = (
                    "no law beats the constant on held-out mixtures: these runs do not tell mixtures apart"
                )
    if refused is not None:
        return train_a_spread(question, data, warnings, refused, rng)
    natural_d = np.array([natural[d] for d in table.domains])
    problem, reference = build_problem(question, limits, region, data, fitted, natural_d, warnings)
    centres = np.concatenate([data.mixtures_kd, natural_d[None]])
    found = search(problem, centres, rng)
    answer = optimise(problem, found)
    if not answer.feasible:
        return no_mixture_allowed(question, data, problem, found, fitted, reference, warnings)
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
        return far_outside(question, data, fitted, answer, outside, warnings)
    scored = _Scored(question, data, fitted, reference, rng)
    decision = Decision(
        question=question,
        status="decided",
        shares=by_domain(table.domains, answer.shares_d),
        critical_ratio=None,
        interval=None,
        binding="none",
        law=fitted.law,
        n_runs=data.n_runs,
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
            FrontPoint(by_domain(table.domains, o.shares_d), *scored.both(o.shares_d))
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
    mixes[f"best run ({data.runs[at]})"] = by_domain(domains, data.points.shares_nd[at])
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
    first = [by_domain(data.domains, answer.shares_d)] if outside > OUTSIDE else []
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
    return first + [by_domain(data.domains, candidates[m]) for m in chosen]


def _apart(mixtures_md: Floats, least: float = 0.03) -> Floats:
    """The mixtures that differ from every one before them by more than `least` (total variation)."""
    kept: list[Floats] = []
    for mix_d in mixtures_md:
        if all(np.abs(mix_d - other_d).sum() / 2 > least for other_d in kept):
            kept.append(mix_d)
    return np.stack(kept)


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


def _span(interval: Interval) -> str:
    return f"[{interval[0]:.2f}, {interval[1]:.2f}]"
