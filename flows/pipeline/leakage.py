"""Leakage of validation sets into training text: looked for before any training, and held against the decision."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from pydantic import TypeAdapter, ValidationError

from flows.pipeline.workspace import Workspace
from mixing.atomic import replace_files
from mixing.corpora.documents import survey_source
from mixing.corpora.leakage import Leakage, leakage
from mixing.corpora.progress import Report
from mixing.decision.clean_text import Leaked, against_clean_text
from mixing.runs.clean_twins import clean_twins
from mixing.runs.heldout import windows_file

if TYPE_CHECKING:
    from mixing.decision.result import Decision
    from mixing.runs.table import RunTable
    from proxies.data.token_store import TokenStore


@dataclass(frozen=True)
class _Cached:
    """Under the key of the corpora, as `survey_source` tells them apart, and the held-out fraction."""

    key: str
    leakage: Leakage


_SCHEMA = TypeAdapter(_Cached)


def leaks(workspace: Workspace, report: Report | None = None) -> Leakage:
    """Twins of the study's held-out text in its training text; looked for again only where a corpus changed.

    Raises InputError for text that cannot be read.
    """
    fraction = workspace.study.heldout.fraction
    texts = (*workspace.sources, *workspace.evals)
    surveys = [(source.name, survey_source(source).fingerprint) for source in texts]
    key = hashlib.sha256(repr((fraction, surveys)).encode()).hexdigest()
    path = workspace.folder.leakage
    known = _load(path)
    if known is None or known.key != key:
        known = _Cached(key, leakage(workspace.sources, fraction, workspace.evals, on_progress=report))
        replace_files({path: _SCHEMA.dump_json(known)})
    return known.leakage


def _load(path: Path) -> _Cached | None:
    try:
        return _SCHEMA.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def held_against_leaks(
    workspace: Workspace, store: TokenStore, decision: Decision, table: RunTable, runs: Sequence[str]
) -> Decision:
    """The decision with what leaks, by the run nearest to its mixture; the first of `runs` is the base.

    Nothing is said where leakage was not looked for.
    """
    known = _load(workspace.folder.leakage)
    if known is None:
        return decision
    found = known.leakage
    # Documents are known by their number, which is another's where other text was tokenised.
    heldout = {name: domain.heldout for name, domain in store.domains.items()} | store.evals
    same = [name for name, split in heldout.items() if found.documents.get(name) == split.documents]
    budget = workspace.study.target_run_tokens
    tokens = dict.fromkeys(same, 0.0)
    for leak in found.leaks:
        if leak.eval in tokens:
            tokens[leak.eval] += leak.dose * decision.shares.get(leak.domain, 0.0) * budget
    windows = _windows(workspace.folder.runs, [runs[0], *_nearest(table, decision.shares, runs[1:])])
    repeated = {name: found.repeated[name] for name in same}
    twins = clean_twins(windows, runs[0], repeated) if runs[0] in windows else []
    leaked = {name: Leaked(found.part(name), tokens[name]) for name in same}
    return against_clean_text(decision, twins, leaked)


def _nearest(table: RunTable, shares: dict[str, float], runs: Sequence[str]) -> list[str]:
    """The run whose mixture differs least from `shares`, of equals the last: the confirmation. None without a run."""
    mixtures = {run: mixture.as_dict() for run, mixture in table.mixtures().items()}

    def distance(run: str) -> float:
        return sum(abs(share - shares.get(domain, 0.0)) for domain, share in mixtures[run].items())

    last_first = [run for run in reversed(runs) if run in mixtures]
    return sorted(last_first, key=distance)[:1]


def _windows(folder: Path, runs: Sequence[str]) -> dict[str, pl.DataFrame]:
    paths = {run: windows_file(folder, run) for run in runs}
    return {run: pl.read_parquet(path, glob=False) for run, path in paths.items() if path.exists()}
