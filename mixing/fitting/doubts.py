"""What to doubt about the law chosen for a loss, in words."""

from __future__ import annotations

import numpy as np

from mixing.fitting.engine import Solution, identifiability
from mixing.fitting.mixture_effect import no_effect
from mixing.fitting.selection import Candidate, Choice
from mixing.runs.points import Points

ILL_CONDITIONED = 1e6
"""A law whose standardised columns are this close to dependent has parameters that mean nothing one by one."""


def choice_doubts(name: str, choice: Choice | None, points: Points) -> list[str]:
    """What to doubt about the law chosen for a loss."""
    if choice is None:
        return [
            f"{name}: too few mixtures to cross-validate; the constant is all that can be said: "
            "train at least 4 different ones"
        ]
    warnings = []
    fitted, law = choice.candidate.fitted, choice.candidate.name
    if not choice.mixture_matters:
        warnings.append(no_effect(name, choice.by_luck))
    elif not choice.candidate.ranks_mixtures:
        warnings.append(
            f"{name}: no law beats the constant on held-out mixtures: train mixtures further apart, or longer"
        )
    if not isinstance(fitted, Solution) or fitted.law.baseline:
        return warnings
    condition, at_bounds = identified(fitted, points)
    if at_bounds:
        warnings.append(
            f"{name}: {law} ended with {', '.join(at_bounds[:5])} on a bound: read its predictions, not its parameters"
        )
    if condition > ILL_CONDITIONED:
        warnings.append(
            f"{name}: the parameters of {law} are not identified one by one (condition {condition:.1g}); its "
            "predictions among the trained mixtures are"
        )
    return warnings


def unfinished(name: str, chosen: Candidate) -> list[str]:
    """A warning where SciPy ran out of steps at the published fit."""
    if chosen.optimum is None or chosen.optimum.status > 0:
        return []
    return [
        f"{name}: the fit of {chosen.name} had not converged after {chosen.optimum.evaluations} evaluations "
        f"(optimality {chosen.optimum.optimality:.1g}): read its predictions, not its parameters"
    ]


def rows_searched(name: str, searched_n: np.ndarray) -> list[str]:
    """A note where a large table was not searched whole."""
    if searched_n.all():
        return []
    return [
        f"{name}: laws were compared on {searched_n.sum():,} of {len(searched_n):,} rows; the chosen formula is fitted "
        "to all"
    ]


def not_comparable(name: str, test: Points, points: Points) -> list[str]:
    """A warning where the test runs are of other sizes: losses of another size lie on another level."""
    if test.params_n is None or points.params_n is None:
        return []
    other_p = np.setdiff1d(test.params_n, points.params_n)
    other_p = other_p[np.isfinite(other_p)]
    if not len(other_p):
        return []
    sizes, fitted = (
        ", ".join(f"{int(size):,}" for size in sizes_p) for sizes_p in (other_p, np.unique(points.params_n))
    )
    return [
        f"{name}: test runs of {sizes} parameters, laws fitted to {fitted}: only ranks (Spearman) are comparable "
        "across sizes, not errors"
    ]


def identified(solution: Solution, points: Points) -> tuple[float, tuple[str, ...]]:
    """The condition number of a law on the rows it may use, and its parameters on their bounds."""
    return identifiability(solution, points.take(solution.law.usable(points)))
