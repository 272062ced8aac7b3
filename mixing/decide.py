"""The critical mixture ratio with an interval (Gu et al. 2024, laws.md 1.1): two tests, and which one binds.

With two sources, or several of fixed proportions within each role, one number is decided: the target share R.
(tolerance)     the general loss at the asked budget is within the tolerance of the base model's
(turning point) F = dL_target + LAMBDA * dL_general falls at that budget: the general loss has turned down
The critical ratio is the largest R that passes both. The whole chain is recomputed in every replicate of a bootstrap
over runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixing.critical import CriticalRatios, critical_ratios, critical_times
from mixing.crossval import cross_validate
from mixing.decision import Baseline, CurvePoint, Decision, Interval, Prediction, Question, Test
from mixing.errors import MixlawError
from mixing.fit import Solution, fit, refit
from mixing.laws import CMR, CMR_MONOTONE, RATIO
from mixing.laws.base import Floats, NotApplicable, Points
from mixing.laws.cmr import Cmr, fit_cmr_law
from mixing.noise import Noise, estimate
from mixing.question import Increments, increments
from mixing.runs import SHARE, RunTable

REPLICATES = 400
LAMBDA = 1000.0
"""Weight of the general loss in F; published range 100 to 7000."""
REFUSE_BEYOND, WARN_BEYOND = 4.0, 2.0
"""How far past the largest trained budget a law is followed at all, and without a warning."""
WIDE = 0.05
"""An interval wider than +- this deserves a warning, and more runs."""


@dataclass(frozen=True)
class Replicated:
    """A fitted law, its bootstrap replicates, and the noise that made them."""

    law: Cmr
    solution: Solution
    replicates: Solution
    noise: Noise

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """value_n and value_bn."""
        return self.solution.predict(points)[0], self.replicates.predict(points)


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
    corpora's own proportions to the baselines. Raises InputError for a table without base rows or without the
    named validation sets, MixlawError where shares within a role vary between runs.
    """
    data = increments(table, question)
    inside = data.points.usable_interior()
    within = _composition(data, table.domains, question)
    trained = sorted({round(float(r), 9) for r in data.points.target_n[inside]})
    warnings = [*table.warnings, *data.warnings]
    if (~inside).any():
        warnings.append("runs at target share 0 or 1 are outside the ratio law and were left out of its fit")
    reach = question.tokens / float(data.points.tokens_n.max())
    if len(trained) < 3:
        reason = f"{len(trained)} target shares strictly between 0 and 1 were trained and the ratio law has three parameters"
        return _not_yet(question, data, within, warnings, reason, _spread(trained))
    if reach > REFUSE_BEYOND:
        reason = (
            f"{question.tokens:,} tokens are {reach:.1f} times the largest trained budget; "
            f"train proxies for at least {int(question.tokens / REFUSE_BEYOND):,} tokens"
        )
        return _not_yet(question, data, within, warnings, reason, trained)
    if reach > WARN_BEYOND:
        warnings.append(f"the budget asked about is {reach:.1f} times the largest trained one: extrapolated")

    points = data.points.take(inside)
    rng = np.random.default_rng([seed, 0xB007])
    try:
        general = _replicated(points, data.general_n[inside], reach, rng)
        target = _replicated(points, data.target_n[inside], reach, rng)
    except NotApplicable as error:
        return _not_yet(question, data, within, warnings, f"the law cannot be fitted: {error}", trained)
    found = critical_ratios(general, target, points, question.tokens, question.tolerance, LAMBDA)
    return _answer(
        question, data, within, trained, general, target, points, found, warnings, max_shares, natural_shares
    )
