#!/usr/bin/env python3
"""Start MLflow's server on PostgreSQL, behind logins, handing out artifacts itself.

POSTGRES_HOST, POSTGRES_PORT       where PostgreSQL is (127.0.0.1, 5432)
POSTGRES_MLFLOW_PASSWORD           of the role `mlflow`, which owns the databases `mlflow` and `mlflow_auth`
MLFLOW_AUTH_ADMIN_PASSWORD         of the first administrator, MLFLOW_AUTH_ADMIN_USERNAME (admin)
MLFLOW_FLASK_SERVER_SECRET_KEY     any long random text; signs the forms of the UI
MLFLOW_HOST, MLFLOW_PORT           what to bind (127.0.0.1, 5000)
MLFLOW_ARTIFACTS_DESTINATION       a folder, or s3://..., which only this server touches (./mlartifacts)
MLFLOW_SERVER_ALLOWED_HOSTS        names that clients may call it by, besides localhost and private addresses
MLFLOW_WORKERS                     processes (2)
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

from environment import become, database_url, refuse, required

AUTHORISATION = """\
[mlflow]
default_permission = {permission}
database_uri = {database}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
# Checking a password takes a good part of a second, for every request. A changed one holds after a minute.
auth_cache_ttl_seconds = 60
"""


def main() -> None:
    password = required("POSTGRES_MLFLOW_PASSWORD", "the password of PostgreSQL's role mlflow")
    required("MLFLOW_AUTH_ADMIN_PASSWORD", "the first administrator's password")
    required("MLFLOW_FLASK_SERVER_SECRET_KEY", "a long random text")
    port = os.environ.setdefault("MLFLOW_PORT", "5000")
    settings = private_folder(f"mlflow-auth-{os.getuid()}-{port}") / "basic_auth.ini"
    settings.touch(mode=0o600)
    settings.write_text(
        AUTHORISATION.format(
            permission=os.environ.get("MLFLOW_DEFAULT_PERMISSION") or "READ",
            # An ini file takes % for its own.
            database=database_url("postgresql+psycopg2", "mlflow", password, "mlflow_auth").replace(
                "%", "%%"
            ),
        ),
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--serve-artifacts"]
    become(
        command,
        {
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_AUTH_ADMIN_USERNAME": os.environ.get("MLFLOW_AUTH_ADMIN_USERNAME") or "admin",
            "MLFLOW_BACKEND_STORE_URI": database_url("postgresql+psycopg2", "mlflow", password, "mlflow"),
            "MLFLOW_ARTIFACTS_DESTINATION": os.environ.get("MLFLOW_ARTIFACTS_DESTINATION") or "./mlartifacts",
            "MLFLOW_WORKERS": os.environ.get("MLFLOW_WORKERS") or "2",
            # Seven processes for jobs of the chat application pages.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        },
    )


def private_folder(name: str) -> Path:
    """A folder for temporary files that is this user's alone; ends the process where it is another's."""
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        refuse(f"{folder} must be a folder that nobody else may enter: remove it")
    return folder


if __name__ == "__main__":
    main()
