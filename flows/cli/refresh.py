"""`mixlaw refresh`: run a study again where its corpora have changed enough."""

from __future__ import annotations

import sys

from flows.cli.options import Json, StudyFile, TokenChange, Workers
from flows.orchestration.corpus_changes import look
from flows.orchestration.local_flow import run_study
from flows.pipeline.prepare import Job
from flows.reports import tables
from flows.reports.progress import bar
from flows.reports.study import closing, outcome_json
from flows.settings import home


def refresh(
    study: StudyFile, token_change: TokenChange = 0.05, workers: Workers = None, as_json: Json = False
) -> None:
    """Run a study again, if changes of its corpora can move its mix.

    It reads the corpora and says what has changed since the mix was registered. Where no change matters, nothing
    is trained.
    """
    job = Job.load(study)
    _ = job.sources
    job.create_folder()
    running = home.owner(job.folder)
    if running is not None:
        raise home.already_running(job.folder, running)
    with bar("catalogue") as report:
        change = look(job, token_change, report)
    summary = {"changed": change.changed, "reasons": list(change.reasons), "notes": list(change.notes)}
    summary |= {"since_version": change.version or None}
    sentence = f"{job.study.study}: {change.sentence()}"
    if not change.changed:
        if as_json:
            tables.print_json(summary)
        else:
            print(sentence)
        return
    print(sentence, file=sys.stderr)
    outcome = run_study(study, home.home(), workers, note=change.sentence())
    if as_json:
        tables.print_json({**summary, **outcome_json(outcome)})
    else:
        closing(outcome, tables.console())
    if outcome.unpublished is not None:
        raise outcome.unpublished
