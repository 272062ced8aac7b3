"""A question and its constraints as an optimisation: losses to fit, the prior, the problem, and what binds it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.optimize import linprog

from mixing.arrays import Floats
from mixing.decision.binding import Binding
from mixing.decision.constraints import Constraints
from mixing.decision.mixture.bounds import Region
from mixing.decision.mixture.loss_models import FittedLosses
from mixing.decision.mixture.objective import LossConstraint, Problem
from mixing.decision.mixture.optimiser import Candidates, Optimum, optimise
from mixing.decision.mixture.slices import Slice
from mixing.decision.question import Question
from mixing.errors import InputError
from mixing.runs.table import RunTable


def named_losses(
    table: RunTable, question: Question, constraints: Constraints
) -> dict[str, dict[str, float]]:
    """The losses that are fitted: general, target, every protected one, and each target where the worst counts."""
    losses: dict[str, dict[str, float]] = {"target": question.target}
    if question.general:
        losses["general"] = question.general
    losses |= {f"protect:{name}": {name: 1.0} for name in constraints.protect}
    if constraints.worst_case and len(question.target) > 1:
        losses |= {f"target:{name}": {name: 1.0} for name, weight in question.target.items() if weight > 0}
    if not math.isfinite(constraints.kl) or constraints.kl < 0:
        raise InputError(f"kl {constraints.kl}: not a weight", "Give 0 or more, e.g. 0.05")
    for weights in losses.values():
        table.weighted(weights)
    return losses


def natural_shares(
    domains: tuple[str, ...], data: Slice, constraints: Constraints
) -> tuple[dict[str, float], bool]:
    """The prior mixture, and whether it was given rather than the mean of what was trained."""
    constraints.check(domains)
    prior = constraints.natural_shares(domains)
    total = math.fsum(prior.values())
    if prior and total <= 0:
        raise InputError("prior: all shares are 0", "Give at least one domain a share")
    if prior:
        return {d: prior.get(d, 0.0) / total for d in domains}, True
    mean_d = data.mixtures_kd.mean(0)
    return dict(zip(domains, (mean_d / mean_d.sum()).tolist(), strict=True)), False


def references(data: Slice, fitted: FittedLosses, natural_d: Floats) -> dict[str, Floats]:
    """Each loss's reference by replicate, reference_b: the base model's, or that predicted at the prior mixture."""
    reference = {}
    for name, model in fitted.models.items():
        before = data.base.get(name)
        predicted = before is None
        reference[name] = model.losses(natural_d[None])[:, 0] if predicted else np.full(model.count, before)
    return reference


def problem_doubts(
    question: Question, constraints: Constraints, data: Slice, fitted: FittedLosses, natural_d: Floats
) -> list[str]:
    """Warnings about references that are predicted, and about a prior that leaves domains out."""
    warnings = []
    absent = [d for d, share in zip(data.domains, natural_d, strict=True) if share <= 0]
    if constraints.kl > 0 and absent:
        warnings.append(f"kl keeps {', '.join(absent)} near 0: the prior has none of it")
    return warnings


def build_problem(
    question: Question,
    constraints: Constraints,
    region: Region,
    fitted: FittedLosses,
    reference: dict[str, Floats],
    natural_d: Floats,
) -> Problem:
    """The optimisation: targets by weight (or the worst), loss constraints, and the pull towards the prior."""
    loss_constraints = []
    if question.general:
        limit_b = reference["general"] + question.tolerance
        loss_constraints.append(LossConstraint("general", fitted.models["general"], limit_b))
    for name, allowed in constraints.protect.items():
        key = f"protect:{name}"
        loss_constraints.append(LossConstraint(name, fitted.models[key], reference[key] + allowed))
    names, weights_t = ["target"], np.ones(1)
    single = [f"target:{n}" for n in question.target if f"target:{n}" in fitted.models]
    if single:
        names, weights_t = single, np.full(len(single), 1 / len(single))
    return Problem(
        region,
        tuple(fitted.models[n] for n in names),
        weights_t,
        np.stack([reference[n] for n in names], axis=1),
        tuple(loss_constraints),
        constraints.worst_case and bool(single),
        natural_d,
        constraints.kl,
    )


def active_constraints(
    problem: Problem, candidates: Candidates, answer: Optimum
) -> tuple[Binding, list[str]]:
    """What keeps the target from falling further, and every constraint that is active at the mixture, in words."""
    words = []
    near = 1e-4 * candidates.scale(0) + 1e-6
    for constraint in problem.loss_constraints:
        loss = float(constraint.model.losses(answer.shares_d[None])[0, 0])
        if loss > constraint.limit_b[0] - near:
            words.append(f"{constraint.name} loss at its tolerance")
    bounds = problem.region.binding(answer.q_q)
    names = {
        "bound": "at its bound",
        "repetition": "at the most that repetition allows",
        "trained": "at the end of its trained range",
        "": "",
    }
    words += [f"{name} {names[why]} ({value:.3g})" for name, why, value in bounds]
    if problem.loss_constraints and words and "tolerance" in words[0]:
        free = optimise(
            replace(problem.replicate(0), loss_constraints=()), candidates.unconstrained(), 0, [answer.q_q]
        )
        if free.value < answer.value - near:
            return "tolerance", words
    whys = {why for _, why, _ in bounds}
    if "repetition" in whys:
        return "repetition", words
    return ("bound" if whys else "none"), words


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
