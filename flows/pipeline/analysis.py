"""From finished runs to the decision: fits and decision, in files and in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flows.pipeline import analysis_cache
from flows.pipeline.analysis_cache import CachedAnalysis
from flows.pipeline.files import runs_table, tables_of, write_json
from flows.pipeline.prepare import supply_of
from flows.pipeline.question import StudyQuestion
from flows.pipeline.workspace import Workspace
from mixing.decision.critical_ratio.left_out import LeftOut
from mixing.decision.question import Question
from mixing.decision.result import Decision
from mixing.runs.readers import ANSWERED
from mixing.runs.table import RunTable

if TYPE_CHECKING:
    from mixing.fitting.report import FitReport
    from proxies.data.token_store import TokenStore


@dataclass(frozen=True)
class Analysis:
    """What the runs say: their table, the laws fitted on it, and the decision.

    `left_out` are the runs' increments as what the decision uses predicts them from the other mixtures.
    """

    table: RunTable
    question: Question
    fits: FitReport
    decision: Decision
    left_out: list[LeftOut]


def analyse(
    workspace: Workspace, store: TokenStore, run_ids: Sequence[str], *, cache: Path | None = None
) -> Analysis:
    """Fit and decide on these runs, and write `fits.json` and `decision.json`; `cache` is the folder's `answer`.

    The run store lists them, so that `mixlaw decide` on it answers from the same runs. An analysis of the same
    runs, question and code is taken from the cache. Raises InputError or MixlawError as `mixing` does; a decision
    may be "not yet".
    """
    folder = workspace.folder
    table = runs_table(folder.runs, run_ids)
    study_question = StudyQuestion.of(workspace.study, supply_of(store), table)
    key = analysis_cache.key_of(tables_of(folder.runs, run_ids), study_question)
    write_json(folder.runs / ANSWERED, {"runs": list(run_ids)})
    cache = cache or folder.answer
    cached = analysis_cache.load(cache, key)
    if cached is None:
        cached = _fit_and_decide(key, table, study_question)
        analysis_cache.save(cache, cached)
    write_json(folder.fits, cached.fits.to_dict())
    write_json(folder.decision, cached.decision.to_dict())
    return Analysis(table, study_question.question, cached.fits, cached.decision, cached.left_out)


def _fit_and_decide(key: str, table: RunTable, study_question: StudyQuestion) -> CachedAnalysis:
    from mixing.fitting.fit import fit

    question = study_question.question
    losses = {"general": question.general, "target": question.target}
    fits = fit(table, losses, tokens=question.tokens, target_domains=question.target_domains)
    decision = study_question.decide(table)
    left_out = _held_out_predictions(decision, table, study_question.seed)
    return CachedAnalysis.of(key, fits, decision, left_out)


def _held_out_predictions(decision: Decision, table: RunTable, seed: int) -> list[LeftOut]:
    """What the decision uses, on every inner mixture that its fit had not seen: curves of one ratio, or a law."""
    from mixing.decision.critical_ratio.left_out import left_out
    from mixing.fitting.cross_validation import held_out_predictions
    from mixing.laws import LAWS

    law, data = LAWS.get(decision.law), decision.question.increments(table)
    if law is not None and law.needs_target_share:
        return left_out(data, decision.question, seed)
    inside = data.points.interior()
    if law is None or not inside.any():
        return []
    if law.one_budget:
        inside &= data.points.tokens_n == data.points.tokens_n[inside].max()
    points = data.points.take(inside)
    losses_vn = np.stack([data.general_n[inside], data.target_n[inside]])
    held_out = held_out_predictions(law, points, losses_vn, "leave-mixture-out")
    if held_out is None:
        return []
    predicted_vn, mask_n = held_out
    runs = [run for run, interior in zip(data.runs_n, inside, strict=True) if interior]
    last_n = mask_n & (points.tokens_n == points.tokens_n.max())
    return [
        LeftOut(runs[at], role, float(losses_vn[v, at]), float(predicted_vn[v, at]))
        for v, role in enumerate(("general", "target"))
        for at in np.flatnonzero(last_n)
    ]
