"""`mixlaw catalog`: what the corpora hold."""

from __future__ import annotations

import json

from flows.cli.options import Json, StudyFile
from flows.pipeline.prepare import catalogue
from flows.pipeline.workspace import Workspace
from flows.reports import tables
from flows.reports.corpora import print_catalog
from flows.reports.progress import bar


def catalog(study: StudyFile, as_json: Json = False) -> None:
    """Summarise the corpora: documents, sizes, duplicates, flaws."""
    workspace = Workspace.open(study)
    with bar("catalogue") as report:
        corpora = catalogue(workspace, report)
    if as_json:
        tables.print_json({**json.loads(corpora.to_json()), "warnings": list(corpora.warnings())})
    else:
        print_catalog(workspace.study.study, corpora, tables.console())
