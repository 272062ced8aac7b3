"""Losses predicted at any mixture, with intervals: at the answer, at baselines, along the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixing.arrays import Floats
from mixing.decision import baselines
from mixing.decision.constraints import Constraints
from mixing.decision.mixture.bounds import by_domain
from mixing.decision.mixture.loss_models import FittedLosses
from mixing.decision.mixture.objective import Problem
from mixing.decision.mixture.safe import within
from mixing.decision.mixture.slices import Slice
from mixing.decision.question import Question
from mixing.decision.record import ROLES, Baseline, Interval, Prediction


def widened(values_b: Floats, value: float, level: float) -> Interval:
    """The central interval of replicates, made to hold the best estimate."""
    low, high = np.quantile(values_b, [(1 - level) / 2, (1 + level) / 2])
    return min(float(low), value), max(float(high), value)


@dataclass(frozen=True)
class Predictor:
    """The general and the target loss at a mixture, and their increments over `reference` (nats)."""

    question: Question
    data: Slice
    fitted: FittedLosses
    reference: dict[str, Floats]
    rng: np.random.Generator

    @property
    def roles(self) -> list[str]:
        return [role for role in ROLES if role in self.fitted.models]

    def at(self, shares_d: Floats, new_run: bool = True) -> dict[str, Prediction]:
        """With `new_run` the interval is that of a run to be trained there, else that of the law."""
        single = {name: name.partition(":")[2] for name in self.fitted.models if ":" in name}
        keys = {role: role for role in self.roles} | {
            name: shown for name, shown in single.items() if shown not in ROLES
        }
        return {shown: self._one(name, shares_d, new_run) for name, shown in keys.items()}

    def both(self, shares_d: Floats) -> tuple[Prediction, Prediction]:
        predicted = self.at(shares_d, new_run=False)
        return predicted["general"], predicted["target"]

    def _one(self, role: str, shares_d: Floats, new_run: bool) -> Prediction:
        values_b = self.fitted.models[role].losses(shares_d[None])[:, 0]
        value = float(values_b[0])
        if new_run:
            scatter_b = self.fitted.scatter[role]
            values_b = np.append(value, values_b[1:] + scatter_b * self.rng.standard_normal(len(scatter_b)))
        interval = widened(values_b[1:], value, self.question.level)
        return Prediction(value, interval, value - float(self.reference[role][0]))


def usual_mixtures(
    predictor: Predictor, problem: Problem, natural: dict[str, float], known: bool, constraints: Constraints
) -> list[Baseline]:
    """Common mixtures and the best trained run, scored by the same laws, with the chance of every tolerance there."""
    question, data, domains = predictor.question, predictor.data, predictor.data.domains
    epochs = {domain: constraints.epochs(domain) for domain in domains} if constraints.supply else {}
    mixes = baselines.usual(
        domains, question.target_domains, natural, known, constraints.supply or None, question.tokens, epochs
    )
    losses = dict(zip(data.names, data.losses_vn, strict=True))
    if data.follows:  # runs are elsewhere: the laws say which is best where the question is
        losses = {n: m.losses(data.points.shares_nd)[0] for n, m in predictor.fitted.models.items()}
    allowed_n = np.ones(len(data.runs), dtype=bool)
    if "general" in losses:
        kept_n = losses["general"] <= float(predictor.reference["general"][0]) + question.tolerance
        allowed_n = kept_n if kept_n.any() else losses["general"] <= losses["general"].min()
    at = int(np.where(allowed_n, losses["target"], np.inf).argmin())
    mixes[f"best run ({data.runs[at]})"] = by_domain(domains, data.points.shares_nd[at])
    shares_md = np.array([[mix[d] for d in domains] for mix in mixes.values()])
    within_m = within(problem, shares_md) if problem.loss_constraints else [None] * len(mixes)
    return [
        Baseline(name, mix, predictor.at(shares_d), None if part is None else float(part))
        for (name, mix), shares_d, part in zip(mixes.items(), shares_md, within_m, strict=True)
    ]
