"""`mixlaw` in a process of its own, without its ten seconds of imports: forked from one that has them behind it.

    python -m tests.scenarios.preloaded SOCKET

It is the same code in a process with its own environment, folder and output, which ends as any does. Prefect is left
out, because it reads its settings when it is imported.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = """
    torch tokenizers mlflow mlflow.tracking mlflow.store.tracking.sqlalchemy_store mlflow.entities
    mlflow.store.model_registry.sqlalchemy_store mlflow.artifacts matplotlib.pyplot polars duckdb pyarrow.parquet
    scipy.optimize jsonschema lightgbm rich.progress typer sqlalchemy.dialects.sqlite httpx fastapi uvicorn
    mixing.fitting.fit mixing.decision.decide mixing.plots.ratio mixing.plots.mixture proxies.train
"""

SPARED = ("jemalloc_bg_thd", "polars-ooc-clea")
"""Threads of Polars that a fork may lose: its allocator starts its own again, the other tidies spilled tables."""


def start(folder: Path) -> Path:
    """Start the server that ends with this process; the socket that it listens at."""
    address = folder / "preloaded.sock"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.scenarios.preloaded", str(address)],
        env={**environment, "MLFLOW_DISABLE_TELEMETRY": "true"},
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not address.exists():
        assert server.poll() is None
        time.sleep(0.05)
    return address


def call(
    address: Path, arguments: tuple[str, ...], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `mixlaw` with these arguments to its end."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as connection:
        out, err = Path(folder) / "out", Path(folder) / "err"
        connection.connect(str(address))
        request = {"arguments": arguments, "environment": environment, "folder": os.getcwd()}
        connection.sendall((json.dumps({**request, "out": str(out), "err": str(err)}) + "\n").encode())
        with connection.makefile() as answer:
            status = int(answer.readline())
        return subprocess.CompletedProcess(arguments, status, out.read_text(), err.read_text())


def serve(address: str) -> None:
    """Answer each connection from a process of its own until the process that started this one is gone."""
    for name in IMPORTS.split():
        __import__(name)
    parent = os.getppid()
    threads = {
        Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task")
    }
    assert threads <= {"python", *SPARED}, "a thread of an import would be missing in what is forked"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{address}.new")
        server.listen()
        server.settimeout(1)
        os.rename(f"{address}.new", address)
        while os.getppid() == parent:
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                server.close()
                return answer(connection)
            connection.close()


def answer(connection: socket.socket) -> None:
    """Run the command in a child, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection.settimeout(None)
    with connection, connection.makefile() as lines:
        request = json.loads(lines.readline())
        child = os.fork()
        if child:
            _, ended = os.waitpid(child, 0)
            connection.sendall(f"{os.waitstatus_to_exitcode(ended)}\n".encode())
            os._exit(0)
    run(request)


def run(request: dict[str, object]) -> None:
    """What `python -m flows.cli.main` does."""
    for stream, number in (("out", 1), ("err", 2)):
        file = os.open(str(request[stream]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    random.seed()
    sys.argv = ["mixlaw", *request["arguments"]]  # type: ignore[misc]
    from flows.cli.main import main

    main()


if __name__ == "__main__":
    serve(sys.argv[1])
