"""Which target shares to train next, with two sources: those that shrink the interval of the critical ratio most."""

from __future__ import annotations

import numpy as np

from mixing.decision.constraints import Constraints
from mixing.decision.critical_ratio.decider import RatioFits, decide_ratio
from mixing.decision.critical_ratio.model_sizes import sizes_to_extend
from mixing.decision.critical_ratio.telling_ratios import APART, HIGHEST, LOWEST, telling_ratios
from mixing.decision.question import Question
from mixing.decision.result import Decision
from mixing.errors import InputError
from mixing.runs.table import RunTable


def next_ratios(
    table: RunTable, question: Question, k: int, *, constraints: Constraints | None = None, seed: int = 0
) -> list[float]:
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
    decision = decide_ratio(table, question, constraints, seed=seed, curves=False)
    trained, fits = trained_ratios(table, question), decision.fits()
    if decision.status == "decided" and isinstance(fits, RatioFits):
        chosen = telling_ratios(fits.evidence.at(question), question, trained, k)
        if chosen:
            return [one.ratio for one in chosen]
    return _spread(decision, trained, k)


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
