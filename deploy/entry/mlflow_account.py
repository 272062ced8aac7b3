#!/usr/bin/env python3
"""Give the workers an account of their own at MLflow's server, which is no administrator's.

MLFLOW_TRACKING_URI                                       the server
MLFLOW_AUTH_ADMIN_USERNAME, MLFLOW_AUTH_ADMIN_PASSWORD    an administrator (admin)
MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD        the account; an existing one gets this password
"""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request

from environment import refuse, required, wait_for, without_login

BAD_REQUEST, UNAUTHORIZED = 400, 401
SHORTEST = 12
"""Characters of a password."""


def main() -> None:
    server = required("MLFLOW_TRACKING_URI", "the address of MLflow's server").rstrip("/")
    password = required("MLFLOW_AUTH_ADMIN_PASSWORD", "an administrator's password")
    administrator = f"{os.environ.get('MLFLOW_AUTH_ADMIN_USERNAME') or 'admin'}:{password}"
    account = {
        "username": required("MLFLOW_TRACKING_USERNAME", "the account's name"),
        "password": required("MLFLOW_TRACKING_PASSWORD", "the account's password"),
    }
    without_login("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
    wait_for(f"{server}/health")

    def call(method: str, path: str) -> int:
        request = urllib.request.Request(
            f"{server}/api/2.0/mlflow/users/{path}",
            method=method,
            data=json.dumps(account).encode(),
            headers={
                "Authorization": f"Basic {base64.b64encode(administrator.encode()).decode()}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError as error:
            refuse(f"{server} failed ({error})")

    status = call("POST", "create")
    if status == BAD_REQUEST:
        # It is there, or MLflow does not take the password: then there is no account either.
        status = call("PATCH", "update-password")
        if status >= BAD_REQUEST:
            refuse(
                f"MLflow took neither the account nor its password: it wants {SHORTEST} characters or more"
            )
    if status == UNAUTHORIZED:
        refuse("MLflow does not take the administrator's MLFLOW_AUTH_ADMIN_PASSWORD")
    if status >= BAD_REQUEST:
        refuse(f"{server} refused to make the account {account['username']} (HTTP {status})")
    print(f"account {account['username']} is ready", flush=True)


if __name__ == "__main__":
    main()
