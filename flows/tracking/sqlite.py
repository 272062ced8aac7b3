"""The SQLite database of an embedded MLflow."""

from __future__ import annotations

import contextlib
from pathlib import Path


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
