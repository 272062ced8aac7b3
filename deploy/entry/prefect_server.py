#!/usr/bin/env python3
"""Start Prefect's server on PostgreSQL, behind a login.

POSTGRES_HOST, POSTGRES_PORT      where PostgreSQL is (127.0.0.1, 5432)
POSTGRES_PREFECT_PASSWORD         of the role `prefect`; or the whole address in
                                  PREFECT_SERVER_DATABASE_CONNECTION_URL (postgresql+asyncpg://...)
PREFECT_SERVER_API_AUTH_STRING    user:password that clients and the UI must give
PREFECT_SERVER_API_HOST, _PORT    what to bind (127.0.0.1, 4200)
PREFECT_SERVER_UI_API_URL         where *browsers* find the API (/api: on the host that served the page)
PREFECT_UI_URL                    the page's address, for links in notifications (http://HOST:PORT)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from environment import become, database_url, refuse, required


def main() -> None:
    login = required("PREFECT_SERVER_API_AUTH_STRING", "user:password that clients must give")
    if not all(login.partition(":")):
        refuse("PREFECT_SERVER_API_AUTH_STRING must read user:password")
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    variables = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Without it the page calls the address that the server binds, or PREFECT_API_URL, which a browser on
        # another machine, or one that says localhost for 127.0.0.1, cannot reach or may not read.
        "PREFECT_SERVER_UI_API_URL": os.environ.get("PREFECT_SERVER_UI_API_URL") or "/api",
        "PREFECT_UI_URL": os.environ.get("PREFECT_UI_URL") or bound_url(),
        # The pages are copied when it starts, by default into the installation, which is not this user's to write.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    if not os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL"):
        password = required("POSTGRES_PREFECT_PASSWORD", "the password of PostgreSQL's role prefect")
        variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database_url(
            "postgresql+asyncpg", "prefect", password, "prefect"
        )
    become([sys.executable, "-m", "prefect", "server", "start"], variables)


def bound_url() -> str:
    """The address that this server binds, as a browser on this machine has it."""
    host = os.environ.get("PREFECT_SERVER_API_HOST") or "127.0.0.1"
    port = os.environ.get("PREFECT_SERVER_API_PORT") or "4200"
    return f"http://{'localhost' if host in ('0.0.0.0', '::') else host}:{port}"


if __name__ == "__main__":
    main()
