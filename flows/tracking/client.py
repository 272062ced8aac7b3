"""MLflow as a view of a study: rebuilt from the run store, as often as wanted, without duplicates.

One experiment per study; a parent run per study run (the same question on the same data is the same parent);
a child per proxy; the mix spec registered under the study's name, the one in use with the alias `champion`.
Every write is idempotent: a child is found by its run id, metrics carry the time the run was done, and a model
version is added only when what it says has changed. No pickles: code, JSON, YAML and PNG.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from flows.pipeline.publication import Publication
from flows.settings.locks import first_use
from flows.settings.logging import redacted
from flows.tracking.mix_versions import WriteBeside, rank_version, register_version
from flows.tracking.promotion import Rule
from flows.tracking.records import (
    DIGEST_TAG,
    KIND_TAG,
    NEWEST_TAG,
    NOTE_TAG,
    PARENT_TAG,
    RUN_TAG,
    STUDY_TAG,
    RunRecord,
    StudyRecord,
    digest_of,
    file_digest,
)
from flows.tracking.registry import aliases, check_file_store, reason
from flows.tracking.sqlite import create_database, follow_moved_home
from mixing.errors import MixlawError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT_TAGS = {
    # Without it MLflow's UI opens on its pages for chat applications.
    "mlflow.experimentKind": "custom_model_development",
    NOTE_TAG: "A Mixlaw study: one run per study run, named by its answer; + shows its proxies, by target share.",
}

BUSY = (408, 429)
"""HTTP statuses of a server that may take it later."""

WRITERS = 4
"""Calls to an MLflow server at the same time."""

BATCH = 1000
"""MLflow takes at most so many metrics in one call."""


def _refused(error: Exception) -> bool:
    """Whether MLflow answered, and would answer the same again: what it was sent, or who sent it, is at fault."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    if isinstance(error, MlflowException):
        status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    else:
        status = getattr(getattr(error, "response", None), "status_code", 500)
    if isinstance(error, SQLAlchemyError):
        return not isinstance(error, OperationalError)
    return 400 <= status < 500 and status not in BUSY


def _complete(run: Run, digest: str) -> bool:
    """Whether MLflow has all of the run record with this digest."""
    return run.data.tags.get(DIGEST_TAG) == digest and run.info.status in ("FINISHED", "FAILED")


def _metric_name(name: str) -> str:
    """The name with a `_` for each character that MLflow does not take."""
    return re.sub(r"[^A-Za-z0-9_\-. :/]", "_", name)


class Tracker:
    """A study's place in one MLflow. Methods raise MixlawError, one line, where MLflow does not answer."""

    def __init__(self, uri: str, root: Path, study: str) -> None:
        self.uri, self.root, self.study = uri, root, study
        with self._one_line():
            from mlflow import MlflowClient

            with contextlib.ExitStack() as alone:
                if uri.startswith("sqlite:///"):
                    database = Path(uri.removeprefix("sqlite:///"))
                    alone.enter_context(first_use(database))
                    create_database(database)
                    follow_moved_home(uri)
                self.client: MlflowClient = MlflowClient(tracking_uri=uri, registry_uri=uri)
                self.experiment = self._experiment()

    @contextlib.contextmanager
    def _one_line(self) -> Iterator[None]:
        # Imported here, not above: MLflow takes two seconds, and most commands never need it.
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
            check_file_store(error, self.study, self.uri)
            if _refused(error):
                raise MixlawError(
                    f"MLflow at {redacted(self.uri)} refused the results ({reason(error)})",
                    "The results are safe in the run store. Waiting will not help: change what MLflow names, then "
                    "`mixlaw run` sends them",
                ) from error
            raise MixlawError(
                f"MLflow at {redacted(self.uri)} did not take the results ({reason(error)})",
                "The results are safe in the run store; once MLflow is reachable, `mixlaw run` sends them",
            ) from error

    def _experiment(self) -> str:
        experiment = self.client.get_experiment_by_name(self.study)
        if experiment is None:
            local = not self.uri.startswith(("http://", "https://", "databricks"))
            folder = self.root / "mlartifacts" / self.study
            location = folder.as_uri() if local else None
            return str(self.client.create_experiment(self.study, location, EXPERIMENT_TAGS))
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _runs(self) -> list[Run]:
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            runs.extend(page)
            token = page.token
            if not token:
                return runs

    def open(self, study: StudyRecord) -> str:
        """The parent run of this study run, found or created: its MLflow run id."""
        with self._one_line():
            for run in self._runs():
                if run.data.tags.get(STUDY_TAG) == study.identity:
                    return str(run.info.run_id)
            tags = {STUDY_TAG: study.identity, KIND_TAG: "study"}
            start = int(study.started * 1000) or None
            run = self.client.create_run(self.experiment, start_time=start, tags=tags, run_name=study.title)
            return str(run.info.run_id)

    def publish(
        self,
        study: StudyRecord,
        runs: Sequence[RunRecord],
        spec: Path | None,
        spec_digest: str,
        rule: Rule | None = None,
        held_back: str = "",
        beside: WriteBeside | None = None,
    ) -> Publication:
        """Bring MLflow in line with the run store; what is there already is left alone.

        `spec_digest` identifies what the spec says, without its provenance: an equal one adds no version.
        `rule` says whether a new version takes over from the champion (None: it does), `held_back` why it does not,
        whatever the rule says. `beside` writes further
        files into the folder of a new version.
        """
        parent = self.open(study)
        with self._one_line():
            logged = {run.data.tags[RUN_TAG]: run for run in self._runs() if RUN_TAG in run.data.tags}
            # SQLite takes one writer; a server answers several at once.
            with ThreadPoolExecutor(WRITERS if self.uri.startswith("http") else 1) as pool:
                for _ in pool.map(lambda record: self._child(record, parent, logged.get(record.run)), runs):
                    pass
            self._parent(study, parent)
            self.client.set_experiment_tag(self.experiment, NEWEST_TAG, parent)
            if spec is None:
                return Publication(self.uri, self.experiment, parent, None, False)
            version, new = register_version(self.client, study, spec, spec_digest, parent, beside)
            verdict = rank_version(self.client, self.uri, self.study, version, new, rule, held_back)
            alias = next((a for a, v in aliases(self.client, self.study).items() if v == version), "")
        return Publication(self.uri, self.experiment, parent, version, new, alias, verdict)

    def _child(self, record: RunRecord, parent: str, run: Run | None) -> None:
        """Three calls for a new run: with thousands, calls are what publishing costs."""
        from mlflow.entities import Metric, Param, RunTag

        digest = record.digest()
        if run is not None and _complete(run, digest):
            if run.data.tags.get(PARENT_TAG) != parent:
                # The same proxy serves a changed question: it is shown under the newest one.
                self.client.set_tag(run.info.run_id, PARENT_TAG, parent)
            return
        end = int(record.finished * 1000)
        if run is None:
            marks = {RUN_TAG: record.run, KIND_TAG: record.kind, PARENT_TAG: parent}
            start = end - int(record.seconds * 1000)
            run = self.client.create_run(self.experiment, start_time=start, tags=marks, run_name=record.name)
        run_id, logged = run.info.run_id, run.data.params
        if run.info.run_name != record.name:
            self.client.update_run(run_id, name=record.name)
        tags = {PARENT_TAG: parent, DIGEST_TAG: digest}
        if record.failure:
            tags[NOTE_TAG] = f"Failed: {record.failure}"
        self.client.log_batch(
            run_id,
            metrics=[Metric(_metric_name(p.metric), p.value, end, p.tokens) for p in record.points],
            params=[Param(key, str(value)) for key, value in record.params.items() if key not in logged],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        # Last: only a run that has ended is there in full.
        self.client.set_terminated(run_id, "FAILED" if record.failure else "FINISHED", end_time=end)

    def _log(
        self, run: str, params: Mapping[str, object], metrics: Sequence[tuple[str, float, int]], time_ms: int
    ) -> None:
        from mlflow.entities import Metric, Param

        logged = self.client.get_run(run).data.params
        new = [Param(key, str(value)) for key, value in params.items() if key not in logged]
        if new:
            self.client.log_batch(run, params=new)
        entities = [Metric(_metric_name(key), value, time_ms, step) for key, value, step in metrics]
        for start in range(0, len(entities), BATCH):
            self.client.log_batch(run, metrics=entities[start : start + BATCH])

    def _parent(self, study: StudyRecord, parent: str) -> None:
        files = {name: file_digest(path) for name, path in sorted(study.artifacts.items())}
        contents = [sorted(part.items()) for part in (study.params, study.tags, study.metrics, files)]
        digest = digest_of(study.title, study.note, *contents)
        run = self.client.get_run(parent)
        if run.data.tags.get(DIGEST_TAG) == digest and run.info.status == "FINISHED":
            return
        # Of one metric at one step MLflow shows the one that was logged last.
        self._log(
            parent,
            study.params,
            [(name, value, 0) for name, value in study.metrics.items()],
            int(time.time() * 1000),
        )
        self.client.update_run(parent, name=study.title)
        for tag, text in {**study.tags, NOTE_TAG: study.note}.items():
            self.client.set_tag(parent, tag, text)
        for name, path in study.artifacts.items():
            self._upload(parent, path, name)
        self.client.set_terminated(parent)
        self.client.set_tag(parent, DIGEST_TAG, digest)

    def _upload(self, run: str, path: Path, name: str) -> None:
        """Log a file under the name it is to have in MLflow (`figures/law.png`)."""
        target = Path(name)
        folder = None if target.parent == Path() else str(target.parent)
        if path.name == target.name:
            self.client.log_artifact(run, str(path), folder)
            return
        with tempfile.TemporaryDirectory() as scratch:
            self.client.log_artifact(run, shutil.copy(path, Path(scratch) / target.name), folder)
