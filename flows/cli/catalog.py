"""`mixlaw catalog`: what the corpora hold."""

from __future__ import annotations

import json

from flows.cli.options import Json, StudyFile
from flows.pipeline.prepare import Job, catalogue
from flows.reports import tables
from flows.reports.corpora import print_catalog
from flows.reports.progress import bar


def catalog(study: StudyFile, as_json: Json = False) -> None:
    """Summarise the corpora: documents, sizes, duplicates, flaws."""
    job = Job.load(study)
    _ = job.sources
    with bar("catalogue") as report:
        corpora = catalogue(job, report)
    if as_json:
        tables.print_json(json.loads(corpora.to_json()))
    else:
        print_catalog(job.study.study, corpora, tables.console())
