"""`mixlaw ui`: the MLflow UI on what was logged."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.settings import home
from flows.settings.environment import set_defaults, tracking_uri
from flows.tracking.sqlite import follow_moved_home
from mixing.errors import InputError

FOR_TRAINING = "?workflowType=machine_learning"
"""Without it MLflow's pages are those for chat applications, which lack the model registry."""

PORTS = range(5000, 5020)


def ui(
    port: Annotated[
        int | None, typer.Option(help="Port on 127.0.0.1 (default: 5000, or the next free one).")
    ] = None,
) -> None:
    """Open the MLflow UI on what was logged. Ctrl-C ends it."""
    root = home.home()
    uri = tracking_uri(root)
    if uri.startswith(("http://", "https://")):
        print(f"MLflow UI: {uri}  (MLFLOW_TRACKING_URI)")
        return
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise InputError(
            f"{root}: nothing is logged here yet",
            "Run a study first, or set MIXLAW_HOME to the home of one that has run",
        )
    set_defaults(root)
    follow_moved_home(uri)
    free = _free_port(port)
    print(f"MLflow UI: http://127.0.0.1:{free}/#/experiments{FOR_TRAINING}  (Ctrl-C ends it)", flush=True)
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--default-artifact-root", (root / "mlartifacts").as_uri()]
    command += ["--host", "127.0.0.1", "--port", str(free), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level error"]
    # In place of this process, so that signals and the exit status are MLflow's own.
    os.execve(sys.executable, command, environment)


def _free_port(requested: int | None) -> int:
    """The requested port, or the first of `PORTS`, that is free. Raises InputError where none is."""
    for port in PORTS if requested is None else [requested]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            except OverflowError:
                break
            return port
    ports = f"ports {PORTS[0]} to {PORTS[-1]} are" if requested is None else f"port {requested} is"
    raise InputError(f"{ports} taken", "Choose another: mixlaw ui --port 5050")
