"""Which target shares to train next, with two sources: those that shrink the interval of the critical ratio most.

The draws behind an interval are an ensemble of what may be true: the critical ratio and the general loss at any share
vary together over it. A run at a share would take from the ratio's variance what its loss explains, given that run's
own scatter; the share that takes most comes first, then the best besides it
(`mixing.decision.mixture.next_mixtures.most_telling`).
"""

from __future__ import annotations

import numpy as np

from mixing.decision.critical_ratio.decider import decide_ratio
from mixing.decision.critical_ratio.evidence import evidence_of
from mixing.decision.critical_ratio.model_sizes import sizes_to_extend
from mixing.decision.mixture.next_mixtures import most_telling
from mixing.decision.question import Question
from mixing.decision.result import Decision
from mixing.errors import InputError
from mixing.runs.table import RunTable

LOWEST, HIGHEST = 0.02, 0.98
APART = 0.01
"""Shares closer than this are one mixture."""
NEAR = 3.0
"""Draws farther than this many widths of the interval from the answer say little of what a run near it tells."""


def next_ratios(table: RunTable, question: Question, k: int, *, seed: int = 0) -> list[float]:
    """k target shares to train next, the most telling first; fewer where no more lie apart.

    Where no ratio can be decided yet, the shares that would let a law be fitted, then the middles of the widest gaps.
    Raises InputError for k < 1, for a size that was not trained, and as `decide_ratio` does.
    """
    if k < 1:
        raise InputError(f"{k} runs to plan next", "Ask for at least one")
    if sizes_to_extend(table, question) is not None:
        raise InputError(
            f"{table.source}: no runs of {question.params} parameters",
            "Plan the next runs at a size of the table",
        )
    believed = evidence_of(table, question, seed)
    trained = trained_ratios(table, question)
    if believed is None or not trained[0] / 2 <= believed.one <= (1 + trained[-1]) / 2:
        return _spread(decide_ratio(table, question, seed=seed, curves=False), trained, k)
    ratio_b = np.clip(believed.both_b, trained[0] / 2, (1 + trained[-1]) / 2)
    edges = [(1 - question.level) / 2, (1 + question.level) / 2]
    low, high = np.quantile(ratio_b, edges)
    width = max(float(high - low), 1e-3)
    candidates_m = np.arange(LOWEST, HIGHEST + 1e-9, APART)
    near_b = np.abs(ratio_b - believed.one) <= NEAR * width
    _, losses_bm = believed.now["general"].at(candidates_m)
    if near_b.sum() < 20 or float(np.ptp(ratio_b[near_b])) <= 0:
        return _spread(decide_ratio(table, question, seed=seed, curves=False), trained, k)
    chosen, _ = most_telling(
        ratio_b[near_b][:, None],
        losses_bm[near_b][None],
        np.array([believed.now["general"].scatter()]),
        k,
    )
    return [round(float(candidates_m[m]), 4) for m in chosen]


def trained_ratios(table: RunTable, question: Question) -> list[float]:
    """The different target shares of the runs, rising."""
    shares = {
        round(sum(mixture.share(domain) for domain in question.target_domains), 9)
        for mixture in table.mixtures().values()
    }
    return sorted(shares)


def _spread(decision: Decision, trained: list[float], k: int) -> list[float]:
    """The runs that a decision asks for itself, then the middles of the widest gaps."""
    ratios = [sum(mix[domain] for domain in decision.question.target_domains) for mix in decision.next_runs]
    chosen = [round(float(np.clip(r, LOWEST, HIGHEST)), 4) for r in ratios][:k]
    while len(chosen) < k:
        taken = sorted({0.0, *trained, *chosen, 1.0})
        widths = np.diff(taken)
        at = int(widths.argmax())
        if widths[at] < 2 * APART:
            break
        chosen.append(round(float(taken[at] + widths[at] / 2), 4))
    return chosen
