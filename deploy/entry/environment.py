"""What the entry scripts read from the environment. Little is imported: they start before anything else."""

from __future__ import annotations

import http.client
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import NoReturn
from urllib.parse import quote, urlsplit

from flows.settings.logins import refuse_login
from mixing.errors import InputError

BAD_INPUT = 2
START_TIMEOUT = 300.0
"""Seconds to wait for a server that this one needs."""


def refuse(message: str) -> NoReturn:
    """End with one line and exit status 2."""
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr, flush=True)
    sys.exit(BAD_INPUT)


def required(name: str, purpose: str) -> str:
    """The variable's value; ends the process where it is unset or empty. Its value is never printed."""
    value = os.environ.get(name, "")
    if not value:
        refuse(f"{name} is not set: {purpose}. See deploy/README.md")
    return value


def without_login(name: str, instead: str) -> None:
    """End the process where the address in this variable holds a login."""
    try:
        refuse_login(name, instead)
    except InputError as error:
        refuse(str(error))


def database_url(driver: str, user: str, password: str, database: str) -> str:
    """The address of a database on `POSTGRES_HOST`:`POSTGRES_PORT`; any character may be in the password."""
    host = os.environ.get("POSTGRES_HOST") or "127.0.0.1"
    port = os.environ.get("POSTGRES_PORT") or "5432"
    return f"{driver}://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/{database}"


def wait_for(url: str, timeout: float = START_TIMEOUT) -> None:
    """Return when `url` answers below 500; ends the process when it has not within `timeout` seconds."""
    if not is_address(url):
        refuse(f"{url} is not an address: http://HOST:PORT")
    deadline, reason = time.monotonic() + timeout, ""
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as error:
            if error.code < http.client.INTERNAL_SERVER_ERROR:
                return
            reason = str(error)
        except OSError as error:
            reason = str(error)
        time.sleep(0.5)
    refuse(f"{url} did not answer within {timeout:.0f} s ({reason})")


def is_address(url: str) -> bool:
    """Whether it is http or https, with a host, and a port that is a number where it has one."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def become(command: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    """Replace this process by `command`, so that it takes signals itself and no shell is in between.

    Secrets go into `variables`, never into `command`, which every user of the machine can read.
    """
    # A shell that starts something with & has it ignore SIGINT, which Prefect's worker ends itself by on SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.flush()
    os.execvpe(command[0], list(command), {**os.environ, **variables})
