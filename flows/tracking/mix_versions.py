"""The registered model of a study: its versions are mix specs, ranked as champion and challenger."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flows.pipeline.publication import CHAMPION
from flows.tracking.promotion import Rule
from flows.tracking.pyfunc_writer import SPEC_NAME, write_model
from flows.tracking.records import CORPORA_TAG, DIGEST_TAG, QUESTION_TAG, StudyRecord
from flows.tracking.registry import (
    HISTORY_TAG,
    REASON_TAG,
    aliases,
    answering,
    make_challenger,
    make_champion,
)
from mixing.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SPEC_FOLDER = "mix"
"""Folder of the artifacts of a study run that has its mix specs."""
WriteBeside = Callable[[Path], None]
"""Writes further files into the folder of a new version."""


def register_version(
    client: MlflowClient, study: StudyRecord, spec: Path, digest: str, parent: str, beside: WriteBeside | None
) -> tuple[str, bool]:
    """Add a version with this spec, unless the newest one says the same by its `digest`.

    `parent` is the MLflow run that it comes from. Returns the version, and whether it was added.
    """
    from mlflow.exceptions import MlflowException

    name = study.name
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(
            name, description=f"The mix that the study {name} recommends; `{CHAMPION}` is the one in use."
        )
    versions = client.search_model_versions(f"name='{name}'", max_results=1000)
    newest = max(versions, key=lambda version: int(version.version), default=None)
    if newest is not None and newest.tags.get(DIGEST_TAG) == digest:
        client.set_model_version_tag(name, newest.version, QUESTION_TAG, study.question)
        if beside is not None and CORPORA_TAG not in newest.tags:
            _add_files(client, newest, beside)
        return str(newest.version), False
    # Each version has its own folder: an older version keeps what it said.
    number = int(newest.version) + 1 if newest else 1
    folder = f"{SPEC_FOLDER}/v{number}-{digest[:8]}"
    with tempfile.TemporaryDirectory() as scratch:
        write_model(spec, Path(scratch) / "model")
        if beside is not None:
            beside(Path(scratch) / "model")
        client.log_artifacts(parent, str(Path(scratch) / "model"), folder)
    source = f"{client.get_run(parent).info.artifact_uri}/{folder}"
    tags = {DIGEST_TAG: digest, QUESTION_TAG: study.question}
    if beside is not None:
        tags[CORPORA_TAG] = "1"
    version = client.create_model_version(name, source, parent, tags=tags, description=study.summary)
    return str(version.version), True


def _add_files(client: MlflowClient, version: ModelVersion, beside: WriteBeside) -> None:
    """Add the files beside the spec that an earlier version of Mixlaw did not write."""
    with tempfile.TemporaryDirectory() as scratch:
        beside(Path(scratch))
        folder = f"{SPEC_FOLDER}/{str(version.source).rstrip('/').rpartition('/')[2]}"
        client.log_artifacts(str(version.run_id), scratch, folder)
    client.set_model_version_tag(version.name, version.version, CORPORA_TAG, "1")


def rank_version(
    client: MlflowClient,
    uri: str,
    name: str,
    version: str,
    new: bool,
    rule: Rule | None,
    held_back: str = "",
) -> str:
    """Make a version champion or challenger; returns why, where it was not ranked before.

    `rule` says whether it takes over from the champion (None: it does); with `held_back`, a reason, it is challenger
    whatever the rule says, even where there is no champion yet. A kill may have come between a version
    and its rank, so one without a rank is ranked now.
    """
    ranked = aliases(client, name)
    champion = ranked.get(CHAMPION)
    known = not new and (version in ranked.values() or _was_ranked(client, name, version))
    if held_back and not known:
        make_challenger(client, name, version, held_back)
        return held_back
    if champion is None and not held_back:
        return make_champion(client, name, version, "first", "the first mix").reason
    if known or champion is None:
        return ""
    if rule is None:
        return make_champion(client, name, version, "rule", "every new mix is champion").reason
    with tempfile.TemporaryDirectory() as folder:
        verdict = rule(fetch_spec(f"models:/{name}/{champion}", uri, Path(folder)))
    if verdict.promote:
        return make_champion(client, name, version, "rule", verdict.reason).reason
    make_challenger(client, name, version, verdict.reason)
    return verdict.reason


def _was_ranked(client: MlflowClient, name: str, version: str) -> bool:
    tags = client.get_model_version(name, version).tags
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
        path = Path(download_artifacts(source, dst_path=str(folder), tracking_uri=uri, registry_uri=uri))
    return path / SPEC_NAME if path.is_dir() else path
