"""MLflow as a view of a study: rebuilt from the run store, as often as wanted, without duplicates.

One experiment per study; a parent run per study run (the same question on the same data is the same parent);
a child per proxy; the mix spec registered under the study's name, the one in use with the alias `champion`.
Every write is idempotent: a child is found by its run id, metrics carry the time the run was done, and a model
version is added only when what it says has changed. No pickles: code, JSON, YAML and PNG.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flows.settings.home import first_use
from flows.settings.logging import redacted
from flows.tracking.promotion import Rule
from flows.tracking.pyfunc_writer import SPEC_NAME, write_model
from flows.tracking.registry import (
    CHAMPION,
    HISTORY_TAG,
    REASON_TAG,
    aliases,
    answering,
    challenge,
    crown,
    reason,
)
from flows.tracking.sqlite import create_database
from mixing.errors import InputError, MixlawError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

SPEC_FOLDER = "mix"

RUN_TAG = "mixlaw.run"
KIND_TAG = "mixlaw.kind"
DIGEST_TAG = "mixlaw.digest"
STUDY_TAG = "mixlaw.study"
QUESTION_TAG = "mixlaw.question"
"""Of a version of the mix: the identity of the newest study file that it answers."""
CORPORA_TAG = "mixlaw.corpora"
"""Of a version that knows what its corpora held."""
NEWEST_TAG = "mixlaw.newest"
"""Of the experiment: the parent run of the newest study run, whose children are all of its runs."""
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"

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


@dataclass(frozen=True)
class Point:
    """A value of one metric at a token count."""

    metric: str
    tokens: int
    value: float


@dataclass(frozen=True)
class RunRecord:
    """One finished (or failed) run as MLflow shows it. `finished` is seconds since the epoch."""

    run: str
    name: str
    kind: Literal["base", "proxy", "confirmation"]
    params: Mapping[str, object]
    points: Sequence[Point]
    finished: float
    seconds: float
    failure: str = ""

    def digest(self) -> str:
        return _digest(
            self.run, self.name, self.kind, sorted(self.params.items()), list(self.points), self.failure
        )


@dataclass(frozen=True)
class StudyRecord:
    """What the parent run shows: `note` is a page, `summary` a line; `started` is seconds since the epoch.

    `params` are of the question, which stays; `tags` and `metrics` of the answer, which newer code may change.
    `artifacts` maps a path in MLflow to a file. `question` is the identity of the study file.
    """

    name: str
    identity: str
    title: str
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    note: str
    summary: str
    started: float = 0.0
    question: str = ""
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """Where it went. `version` is None where there is no spec; `changed` says that a version was added.

    `alias` is the version's (champion, challenger, or empty), `verdict` why a new one has it.
    """

    experiment: str
    run: str
    version: str | None
    changed: bool
    alias: str = ""
    verdict: str = ""


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _refused(error: Exception) -> bool:
    """Whether MLflow answered, and would answer the same again: what it was sent, or who sent it, is at fault."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    if isinstance(error, MlflowException):
        status = int(error.get_http_status_code())
    else:
        status = getattr(getattr(error, "response", None), "status_code", 500)
    if isinstance(error, SQLAlchemyError):
        return not isinstance(error, OperationalError)
    return 400 <= status < 500 and status not in BUSY


def _complete(known: Run, digest: str) -> bool:
    """Whether MLflow has all of the run that `digest` is of."""
    return known.data.tags.get(DIGEST_TAG) == digest and known.info.status in ("FINISHED", "FAILED")


def _metric_name(name: str) -> str:
    """With a `_` for what MLflow takes in no name."""
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
            if _refused(error):
                raise MixlawError(
                    f"MLflow at {redacted(self.uri)} refused the results ({reason(error)})",
                    "They are safe in the run store. Waiting will not help: change what MLflow names, then "
                    "`mixlaw run` sends them",
                ) from error
            raise MixlawError(
                f"MLflow at {redacted(self.uri)} did not take the results ({reason(error)})",
                "They are safe in the run store: when MLflow can take them again, `mixlaw run` sends them",
            ) from error

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.study)
        if found is None:
            local = not self.uri.startswith(("http://", "https://", "databricks"))
            folder = self.root / "mlartifacts" / self.study
            location = folder.as_uri() if local else None
            return str(self.client.create_experiment(self.study, location, EXPERIMENT_TAGS))
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

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
        beside: Callable[[Path], None] | None = None,
    ) -> Published:
        """Bring MLflow in line with the run store; what is there already is left alone.

        `spec_digest` identifies what the spec says, without its provenance: an equal one adds no version.
        `rule` says whether a new version takes over from the champion (None: it does). `beside` writes further
        files into the folder of a new version.
        """
        parent = self.open(study)
        with self._one_line():
            known = {run.data.tags[RUN_TAG]: run for run in self._runs() if RUN_TAG in run.data.tags}
            # SQLite takes one writer; a server answers several at once.
            with ThreadPoolExecutor(WRITERS if self.uri.startswith("http") else 1) as pool:
                for _ in pool.map(lambda record: self._child(record, parent, known.get(record.run)), runs):
                    pass
            self._parent(study, parent)
            self.client.set_experiment_tag(self.experiment, NEWEST_TAG, parent)
            if spec is None:
                return Published(self.experiment, parent, None, False)
            version, changed = self._register(study, spec, spec_digest, parent, beside)
            verdict = self._rank(version, changed, rule)
            alias = next((a for a, v in aliases(self.client, self.study).items() if v == version), "")
        return Published(self.experiment, parent, version, changed, alias, verdict)

    def _child(self, record: RunRecord, parent: str, known: Run | None) -> None:
        """Three calls for a new run: with thousands, calls are what publishing costs."""
        from mlflow.entities import Metric, Param, RunTag

        digest = record.digest()
        if known is not None and _complete(known, digest):
            if known.data.tags.get(PARENT_TAG) != parent:
                # The same proxy serves a changed question: it is shown under the newest one.
                self.client.set_tag(known.info.run_id, PARENT_TAG, parent)
            return
        end = int(record.finished * 1000)
        if known is None:
            tags = {RUN_TAG: record.run, KIND_TAG: record.kind, PARENT_TAG: parent}
            start = end - int(record.seconds * 1000)
            known = self.client.create_run(self.experiment, start_time=start, tags=tags, run_name=record.name)
        run = known.info.run_id
        if known.info.run_name != record.name:
            self.client.update_run(run, name=record.name)
        said = {PARENT_TAG: parent, DIGEST_TAG: digest}
        if record.failure:
            said[NOTE_TAG] = f"Failed: {record.failure}"
        logged = known.data.params
        self.client.log_batch(
            run,
            metrics=[Metric(_metric_name(p.metric), p.value, end, p.tokens) for p in record.points],
            params=[Param(key, str(value)) for key, value in record.params.items() if key not in logged],
            tags=[RunTag(key, value) for key, value in said.items()],
        )
        # Last: only a run that has ended is there in full.
        self.client.set_terminated(run, "FAILED" if record.failure else "FINISHED", end_time=end)

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
        files = {name: _file_digest(path) for name, path in sorted(study.artifacts.items())}
        said = [sorted(part.items()) for part in (study.params, study.tags, study.metrics, files)]
        digest = _digest(study.title, study.note, *said)
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

    def _register(
        self,
        study: StudyRecord,
        spec: Path,
        digest: str,
        parent: str,
        beside: Callable[[Path], None] | None,
    ) -> tuple[str, bool]:
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_registered_model(self.study)
        except MlflowException:
            self.client.create_registered_model(
                self.study,
                description=f"The mix that the study {self.study} recommends; `{CHAMPION}` is the one in use.",
            )
        versions = self.client.search_model_versions(f"name='{self.study}'", max_results=1000)
        newest = max(versions, key=lambda version: int(version.version), default=None)
        if newest is not None and newest.tags.get(DIGEST_TAG) == digest:
            self.client.set_model_version_tag(self.study, newest.version, QUESTION_TAG, study.question)
            if beside is not None and CORPORA_TAG not in newest.tags:
                self._add(newest, beside)
            return str(newest.version), False
        # Each version has its own folder: an older version keeps what it said.
        number = int(newest.version) + 1 if newest else 1
        folder = f"{SPEC_FOLDER}/v{number}-{digest[:8]}"
        with tempfile.TemporaryDirectory() as scratch:
            write_model(spec, Path(scratch) / "model")
            if beside is not None:
                beside(Path(scratch) / "model")
            self.client.log_artifacts(parent, str(Path(scratch) / "model"), folder)
        source = f"{self.client.get_run(parent).info.artifact_uri}/{folder}"
        tags = {DIGEST_TAG: digest, QUESTION_TAG: study.question}
        if beside is not None:
            tags[CORPORA_TAG] = "1"
        version = self.client.create_model_version(
            self.study, source, parent, tags=tags, description=study.summary
        )
        return str(version.version), True

    def _add(self, version: ModelVersion, beside: Callable[[Path], None]) -> None:
        """What an earlier version of Mixlaw did not write beside the spec."""
        with tempfile.TemporaryDirectory() as scratch:
            beside(Path(scratch))
            folder = f"{SPEC_FOLDER}/{str(version.source).rstrip('/').rpartition('/')[2]}"
            self.client.log_artifacts(version.run_id, scratch, folder)
        self.client.set_model_version_tag(self.study, version.version, CORPORA_TAG, "1")

    def _rank(self, version: str, new: bool, rule: Rule | None) -> str:
        """Make a version champion or challenger; why, where that is new.

        A kill may have come between a version and its rank, so one without a rank is ranked now.
        """
        known = aliases(self.client, self.study)
        champion = known.get(CHAMPION)
        if champion is None:
            return crown(self.client, self.study, version, "first", "the first mix").reason
        if not new and (version in known.values() or self._ranked(version)):
            return ""
        if rule is None:
            return crown(self.client, self.study, version, "rule", "every new mix is champion").reason
        with tempfile.TemporaryDirectory() as folder:
            verdict = rule(fetch_spec(f"models:/{self.study}/{champion}", self.uri, Path(folder)))
        if verdict.promote:
            return crown(self.client, self.study, version, "rule", verdict.reason).reason
        challenge(self.client, self.study, version, verdict.reason)
        return verdict.reason

    def _ranked(self, version: str) -> bool:
        tags = self.client.get_model_version(self.study, version).tags
        return any(tag.startswith((HISTORY_TAG, REASON_TAG)) for tag in tags)


def fetch_spec(address: str, uri: str, folder: Path) -> Path:
    """Download the spec of `models:/NAME@champion` (or `models:/NAME/VERSION`) into `folder`.

    Raises InputError where there is no such mix, MixlawError where MLflow does not answer.
    """
    match = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/([0-9]+))", address)
    if match is None:
        raise InputError(
            f"{address}: not the address of a mix", f"Write models:/NAME@{CHAMPION} or models:/NAME/VERSION"
        )
    name, alias, version = match.groups()
    with answering(address, uri) as client:
        from mlflow.artifacts import download_artifacts

        # By hand: `download_artifacts` looks an alias up in the process's registry, not in that of `uri`.
        if alias:
            version = client.get_model_version_by_alias(name, alias).version
        source = client.get_model_version_download_uri(name, version)
        found = Path(download_artifacts(source, dst_path=str(folder), tracking_uri=uri, registry_uri=uri))
    return found / SPEC_NAME if found.is_dir() else found
