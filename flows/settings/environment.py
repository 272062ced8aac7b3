"""Settings that come from environment variables, ours and those of Prefect and MLflow."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from flows.settings.logins import split_login
from flows.settings.proxies import ask_local_servers_directly
from mixing.errors import InputError
from proxies.runs.slots import Slots


def tracking_uri(root: Path, environment: Mapping[str, str] = os.environ) -> str:
    """`MLFLOW_TRACKING_URI` (a server's without a login), or the SQLite database in the home `root`."""
    uri = environment.get("MLFLOW_TRACKING_URI")
    return split_login(uri)[0] if uri else f"sqlite:///{root / 'mlflow.db'}"


def set_defaults(root: Path) -> None:
    """Set what Prefect and MLflow read from the environment at import; what the user has set stays.

    Call it before either is imported. No telemetry; Prefect's log goes to files, not to the terminal; an
    MLflow server that does not answer is given up in seconds instead of minutes. A login in MLflow's address
    moves to the variables for it: addresses are shown in errors, logs and pages. Servers on this machine are asked
    directly, whatever proxy is set.

    Raises MixlawError for a proxy that a server needs and its client cannot use.
    """
    bare, user, password = split_login(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if user or password:
        os.environ["MLFLOW_TRACKING_URI"] = bare
        os.environ.setdefault("MLFLOW_TRACKING_USERNAME", user)
        os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", password)
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    }
    if not os.environ.get("PREFECT_API_URL"):
        defaults["PREFECT_HOME"] = str(root / "prefect")
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    ask_local_servers_directly()


def device(environment: Mapping[str, str] = os.environ) -> str:
    """What runs train on: `MIXLAW_DEVICE` (cpu, cuda, or cuda:N), by default cpu. Raises InputError for others."""
    text = environment.get("MIXLAW_DEVICE", "").strip() or "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise InputError(f"MIXLAW_DEVICE is {text[:20]!r}", "Give cpu, cuda, or cuda:N")
    return text


def proxy_slots(root: Path, environment: Mapping[str, str] = os.environ) -> Slots | None:
    """The limit `MIXLAW_MAX_PROXIES` on runs that train at once on one machine (or one GPU of it); None: no limit.

    All that share the home `root` share it, whoever starts them. Raises InputError for what is no number.
    """
    text = environment.get("MIXLAW_MAX_PROXIES", "").strip()
    if not text:
        return None
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"MIXLAW_MAX_PROXIES is {text[:20]!r}", "Give a whole number of runs, 1 or more")
    return Slots(root / "slots", int(text))
