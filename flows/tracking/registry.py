"""Versions of a mix in MLflow's registry: which is champion, which challenger, and how that came about.

Every change of champion is a tag of the version that became it, named by its moment, so the history is never
rewritten and can be rolled back.
"""

from __future__ import annotations

import contextlib
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.pipeline.publication import CHALLENGER, CHAMPION
from flows.settings.logging import redacted
from flows.tracking.sqlite import follow_moved_home
from mixing.errors import InputError, MixlawError

if TYPE_CHECKING:
    from mlflow import MlflowClient

HISTORY_TAG = "mixlaw.champion."
REASON_TAG = "mixlaw.verdict"
UNAUTHORIZED = 401
ALLOW_FILE_STORE = "MLFLOW_ALLOW_FILE_STORE"
MESSAGE = 300
"""Characters that are shown of another library's message."""

By = Literal["first", "rule", "hand", "rollback"]


@dataclass(frozen=True)
class Promotion:
    """A version became champion: when (UTC), by what, why, and which version was it before (empty: none)."""

    at: str
    version: str
    by: By
    reason: str
    before: str


@dataclass(frozen=True)
class RegistryStatus:
    """The versions of a mix, newest first, with what each says; empty strings where there is no such alias."""

    name: str
    champion: str
    challenger: str
    versions: dict[str, str]
    history: tuple[Promotion, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "history": [asdict(promotion) for promotion in self.history]}


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Alias to version."""
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}


def make_champion(client: MlflowClient, name: str, version: str, by: By, reason: str) -> Promotion:
    """Make a version champion, and note it."""
    ranked = aliases(client, name)
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    promotion = Promotion(moment, version, by, reason, ranked.get(CHAMPION, ""))
    note = json.dumps({"by": by, "reason": reason, "before": promotion.before})
    # The note first: a champion without one could not be rolled back.
    client.set_model_version_tag(name, version, HISTORY_TAG + moment, note)
    client.set_registered_model_alias(name, CHAMPION, version)
    if ranked.get(CHALLENGER) == version:
        client.delete_registered_model_alias(name, CHALLENGER)
    return promotion


def make_challenger(client: MlflowClient, name: str, version: str, reason: str) -> None:
    """Make a version challenger; `reason` is why it is not champion."""
    client.set_model_version_tag(name, version, REASON_TAG, reason)
    client.set_registered_model_alias(name, CHALLENGER, version)


def registry_status(name: str, uri: str) -> RegistryStatus:
    """Where the versions of a mix stand. Raises InputError for a mix that MLflow does not have."""
    with answering(name, uri) as client:
        return _registry_status(client, name)


def promote(name: str, uri: str, version: str | None = None, reason: str = "") -> Promotion:
    """Make a version (default: the challenger) champion by hand.

    Raises InputError where there is no such version, or it is champion already.
    """
    with answering(name, uri) as client:
        now = _registry_status(client, name)
        if version is None and not now.challenger:
            raise InputError(
                f"{name}: there is no challenger; version {now.champion} is champion",
                f"Name a version: mixlaw promote {name} VERSION (there are {_list(now)})",
            )
        chosen = version or now.challenger
        if chosen not in now.versions:
            raise InputError(f"{name}: no version {chosen}", f"There are {_list(now)}")
        if chosen == now.champion:
            raise InputError(f"{name}: version {chosen} is champion already", "Nothing to do")
        return make_champion(client, name, chosen, "hand", reason or "promoted by hand")


def roll_back(name: str, uri: str, reason: str = "") -> Promotion:
    """Make the version that was champion before the present one champion again.

    Raises InputError where the history knows none.
    """
    with answering(name, uri) as client:
        now = _registry_status(client, name)
        promotions = [
            promotion
            for promotion in now.history
            if promotion.version == now.champion and promotion.by != "rollback"
        ]
        if not promotions or not promotions[-1].before:
            raise InputError(
                f"{name}: version {now.champion or 'none'} is champion, and none was before it",
                f"Name a version: mixlaw promote {name} VERSION (there are {_list(now)})",
            )
        return make_champion(
            client, name, promotions[-1].before, "rollback", reason or f"rolled back from {now.champion}"
        )


def _registry_status(client: MlflowClient, name: str) -> RegistryStatus:
    ranked = aliases(client, name)
    registered = client.search_model_versions(f"name='{name}'", max_results=1000)
    versions = {
        str(v.version): v.description or "" for v in sorted(registered, key=lambda v: -int(v.version))
    }
    promotions = [
        Promotion(tag.removeprefix(HISTORY_TAG), str(version.version), **json.loads(text))
        for version in registered
        for tag, text in version.tags.items()
        if tag.startswith(HISTORY_TAG)
    ]
    history = tuple(sorted(promotions, key=lambda promotion: promotion.at))
    return RegistryStatus(name, ranked.get(CHAMPION, ""), ranked.get(CHALLENGER, ""), versions, history)


def _list(now: RegistryStatus) -> str:
    return ", ".join(now.versions) or "none"


def reason(error: Exception) -> str:
    """What went wrong between us and MLflow, in a few words: the system's, where a connection failed."""
    system = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
    if system is not None:
        return system.group(1).strip()
    if (status := _status(error)) is not None:
        return f"status {status}" + (", it does not know the login" if status == UNAUTHORIZED else "")
    return shortened(redacted(str(error)) or type(error).__name__)


def shortened(text: str) -> str:
    """A message of another library on one line: its start and its end, where it usually says what to do."""
    line = " ".join(text.split())
    if len(line) <= MESSAGE:
        return line
    start = textwrap.shorten(line, MESSAGE // 3, placeholder="")
    return f"{start} ... {line[-(MESSAGE - len(start)) :].partition(' ')[2]}"


def check_file_store(error: Exception, what: str, uri: str) -> None:
    """Raises InputError, with what to do, where MLflow refuses the folder `uri` because it is of its old file store."""
    if ALLOW_FILE_STORE in str(error):
        raise InputError(
            f"{what}: {redacted(uri)} is of MLflow's old file store, which this MLflow reads only when asked to",
            f"Set {ALLOW_FILE_STORE}=true; or copy it into a database (mlflow migrate-filestore --source FOLDER "
            "--target sqlite:///FILE.db) and set MLFLOW_TRACKING_URI to that",
        ) from None


def _status(error: Exception) -> int | None:
    """The HTTP status in an error of MLflow's or Prefect's client that names it in its text only."""
    match = re.search(r"error code (\d{3})|error '(\d{3}) ", str(error))
    return int(match.group(1) or match.group(2)) if match else None


@contextlib.contextmanager
def answering(what: str, uri: str) -> Iterator[MlflowClient]:
    """A client of the MLflow at `uri`, asked for `what` (a mix); its failures as one line.

    Raises InputError where it has no such thing, MixlawError where it does not answer.
    """
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        # Asking would create an empty database.
        raise InputError(
            f"{what}: no MLflow store at {uri}", "Set MIXLAW_HOME to the home of the study's run"
        )
    follow_moved_home(uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield MlflowClient(tracking_uri=uri, registry_uri=uri)
    except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
        check_file_store(error, what, uri)
        code = getattr(error, "error_code", "")
        if code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise InputError(
                f"{what}: MLflow at {redacted(uri)} has no such mix", "See the Models page of `mixlaw ui`"
            ) from None
        if code == "PERMISSION_DENIED":
            # What an MLflow with logins also says of a mix that does not exist.
            raise InputError(
                f"{what}: MLflow at {redacted(uri)} has no such mix, or this login may not read it",
                "See the Models page of `mixlaw ui`",
            ) from None
        if _status(error) == UNAUTHORIZED:
            raise MixlawError(
                f"{what}: MLflow at {redacted(uri)} does not know the login",
                "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
            ) from None
        raise MixlawError(
            f"{what}: MLflow at {redacted(uri)} did not answer ({reason(error)})",
            "Is the server running, and the login right (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD)?",
        ) from error
