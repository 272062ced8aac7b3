"""What a study writes down while it runs: `run.log` for people, `events.jsonl` for machines.

Each line of `events.jsonl` is one JSON object: `time` (UTC), `level`, `event`, `study`, `flow_run` (Prefect's id),
`message`; lines about a run add its id as `run`, and what is known of `tokens`, `tokens_per_s`,
`seconds`, `reason`. Neither file holds passwords or tokens: see `redacted`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from flows.settings.home import StudyFolder

LOGGERS = ("flows", "proxies", "mixing")
NOISY = ("prefect", "mlflow", "alembic", "py.warnings")
HIDDEN = "***"
SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|AUTH_?STRING|CREDENTIAL", re.I)
URL_LOGIN = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]*(?=@)")
STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime"}

log = logging.getLogger(__name__)


def redacted(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """`text` without logins in addresses and without the values of variables that are named like secrets."""
    for value in _secrets(tuple(environment.items())):
        text = text.replace(value, HIDDEN)
    return URL_LOGIN.sub(HIDDEN, text)


@cache
def _secrets(environment: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Longest first, so that one within another leaves no rest; short ones would hide ordinary words."""
    secrets = {value for name, value in environment if SECRET_NAME.search(name) and len(value) >= 6}
    return tuple(sorted(secrets, key=len, reverse=True))


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _JsonLine(logging.Formatter):
    def __init__(self, study: str) -> None:
        super().__init__()
        self.study, self.flow_run = study, ""

    def format(self, record: logging.LogRecord) -> str:
        extra = {key: value for key, value in record.__dict__.items() if key not in STANDARD}
        ours = "event" in extra
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": extra.pop("event", "log"),
            "study": self.study,
            "flow_run": self.flow_run,
            "logger": record.name,
            "message": record.getMessage(),
            **(extra if ours else {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return redacted(json.dumps(line, ensure_ascii=False, default=str))


def to_files(folder: Path, study: str, *, terminal: bool) -> None:
    """Log to the study folder's `run.log` and `events.jsonl` from here on.

    Without `terminal`, which then is for progress, Prefect and MLflow log there too and nowhere else: call it
    once they are imported, since they bring handlers of their own.
    """
    files = StudyFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # A log that cannot be written (a full disk) is not worth a traceback on the terminal.
    logging.raiseExceptions = False
    for old in [handler for handler in logging.root.handlers if _is_ours(handler)]:
        logging.root.removeHandler(old)
        old.close()
    if not terminal:
        _only_to_root()
    for path, form in ((files.log, _Text()), (files.events, _JsonLine(study))):
        handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(form)
        logging.root.addHandler(handler)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)


def _only_to_root() -> None:
    logging.captureWarnings(True)
    names = {*NOISY, *(name for name in logging.root.manager.loggerDict if name.startswith("prefect"))}
    for logger in [logging.root, *map(logging.getLogger, names)]:
        for old in list(logger.handlers):
            if isinstance(old, logging.StreamHandler) and not isinstance(old, logging.FileHandler):
                logger.removeHandler(old)
    for name in NOISY:
        logging.getLogger(name).propagate = True


def of_flow_run(flow_run: object) -> None:
    """From here on lines carry the id of this flow run."""
    for handler in logging.root.handlers:
        if isinstance(handler.formatter, _JsonLine):
            handler.formatter.flow_run = str(flow_run or "")


@contextmanager
def step(name: str) -> Iterator[None]:
    """Log that a step of the study begins, and how it ends, with its seconds."""
    started = time.monotonic()
    log.info("%s: begins", name, extra={"event": "step_started", "step": name})
    try:
        yield
    except Exception as error:
        seconds = round(time.monotonic() - started, 3)
        failed = {"event": "step_failed", "step": name, "seconds": seconds, "reason": str(error)}
        log.error("%s: failed: %s", name, error, extra=failed)
        raise
    seconds = round(time.monotonic() - started, 3)
    log.info("%s: done", name, extra={"event": "step_finished", "step": name, "seconds": seconds})


def _is_ours(handler: logging.Handler) -> bool:
    return isinstance(handler.formatter, _Text | _JsonLine)
