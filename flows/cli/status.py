"""`mixlaw status`: how far a study is."""

from __future__ import annotations

from dataclasses import replace

from flows.cli.options import Json, StudyFile
from flows.orchestration.remote_status import remote_status
from flows.pipeline.status import status_of
from flows.pipeline.workspace import Workspace
from flows.reports import tables
from flows.reports.status import print_status


def status(study: StudyFile, as_json: Json = False) -> None:
    """Show progress: runs done, running, failed and left; speed and cost."""
    workspace = Workspace.load(study)
    state = status_of(workspace)
    if not workspace.folder.path.exists():
        state = replace(state, elsewhere=remote_status(workspace.study.study, workspace.root))
    if as_json:
        tables.print_json(state.to_json())
    else:
        print_status(state, tables.console())
