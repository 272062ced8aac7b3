"""Losses that move as a measure of which more is better: nothing is recommended on them until somebody says what they
are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from mixing.arrays import Floats
from mixing.decision.question import Question

FEWEST_SHARES = 3
FOLLOWS = 0.5
"""Rank correlation from which a loss is taken to rise with the share of its own text."""
LARGEST_BASE = 6.0
"""A base model of more nats per token has hardly learnt a language."""


@dataclass(frozen=True)
class Values:
    """What is known of the loss of a role at one budget.

    `level_n` are the losses of runs, `own_n` the shares of the text that they are of (empty: not known), `base` is the
    base model's loss (None: not known).
    """

    level_n: Floats
    own_n: Floats
    base: float | None = None


def direction_doubt(question: Question, of_roles: Mapping[str, Values]) -> str | None:
    """Why the losses of the roles may be measures of which more is better, in words; None where nothing says so.

    A target loss that rose in every run over the base's is one sign; for values between 0 and 1, where accuracies lie,
    it is another that a loss rises with the share of its own text. Sets whose metric is said are not asked about.
    """
    for role, values in _unsaid(question, of_roles):
        sets = ", ".join(getattr(question, role))
        hint = f"is higher better here? Say what {sets} holds: metric accuracy if so, metric loss if these are losses"
        if role == "target" and values.base is not None and (values.level_n > values.base).all():
            rise_n = values.level_n - values.base
            return f"the target got worse at every trained share (by {rise_n.min():.3g} to {rise_n.max():.3g}): {hint}"
        if _like_accuracies(values) and _rank_correlation(values.own_n, values.level_n) >= FOLLOWS:
            return f"values lie between 0 and 1, and the {role} rises with the share of its own text: {hint}"
    return None


def unit_doubts(question: Question, of_roles: Mapping[str, Values]) -> list[str]:
    """Warnings about values that may be no nats, although nothing says that they are not."""
    doubts = []
    for role, values in _unsaid(question, of_roles):
        sets = ", ".join(getattr(question, role))
        if _like_accuracies(values):
            doubts.append(
                f"the values of {sets} lie between 0 and 1 and are taken for losses, of which less is better: say "
                "metric accuracy, bits_per_byte or loss"
            )
        elif values.base is not None and values.base > LARGEST_BASE:
            doubts.append(
                f"the base model has {values.base:.3g} on {sets}, much for nats per token: if that is a perplexity, "
                "say metric perplexity"
            )
    return doubts


def _unsaid(question: Question, of_roles: Mapping[str, Values]) -> list[tuple[str, Values]]:
    """The roles of which nobody said what their sets hold, the target first."""
    roles = [role for role in ("target", "general") if role in of_roles and len(of_roles[role].level_n)]
    return [
        (role, of_roles[role])
        for role in roles
        if not any(name in question.metrics for name in getattr(question, role))
    ]


def _like_accuracies(values: Values) -> bool:
    return float(values.level_n.min()) >= 0 and float(values.level_n.max()) <= 1


def _rank_correlation(one_n: Floats, other_n: Floats) -> float:
    """Spearman's; 0 where there are too few different shares, or none is known."""
    if len(np.unique(one_n.round(9))) < FEWEST_SHARES or np.ptp(other_n) <= 0:
        return 0.0
    pair = pl.DataFrame({"one": one_n, "other": other_n})
    return float(pair.select(pl.corr("one", "other", method="spearman")).item())
