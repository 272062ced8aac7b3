"""`mixlaw run`: the whole study."""

from __future__ import annotations

from flows.cli.options import Json, StudyFile, Workers
from flows.orchestration.local_run import run_study
from flows.reports import tables
from flows.reports.study import closing, outcome_json


def run(study: StudyFile, workers: Workers = None, as_json: Json = False) -> None:
    """Run the whole study; finished runs are kept.

    Ends with the decision. After any interruption run it again: it goes on where it stopped.
    """
    result = run_study(study, None, workers)
    if as_json:
        tables.print_json(outcome_json(result))
    else:
        closing(result, tables.console())
    if result.unpublished is not None:
        raise result.unpublished
