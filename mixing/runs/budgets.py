"""The budgets at which runs can be compared: those that almost all of them have reached."""

from __future__ import annotations

import numpy as np

from mixing.arrays import Floats

ALMOST_ALL = 0.8
"""A budget is common that at least this part as many runs have reached as the budget with the most."""


def common_budgets(tokens_n: Floats) -> Floats:
    """The budgets (tokens) that almost all runs reached, ascending; one entry of `tokens_n` per run and budget."""
    budgets, counts = np.unique(tokens_n, return_counts=True)
    return np.asarray(budgets[counts >= ALMOST_ALL * counts.max()], dtype=float)
