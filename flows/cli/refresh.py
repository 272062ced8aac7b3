"""`mixlaw refresh`: run a study again where its corpora have changed enough."""

from __future__ import annotations

import sys

from flows.cli.options import Json, StudyFile, TokenChange, Workers
from flows.orchestration.corpus_changes import compare_with_published
from flows.orchestration.local_run import run_study
from flows.pipeline.workspace import Workspace
from flows.reports import tables
from flows.reports.progress import bar
from flows.reports.study import closing, outcome_json
from flows.settings.locks import check_free


def refresh(
    study: StudyFile, token_change: TokenChange = 0.05, workers: Workers = None, as_json: Json = False
) -> None:
    """Run a study again if a change in its corpora can move its mix.

    It reads the corpora and says what has changed since the mix was registered. Where no change matters, nothing
    is trained.
    """
    workspace = Workspace.open(study)
    check_free(workspace.folder)
    with bar("catalogue") as report:
        change = compare_with_published(workspace, token_change, report)
    summary = {"changed": change.changed, "reasons": list(change.reasons), "notes": list(change.notes)}
    summary |= {"since_version": change.version or None}
    sentence = f"{workspace.study.study}: {change.sentence()}"
    if not change.changed:
        if as_json:
            tables.print_json(summary)
        else:
            print(sentence)
        return
    print(sentence, file=sys.stderr)
    result = run_study(study, workspace.root, workers, note=change.sentence())
    if as_json:
        tables.print_json({**summary, **outcome_json(result)})
    else:
        closing(result, tables.console())
    if result.unpublished is not None:
        raise result.unpublished
