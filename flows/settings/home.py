"""Where a study writes, and the environment that Prefect and MLflow are started with."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mixing.errors import InputError, MixlawError
from proxies.runs import claims
from proxies.runs.claims import Holder
from proxies.runs.slots import Slots

DEFAULT_HOME = ".mixlaw"

RESERVED = frozenset({"prefect", "mlartifacts", "slots"})
"""Folder names in the home that a study may not take."""


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """`MIXLAW_HOME`, or `.mixlaw` in the current folder; absolute. Raises InputError where that is a file."""
    found = Path(environment.get("MIXLAW_HOME") or DEFAULT_HOME).absolute()
    if found.exists() and not found.is_dir():
        raise InputError(
            f"MIXLAW_HOME: {found} is not a folder", "Set it to one; it is made where there is none"
        )
    return found


def tracking_uri(root: Path, environment: Mapping[str, str] = os.environ) -> str:
    """`MLFLOW_TRACKING_URI` (a server's without a login), or the SQLite database in the home `root`."""
    given = environment.get("MLFLOW_TRACKING_URI")
    return _login_apart(given)[0] if given else f"sqlite:///{root / 'mlflow.db'}"


def _login_apart(uri: str) -> tuple[str, str, str]:
    """The address of a server without the user and password in it, and these (empty where there are none)."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return uri, "", ""
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, unquote(parts.username or ""), unquote(parts.password or "")


def set_defaults(root: Path) -> None:
    """Set what Prefect and MLflow read from the environment at import; whatever the user has set stays.

    Call it before either is imported. No telemetry; Prefect's log goes to files, not to the terminal; an
    MLflow server that does not answer is given up in seconds instead of minutes. A login in MLflow's address
    moves to the variables for it: addresses are shown in errors, logs and pages.
    """
    bare, user, password = _login_apart(os.environ.get("MLFLOW_TRACKING_URI", ""))
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


def device(environment: Mapping[str, str] = os.environ) -> str:
    """What runs train on: `MIXLAW_DEVICE` (cpu, cuda, or cuda:N), by default cpu. Raises InputError for others."""
    text = environment.get("MIXLAW_DEVICE", "").strip() or "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise InputError(f"MIXLAW_DEVICE is {text[:20]!r}", "Give cpu, cuda, or cuda:N")
    return text


@dataclass(frozen=True)
class StudyFolder:
    """What one study writes, by name. Nothing is created until it is written."""

    path: Path

    @classmethod
    def of(cls, study: str, root: Path | None = None) -> StudyFolder:
        return cls((root or home()) / study)

    @property
    def catalog(self) -> Path:
        return self.path / "catalog.json"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def tokens(self) -> Path:
        return self.path / "tokens"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def fits(self) -> Path:
        return self.path / "fits.json"

    @property
    def decision(self) -> Path:
        return self.path / "decision.json"

    @property
    def answer(self) -> Path:
        """Fits and decision with all that is drawn of them; `fits.json` and `decision.json` are for readers."""
        return self.path / "answer.json"

    @property
    def confirmation(self) -> Path:
        return self.path / "confirmation.json"

    @property
    def mixspec(self) -> Path:
        return self.path / "mixspec.yaml"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def log(self) -> Path:
        return self.path / "run.log"

    @property
    def events(self) -> Path:
        """What happened, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def lock(self) -> Path:
        return self.path / "run.lock"


@contextlib.contextmanager
def first_use(database: Path) -> Iterator[None]:
    """One process at a time, in this block, of those that share an SQLite database: the first one creates its
    tables, and two that do so at once ruin it.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with open(database.with_name(f".{database.name}.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def exclusive(folder: StudyFolder) -> Iterator[None]:
    """Hold the study for this process, on whatever machine; let go of it whatever ends the process.

    Raises MixlawError naming the process that holds it. One on another machine that gives no sign is waited
    for, for a minute, and then taken to be dead.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(claims.claim(folder.lock, wait_s=0))
        except claims.Claimed as error:
            raise already_running(folder, error.holder) from None
        # What a killed process was writing; its run folders are cleared by who trains the runs next.
        for place in (folder.path, folder.figures, *folder.tokens.glob("*/")):
            for leftover in place.glob(".*.partial"):
                leftover.unlink(missing_ok=True)
        yield


class AlreadyRunning(MixlawError):
    """A second start of the same study; `holder` is who runs it, where that is known."""

    def __init__(self, message: str, hint: str, holder: Holder | None) -> None:
        super().__init__(message, hint)
        self.holder = holder


def already_running(folder: StudyFolder, holder: Holder | None) -> AlreadyRunning:
    """The error for a second start of the same study."""
    if holder is None or not holder.pid:
        who, step = "process unknown", "Wait for it"
    else:
        who, step = str(holder), f"Wait for it, or end it with: kill {holder.pid}"
        step += "" if holder.here else f" on {holder.host}"
    return AlreadyRunning(f"{folder.lock}: this study is already running ({who})", step, holder)


def owner(folder: StudyFolder) -> Holder | None:
    """The process that is running the study now, or None."""
    return claims.holder(folder.lock)
