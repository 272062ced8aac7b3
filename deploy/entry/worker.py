#!/usr/bin/env python3
"""Start a Prefect worker: it takes flow runs (studies, refreshes, proxies) from a work pool.

PREFECT_API_URL              Prefect's API, as seen from here
PREFECT_API_AUTH_STRING      its user:password; PREFECT_API_KEY for Prefect Cloud
MLFLOW_TRACKING_URI          MLflow's server; MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD its login
MIXLAW_HOME                  the folder that all workers of the pool share
MIXLAW_WORK_POOL             the pool (mixlaw); created, as a process pool, where there is none
MIXLAW_WORKER_NAME           the name it is shown by (the host's)
MIXLAW_WORKER_LIMIT          flow runs at a time (the number of cores)
PREFECT_WORKER_WEBSERVER_PORT  where set, its health is at http://HOST:PORT/health
"""

from __future__ import annotations

import base64
import http.client
import os
import socket
import sys
import urllib.error
import urllib.request

from environment import become, refuse, required, wait_for, without_login


def main() -> None:
    api = required("PREFECT_API_URL", "the address of Prefect's API").rstrip("/")
    if not (os.environ.get("PREFECT_API_AUTH_STRING") or os.environ.get("PREFECT_API_KEY")):
        required("PREFECT_API_AUTH_STRING", "the user:password of Prefect's server")
    tracking = required("MLFLOW_TRACKING_URI", "the address of MLflow's server")
    if tracking.startswith("http"):
        required("MLFLOW_TRACKING_USERNAME", "the login at MLflow's server")
        required("MLFLOW_TRACKING_PASSWORD", "the login at MLflow's server")
    kind = os.environ.get("MIXLAW_WORKER_TYPE") or "process"
    if kind == "process":
        check_home(required("MIXLAW_HOME", "the folder that all workers share"))
    without_login("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
    without_login("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
    wait_for(f"{api}/health")
    check_logins(api, tracking.rstrip("/"))
    command = [sys.executable, "-m", "prefect", "worker", "start"]
    command += ["--type", kind, "--install-policy", "never"]
    command += ["--pool", os.environ.get("MIXLAW_WORK_POOL") or "mixlaw"]
    command += ["--name", os.environ.get("MIXLAW_WORKER_NAME") or socket.gethostname()]
    command += ["--limit", os.environ.get("MIXLAW_WORKER_LIMIT") or str(os.cpu_count() or 1)]
    if os.environ.get("MIXLAW_JOB_TEMPLATE"):
        command += ["--base-job-template", os.environ["MIXLAW_JOB_TEMPLATE"]]
    if os.environ.get("PREFECT_WORKER_WEBSERVER_PORT"):
        command.append("--with-healthcheck")
    become(command, {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true"})


def check_home(home: str) -> None:
    """End the process where the shared folder cannot be written."""
    try:
        os.makedirs(home, exist_ok=True)
    except OSError as error:
        refuse(f"MIXLAW_HOME={home} cannot be made ({error.strerror})")
    if not os.access(home, os.W_OK):
        refuse(f"MIXLAW_HOME={home} cannot be written by user {os.getuid()}")


def check_logins(api: str, tracking: str) -> None:
    """End the process where a server does not take its login; one that does not answer may do so later."""
    login = os.environ.get("PREFECT_API_AUTH_STRING")
    if login and not takes_login(f"{api}/admin/version", login):
        refuse(f"{api} does not take the login PREFECT_API_AUTH_STRING")
    if tracking.startswith("http"):
        login = f"{os.environ['MLFLOW_TRACKING_USERNAME']}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"
        if not takes_login(f"{tracking}/api/2.0/mlflow/experiments/get?experiment_id=0", login):
            refuse(f"{tracking} does not take the login MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD")


def takes_login(url: str, login: str) -> bool:
    """False where the server answers that it does not know this user or password."""
    header = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=header), timeout=20):
            return True
    except urllib.error.HTTPError as error:
        return error.code != http.client.UNAUTHORIZED
    except OSError:
        return True


if __name__ == "__main__":
    main()
