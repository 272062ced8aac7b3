"""A Prefect server that lives as long as one command, for when `PREFECT_API_URL` names none.

Prefect can start such a server itself, but that one outlives a command ended with `kill -9`. This one watches
the process that started it, and starts while that process is still importing.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows.settings.locks import first_use
from flows.tracking.registry import shortened
from mixing.errors import MixlawError

START_TIMEOUT = 120.0
"""Seconds; the first start also creates the database (about 15 s on 2 idle cores)."""

SMALLEST_SPACE = 1 << 20
"""Bytes of disk below which the server's database cannot be at work."""


def serve(port: int, parent: int) -> None:
    """The server's own process: Prefect's API on the loopback address until `parent` is gone."""
    os.environ.update(
        PREFECT_UI_ENABLED="0",
        PREFECT__SERVER_EPHEMERAL="1",
        PREFECT__SERVER_FINAL="1",
        # Blocks are for deployments' storage; registering them is a second of every start.
        PREFECT_API_BLOCKS_REGISTER_ON_START="false",
    )
    starting = contextlib.ExitStack()
    servers: list[Any] = []

    def watch() -> None:
        while os.getppid() == parent:
            if servers and servers[0].started:
                starting.close()
            time.sleep(0.3)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    # Studies that run at once have a server each, over one database. Only one may create its tables.
    database = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect") / "prefect.db"
    starting.enter_context(first_use(database))
    config = uvicorn.Config(
        create_app, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on"
    )
    servers.append(uvicorn.Server(config))
    servers[0].run()


@functools.cache
def start(root: Path) -> Callable[[], None]:
    """Start the server and point `PREFECT_API_URL` at it; returns a function that waits until it answers.

    Does nothing where `PREFECT_API_URL` is set. Its log is `root/prefect/server.log`. Call this before
    Prefect is imported: the server ends when this process does, after Prefect has sent its last events. A
    second call returns what the first did.
    """
    if os.environ.get("PREFECT_API_URL"):
        return lambda: None
    folder = root / "prefect"
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    log_path = folder / "server.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = open(log_path, "ab")  # noqa: SIM115 (the server's from here on)
    except OSError as error:
        raise MixlawError(
            f"{log_path}: cannot be written ({error.strerror})", "Set MIXLAW_HOME to a folder that can"
        ) from error
    with log:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.orchestration.server", str(port), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # A Ctrl-C of the terminal is for the command, which then ends the server.
            start_new_session=True,
        )
    # Last in, first out: what Prefect registers on import runs before this. All of the server's state is
    # committed SQLite transactions, so nothing is lost by not waiting for a clean end.
    atexit.register(server.kill)
    os.environ["PREFECT_API_URL"] = url
    return lambda: _wait(server, url, log_path)


@contextlib.contextmanager
def errors(root: Path) -> Iterator[None]:
    """Make Prefect's own failures one line; what a flow raises comes through."""
    import httpx
    from prefect.exceptions import PrefectException

    try:
        yield
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        if type(error) is RuntimeError and "Failed to reach API" not in str(error):
            raise
        full = _disk_full(root)
        if full is not None:
            raise full from error
        status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else 0
        if status in (401, 403):
            raise refused(str(os.environ.get("PREFECT_API_URL")), status) from None
        reason = shortened(str(error)) or type(error).__name__
        raise MixlawError(
            f"Prefect at {os.environ.get('PREFECT_API_URL')} failed ({reason})",
            "Finished runs are kept: run again to resume",
        ) from error


def refused(api: str, status: int) -> MixlawError:
    """The error for a server that does not know our login."""
    return MixlawError(
        f"Prefect at {api} refused us (status {status})",
        "Set PREFECT_API_AUTH_STRING as the server has it, or PREFECT_API_KEY for Prefect Cloud",
    )


def _disk_full(folder: Path) -> MixlawError | None:
    if shutil.disk_usage(folder).free >= SMALLEST_SPACE:
        return None
    return MixlawError(f"{folder}: the disk is full", "Free some space, or set MIXLAW_HOME elsewhere")


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    # The server is on this machine: no proxy, whatever the environment says.
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if server.poll() is not None:
            full = _disk_full(log.parent)
            if full is not None:
                raise full
            raise MixlawError(
                f"{log}: Prefect's server ended with status {server.returncode} while starting",
                "Read that file; moving the prefect folder next to it away gives it a fresh database",
            )
        try:
            with directly.open(f"{url}/health", timeout=5) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise MixlawError(
        f"{log}: Prefect's server did not answer within {START_TIMEOUT:.0f} s",
        "Run again when idle",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
