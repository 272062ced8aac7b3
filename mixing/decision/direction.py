"""Losses that move as a measure of which more is better: nothing is recommended on them until somebody says what they
are."""

from __future__ import annotations

import numpy as np

from mixing.arrays import Floats
from mixing.decision.question import Question

FEWEST_SHARES = 3
MOSTLY = 0.8
"""Rank correlation from which a loss is taken to follow the target share."""


def direction_doubt(
    question: Question, share_n: Floats, rise_vn: dict[str, Floats], level_vn: dict[str, Floats]
) -> str | None:
    """Why the losses of the roles may be measures of which more is better, in words; None where nothing says so.

    Rows are runs at one budget: `share_n` their target shares, `rise_vn` by role their increments over the base (nats,
    empty where there is no base) and `level_vn` their losses. A target loss that rose at every share is one sign; for
    values between 0 and 1, where accuracies lie, it is another that the target loss rises with the target share, or
    the general loss falls with it. Sets whose metric is declared are not asked about.
    """
    for role in ("target", "general"):
        if role not in level_vn or any(name in question.metrics for name in getattr(question, role)):
            continue
        sets = ", ".join(getattr(question, role))
        hint = f"is higher better here? Say what {sets} holds: metric accuracy if so, metric loss if these are losses"
        rise_n, level_n = rise_vn.get(role, np.empty(0)), level_vn[role]
        if role == "target" and len(rise_n) and (rise_n > 0).all():
            return f"the target got worse at every trained share (by {rise_n.min():.3g} to {rise_n.max():.3g}): {hint}"
        inside = len(level_n) and float(level_n.min()) >= 0 and float(level_n.max()) <= 1
        follows = _rank_correlation(share_n, level_n) * (1 if role == "target" else -1)
        if inside and follows >= MOSTLY:
            moved = "target rises" if role == "target" else "general falls"
            return f"values lie between 0 and 1, and the {moved} with the share of target text: {hint}"
    return None


def _rank_correlation(one_n: Floats, other_n: Floats) -> float:
    """Spearman's; 0 where there are too few different shares."""
    if len(np.unique(one_n.round(9))) < FEWEST_SHARES or np.ptp(other_n) <= 0:
        return 0.0
    one, other = (
        np.argsort(np.argsort(values_n, kind="stable")).astype(float) for values_n in (one_n, other_n)
    )
    return float(np.corrcoef(one, other)[0, 1])
