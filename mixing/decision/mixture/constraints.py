"""What a user asks of a mixture, as an optimisation: losses to fit, the prior, the problem, and what binds it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linprog

from mixing.arrays import Floats
from mixing.decision.binding import Binding
from mixing.decision.mixture.bounds import Region
from mixing.decision.mixture.loss_models import FittedLosses, Slice
from mixing.decision.mixture.optimiser import Optimum, Problem, Protected, Search, optimise
from mixing.decision.question import Question
from mixing.errors import InputError
from mixing.runs.table import RunTable


@dataclass(frozen=True)
class Limits:
    """What the user asks of the mixture besides the losses.

    `low` and `high` bound shares; `supply` is tokens at hand by domain, read at most `max_epochs` times in the asked
    budget; `prior` are natural shares (default: those of the supply, else the mean trained mixture), towards which
    `kl` pulls (nats); `frozen` groups keep the prior's proportions; `protect` bounds single losses' increments
    (nats); with `worst_case` the worst target counts, not their mean.
    """

    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)
    supply: Mapping[str, float] = field(default_factory=dict)
    max_epochs: float = 4.0
    prior: Mapping[str, float] = field(default_factory=dict)
    kl: float = 0.0
    frozen: tuple[tuple[str, ...], ...] = ()
    protect: Mapping[str, float] = field(default_factory=dict)
    worst_case: bool = False

    def caps(self, tokens: float) -> dict[str, float]:
        """The largest share of each domain that repetition allows in that many tokens, where a supply is known."""
        return {d: self.max_epochs * at_hand / tokens for d, at_hand in self.supply.items()}

    def given_prior(self, domains: Iterable[str]) -> dict[str, float]:
        """Natural shares as given, or those of the supply where it covers every domain; empty otherwise."""
        if self.prior:
            return dict(self.prior)
        return dict(self.supply) if set(self.supply) >= set(domains) else {}

    def check(self, domains: tuple[str, ...]) -> None:
        """Raises InputError for a domain that is none of these, and for what is not a number."""
        given = {"--prior": self.prior, "--supply": self.supply, "--min": self.low, "--max": self.high}
        for what, numbers in given.items():
            for domain, value in numbers.items():
                if domain not in domains:
                    raise InputError(
                        f"{what} {domain}: no such domain", f"The table's domains: {', '.join(domains)}"
                    )
                if not math.isfinite(value) or value < 0:
                    raise InputError(f"{what} {domain}={value}: not a number of 0 or more", "Correct it")
        if not math.isfinite(self.max_epochs) or self.max_epochs <= 0:
            raise InputError(
                f"--max-epochs {self.max_epochs}: not above 0", "Up to 4 is about as good as fresh text"
            )

    def needs_mixture(self) -> bool:
        """Whether more is asked than one target share can answer."""
        return bool(self.low or self.frozen or self.protect or self.kl or self.worst_case)


def single_ratio(table: RunTable, question: Question, limits: Limits | None = None) -> bool:
    """Whether one target share describes every run, over a base model: two sources, or fixed proportions within each
    role. Without base rows no increment is known, and the mixture is sought against the mean trained one.

    Raises InputError for limits that one share cannot respect.
    """
    if limits is not None:
        limits.check(table.domains)
    if len(table.domains) == 2 and table.base.height:
        if limits is not None and limits.needs_mixture():
            raise InputError(
                "--min, --freeze, --kl, --protect and --worst-case are for more than two sources",
                "Leave them out: with two sources one share is decided",
            )
        return True
    if limits is not None and limits.needs_mixture():
        return False
    if not question.general or not question.target_domains or not table.base.height:
        return False
    shares_nd = table.trained.select([f"share.{d}" for d in table.domains]).unique().to_numpy()
    target_d = np.isin(table.domains, question.target_domains)
    for mask_d in (target_d, ~target_d):
        total_n = shares_nd[:, mask_d].sum(1)
        parts = shares_nd[total_n > 1e-9][:, mask_d] / total_n[total_n > 1e-9, None]
        if len(parts) and np.ptp(parts, axis=0).max() > 0.02:
            return False
    return True


def named_losses(table: RunTable, question: Question, limits: Limits) -> dict[str, dict[str, float]]:
    """The losses that are fitted: general, target, every protected one, and each target where the worst counts."""
    losses: dict[str, dict[str, float]] = {"target": question.target}
    if question.general:
        losses["general"] = question.general
    for name, allowed in limits.protect.items():
        if not math.isfinite(allowed) or allowed < 0:
            raise InputError(f"--protect {name}={allowed}: not a tolerance", "Give nats of 0 or more")
        losses[f"protect:{name}"] = {name: 1.0}
    if limits.worst_case and len(question.target) > 1:
        losses |= {f"target:{name}": {name: 1.0} for name, weight in question.target.items() if weight > 0}
    if not math.isfinite(limits.kl) or limits.kl < 0:
        raise InputError(f"--kl {limits.kl}: not a weight", "Give 0 or more, e.g. 0.05")
    for weights in losses.values():
        table.weighted(weights)
    return losses


def natural_shares(domains: tuple[str, ...], data: Slice, limits: Limits) -> tuple[dict[str, float], bool]:
    """The prior mixture, and whether it was given rather than the mean of what was trained."""
    limits.check(domains)
    given = limits.given_prior(domains)
    total = math.fsum(given.values())
    if given and total <= 0:
        raise InputError("--prior: all shares are 0", "Give at least one domain a share")
    if given:
        return {d: given.get(d, 0.0) / total for d in domains}, True
    mean_d = data.mixtures_kd.mean(0)
    return dict(zip(domains, (mean_d / mean_d.sum()).tolist(), strict=True)), False


def build_problem(
    question: Question,
    limits: Limits,
    region: Region,
    data: Slice,
    fitted: FittedLosses,
    natural_d: Floats,
    warnings: list[str],
) -> tuple[Problem, dict[str, Floats]]:
    """The optimisation, and every loss's reference by replicate: the base's loss, or that of the prior mixture."""
    reference: dict[str, Floats] = {}
    assumed = [name for name in fitted.models if name not in data.base]
    for name, model in fitted.models.items():
        before = data.base.get(name)
        count = model.count
        reference[name] = model.losses(natural_d[None])[:, 0] if before is None else np.full(count, before)
    if assumed and (question.general or limits.protect):
        which = "given" if limits.given_prior(region.domains) else "mean trained"
        warnings.append(
            f"no base rows (tokens 0): increments and tolerances are over the losses predicted at the {which} mixture"
        )
    protected = []
    if question.general:
        limit_b = reference["general"] + question.tolerance
        protected.append(Protected("general", fitted.models["general"], limit_b))
    for name, allowed in limits.protect.items():
        key = f"protect:{name}"
        protected.append(Protected(name, fitted.models[key], reference[key] + allowed))
    names, weights_t = ["target"], np.ones(1)
    single = [f"target:{n}" for n in question.target if f"target:{n}" in fitted.models]
    if single:
        names, weights_t = single, np.full(len(single), 1 / len(single))
    if limits.kl > 0:
        absent = [d for d, share in zip(region.domains, natural_d, strict=True) if share <= 0]
        if absent:
            warnings.append(f"--kl keeps {', '.join(absent)} near 0: the prior has none of it")
    return (
        Problem(
            region,
            tuple(fitted.models[n] for n in names),
            weights_t,
            np.stack([reference[n] for n in names], axis=1),
            tuple(protected),
            limits.worst_case and bool(single),
            natural_d,
            limits.kl,
        ),
        reference,
    )


def what_binds(problem: Problem, found: Search, answer: Optimum) -> tuple[Binding, list[str]]:
    """What keeps the target from falling further, and everything that the mixture lies at, in words."""
    said = []
    near = 1e-4 * found.scale(0) + 1e-6
    for guarded in problem.protected:
        loss = float(guarded.model.losses(answer.shares_d[None])[0, 0])
        if loss > guarded.limit_b[0] - near:
            said.append(f"{guarded.name} loss at its tolerance")
    bounds = problem.region.binding(answer.q_q)
    words = {
        "bound": "at its bound",
        "repetition": "at the most that repetition allows",
        "trained": "at the end of its trained range",
        "": "",
    }
    said += [f"{name} {words[why]} ({value:.3g})" for name, why, value in bounds]
    if problem.protected and said and "tolerance" in said[0]:
        free = optimise(replace(problem.only(0), protected=()), _without_limits(found), 0, [answer.q_q])
        if free.value < answer.value - near:
            return "tolerance", said
    whys = {why for _, why, _ in bounds}
    if "repetition" in whys:
        return "repetition", said
    return ("bound" if whys else "none"), said


def _without_limits(found: Search) -> Search:
    """The search of the fit without its limits."""
    return Search(found.q_mq, found.objective_bm[:1], np.full_like(found.excess_bm[:1], -np.inf))


def outside_hull(shares_d: Floats, trained_kd: Floats) -> float:
    """How much of a mixture (total variation, 0 to 1) no mixture of the trained ones can make."""
    k, d = trained_kd.shape
    # min 1's  s.t.  sum_k a_k trained_k + s >= p,  sum a = 1,  a, s >= 0: what is short is the total variation.
    result = linprog(
        np.concatenate([np.zeros(k), np.ones(d)]),
        A_ub=np.concatenate([-trained_kd.T, -np.eye(d)], axis=1),
        b_ub=-shares_d,
        A_eq=np.concatenate([np.ones(k), np.zeros(d)])[None],
        b_eq=[1.0],
        method="highs",
    )
    return float(result.fun) if result.success else 1.0
