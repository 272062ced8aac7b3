"""The SQLite database of an embedded MLflow."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

ARTIFACTS = "mlartifacts"
# Columns of MLflow's tables that hold absolute addresses of artifacts.
EXPERIMENTS = (
    "UPDATE experiments SET artifact_location = ? || substr(artifact_location, ?) "
    "WHERE substr(artifact_location, 1, ?) = ?"
)
RUNS = "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE substr(artifact_uri, 1, ?) = ?"
SOURCES = "UPDATE model_versions SET source = ? || substr(source, ?) WHERE substr(source, 1, ?) = ?"
STORED = (
    "UPDATE model_versions SET storage_location = ? || substr(storage_location, ?) "
    "WHERE substr(storage_location, 1, ?) = ?"
)
MODELS = (
    "UPDATE logged_models SET artifact_location = ? || substr(artifact_location, ?) "
    "WHERE substr(artifact_location, 1, ?) = ?"
)


def follow_moved_home(uri: str) -> None:
    """Where a home was moved or copied: let its MLflow database point at the artifacts that moved with it.

    `uri` is the database's; others than SQLite beside a folder `mlartifacts` are left alone, and so are addresses
    that lead to that very folder by another name.
    """
    database = Path(uri.removeprefix("sqlite:///"))
    folder = database.parent / ARTIFACTS
    if not uri.startswith("sqlite:///") or not database.is_file() or not folder.is_dir():
        return
    now = folder.absolute().as_uri()
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(database, timeout=20)) as connection,
    ):
        rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
        before = {
            str(place).partition(f"/{ARTIFACTS}/")[0] for (place,) in rows if f"/{ARTIFACTS}/" in str(place)
        }
        for old in (f"{start}/{ARTIFACTS}" for start in before):
            if old == now or not old.startswith("file:///") or _is_folder(old, folder):
                continue
            moved = (now, len(old) + 1, len(old) + 1, f"{old}/")
            connection.execute(EXPERIMENTS, moved)
            connection.execute(RUNS, moved)
            connection.execute(SOURCES, moved)
            connection.execute(STORED, moved)
            connection.execute(MODELS, moved)
        connection.commit()


def _is_folder(address: str, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return Path(unquote(urlsplit(address).path)).samefile(folder)
    return False


def create_database(path: Path) -> None:
    """MLflow's tables, made aside and then put in place: it cannot go on with a database that was left half made."""
    if path.exists():
        return
    from mlflow import MlflowClient

    partial = path.with_name(f".{path.name}.partial")
    with contextlib.ExitStack() as leftovers:
        for left in (partial, partial.with_name(f"{partial.name}-journal")):
            left.unlink(missing_ok=True)
            leftovers.callback(left.unlink, missing_ok=True)
        MlflowClient(tracking_uri=f"sqlite:///{partial}").search_experiments(max_results=1)
        partial.replace(path)
