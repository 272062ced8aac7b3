"""`mixlaw status`: how far a study is."""

from __future__ import annotations

from dataclasses import replace

from flows.cli.options import Json, StudyFile
from flows.orchestration.remote_status import seen_elsewhere
from flows.pipeline.prepare import Job
from flows.pipeline.status import print_status, status_of
from flows.reports import tables


def status(study: StudyFile, as_json: Json = False) -> None:
    """Show progress: runs done, running, failed and left; speed and cost."""
    job = Job.load(study)
    state = status_of(job)
    if not job.folder.path.exists():
        state = replace(state, elsewhere=seen_elsewhere(job.study.study))
    if as_json:
        tables.print_json(state.to_json())
    else:
        print_status(state, tables.console())
