"""From finished runs to the decision: fits and decision, in files and in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from flows.pipeline import analysis_cache
from flows.pipeline.analysis_cache import CachedAnalysis, CachedDecision
from flows.pipeline.files import runs_table, tables_of, write_json
from flows.pipeline.leakage import held_against_leaks
from flows.pipeline.prepare import corpus_warnings, supply_of
from flows.pipeline.question import StudyQuestion
from flows.pipeline.workspace import Workspace
from mixing.decision.critical_ratio.left_out import LeftOut
from mixing.decision.question import Question
from mixing.decision.result import Decision
from mixing.runs.readers import ANSWERED
from mixing.runs.suspicious import without_suspicious
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


@dataclass(frozen=True)
class Recommendation:
    """What the swarm recommends by itself: a run at its share confirms it, or does not."""

    question: Question
    decision: Decision


def recommend(workspace: Workspace, store: TokenStore, run_ids: Sequence[str]) -> Recommendation:
    """Decide on the swarm's runs, and write `decision.json`, which holds until the confirmation is there.

    Raises InputError or MixlawError as `mixing` does; a decision may be "not yet".
    """
    folder = workspace.folder
    table, asked, key = _question(workspace, store, run_ids)
    cached = analysis_cache.load(folder.swarm_answer, key, CachedDecision)
    if cached is None:
        cached = CachedDecision(key, asked.decide(table))
        analysis_cache.save(folder.swarm_answer, cached)
    write_json(folder.decision, _with_doubts_of_corpora(workspace, cached.decision).to_dict())
    return Recommendation(asked.question, cached.decision)


def analyse(
    workspace: Workspace, store: TokenStore, run_ids: Sequence[str], decision: Decision | None = None
) -> Analysis:
    """Fit and decide on these runs, and write `fits.json` and `decision.json`; `decision` is theirs where it is known.

    The run store lists them, so that `mixlaw decide` on it answers from the same runs. An analysis of the same
    runs, question and code is taken from the cache. Raises InputError or MixlawError as `mixing` does; a decision
    may be "not yet".
    """
    folder = workspace.folder
    table, asked, key = _question(workspace, store, run_ids)
    cached = analysis_cache.load(folder.answer, key, CachedAnalysis)
    if cached is None:
        cached = _fit_and_decide(key, table, asked, decision)
        analysis_cache.save(folder.answer, cached)
    answer = held_against_leaks(workspace, store, cached.decision, table, run_ids)
    write_json(folder.fits, cached.fits.to_dict())
    decision = _with_doubts_of_corpora(workspace, answer)
    write_json(folder.decision, decision.to_dict())
    return Analysis(table, asked.question, cached.fits, decision, cached.left_out)


def _with_doubts_of_corpora(workspace: Workspace, decision: Decision) -> Decision:
    """The decision, whose warnings then tell what of the corpora was left out."""
    new = [warning for warning in corpus_warnings(workspace) if warning not in decision.warnings]
    return replace(decision, warnings=[*decision.warnings, *new]) if new else decision


def _question(
    workspace: Workspace, store: TokenStore, run_ids: Sequence[str]
) -> tuple[RunTable, StudyQuestion, str]:
    """The table of these runs, which the run store then lists, the study's question, and the key of its answer."""
    runs = workspace.folder.runs
    table = runs_table(runs, run_ids)
    asked = StudyQuestion.of(workspace.study, supply_of(store), table)
    write_json(runs / ANSWERED, {"runs": list(run_ids)})
    return table, asked, analysis_cache.key_of(tables_of(runs, run_ids), asked)


def _fit_and_decide(
    key: str, table: RunTable, asked: StudyQuestion, decision: Decision | None
) -> CachedAnalysis:
    from mixing.fitting.fit import fit

    question = asked.question
    losses = {"general": question.general, "target": question.target}
    fits = fit(table, losses, tokens=question.tokens, target_domains=question.target_domains)
    decision = decision or asked.decide(table)
    left_out = _held_out_predictions(decision, table, asked.seed)
    return CachedAnalysis.of(key, fits, decision, left_out)


def _held_out_predictions(decision: Decision, table: RunTable, seed: int) -> list[LeftOut]:
    """What the decision uses, on every inner mixture that its fit had not seen: curves of one ratio, or a law."""
    from mixing.decision.critical_ratio.left_out import left_out
    from mixing.fitting.cross_validation import held_out_predictions
    from mixing.laws import LAWS

    question = decision.question
    usable = without_suspicious(table, [*question.general, *question.target])
    law, data = LAWS.get(decision.law), question.increments(usable)
    if law is not None and law.needs_target_share:
        return left_out(data, question, seed)
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
