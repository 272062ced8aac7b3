"""PostgreSQL, Prefect's server, MLflow's server and workers as processes, by the entry scripts of deploy/.

    with Stack(folder) as stack:            # a moment: Prefect's and MLflow's tables are made in new databases
        mixlaw(..., **stack.client())
        stack.mlflow.kill(); stack.mlflow.start().wait()
        stack.add_worker("third")
    stack.left_over()                       # what still runs, although it should not

Everything listens on the loopback address, at ports that stay the same over a restart.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.scenarios.stack.service import MARK, Service, answers, free_port, marked_processes
from tests.scenarios.tiny_study import ROOT

ENTRY = ROOT / "deploy" / "entry"


def postgres_binaries() -> Path | None:
    """The folder of PostgreSQL's programs, or None where it is not installed."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
    found = shutil.which("postgres")
    if found:
        candidates.append(Path(found).resolve().parent)
    complete = [path for path in candidates if (path / "postgres").exists() and (path / "initdb").exists()]
    fifteen = [path for path in complete if path.parent.name == "15"]
    return next(iter([*fifteen[::-1], *complete[::-1]]), None)


MISSING = "PostgreSQL's programs are not installed: apt-get install postgresql-15 (or put initdb and postgres on PATH)"


class Stack:
    """The services of deploy/, wired as compose.yaml wires them, with secrets of their own."""

    def __init__(self, folder: Path, workers: int = 2, worker_limit: int = 2) -> None:
        binaries = postgres_binaries()
        assert binaries, MISSING
        self.binaries = binaries
        self.folder = folder
        self.mark = secrets.token_hex(8)
        # Characters that an address must escape.
        self.secrets = {
            name: f"{secrets.token_urlsafe(12)}%/@#{index}"
            for index, name in enumerate(
                ("superuser", "prefect_db", "mlflow_db", "prefect", "admin", "account", "key")
            )
        }
        self.home = folder / "home"
        self.logs = folder / "logs"
        for path in (folder, self.home, self.logs):
            path.mkdir(parents=True, exist_ok=True)
        # PostgreSQL refuses root, and another user may not enter a folder of the test's.
        self.data = Path(tempfile.mkdtemp(prefix="mixlaw-stack-"))
        self.postgres_port, self.prefect_port, self.mlflow_port = free_port(), free_port(), free_port()
        self.worker_limit = worker_limit
        self.postgres = self._postgres()
        self.prefect = self._prefect()
        self.mlflow = self._mlflow()
        self.workers: list[Service] = []
        self.wanted_workers = workers

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.prefect_port}/api"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}"

    def client(self) -> dict[str, str]:
        """What a user or a worker of this stack has in the environment."""
        return {
            MARK: self.mark,
            "PREFECT_API_URL": self.api_url,
            "PREFECT_API_AUTH_STRING": f"mixlaw:{self.secrets['prefect']}",
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "MLFLOW_TRACKING_USERNAME": "mixlaw",
            "MLFLOW_TRACKING_PASSWORD": self.secrets["account"],
            "MIXLAW_HOME": str(self.home),
        }

    def environment(self, **more: str) -> dict[str, str]:
        """A bare environment: nothing of the caller's Prefect, MLflow or Mixlaw."""
        own = ("PREFECT_", "MLFLOW_", "MIXLAW_", "POSTGRES_", "PG", "PYTEST_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        kept.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONPATH=str(ROOT))
        return {**kept, MARK: self.mark, "PREFECT_HOME": str(self.folder / "prefect"), **more}

    def start(self) -> Stack:
        """Start everything and return when all of it works."""
        self.postgres.start().wait()
        self._entry("databases.sh", **self._superuser())
        self.prefect.start()
        self.mlflow.start()
        self.mlflow.wait()
        # Before the workers: they refuse to start with a login that a server does not know.
        self._entry("mlflow_account.py", MLFLOW_AUTH_ADMIN_PASSWORD=self.secrets["admin"], **self.client())
        self.prefect.wait()
        for index in range(self.wanted_workers):
            self.add_worker(f"worker-{index + 1}", wait=False)
        for worker in self.workers:
            worker.wait()
        return self

    def stop(self) -> list[str]:
        """End everything in order, as `docker compose down` would; what did not end by itself, in words."""
        stubborn = []
        for service in [*self.workers, self.mlflow, self.prefect]:
            try:
                service.stop()
            except AssertionError as error:
                stubborn.append(str(error))
        try:
            # Fast shutdown: clients are disconnected.
            self.postgres.stop(signal.SIGINT)
        except AssertionError as error:
            stubborn.append(str(error))
        return stubborn

    def add_worker(self, name: str, wait: bool = True, **more: str) -> Service:
        """One more worker of the pool; `more` is added to its environment."""
        port = free_port()
        environment = self.environment(
            **self.client(),
            MIXLAW_WORKER_NAME=name,
            MIXLAW_WORKER_LIMIT=str(self.worker_limit),
            PREFECT_WORKER_WEBSERVER_HOST="127.0.0.1",
            PREFECT_WORKER_WEBSERVER_PORT=str(port),
            PREFECT_WORKER_QUERY_SECONDS="2",
            **more,
        )
        worker = Service(
            name,
            [sys.executable, str(ENTRY / "worker.py")],
            environment,
            self.logs / f"{name}.log",
            lambda: answers(f"http://127.0.0.1:{port}/health") and name in self.online_workers(),
        )
        self.workers.append(worker.start())
        return worker.wait() if wait else worker

    def online_workers(self) -> set[str]:
        """Workers of the pool that Prefect's server has heard of."""
        try:
            found = self.prefect_api("work_pools/mixlaw/workers/filter", {})
        except OSError:
            return set()
        return {worker["name"] for worker in found if worker["status"] == "ONLINE"}

    def prefect_api(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What Prefect's API answers: to a POST of `body`, or to a GET."""
        login = base64.b64encode(self.client()["PREFECT_API_AUTH_STRING"].encode()).decode()
        request = urllib.request.Request(
            f"{self.api_url}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def processes(self) -> dict[int, str]:
        """Every process of this stack and of what it started, and its command line."""
        return {pid: command for pid, command in marked_processes(self.mark) if pid != os.getpid()}

    def left_over(self, grace: float = 10.0) -> dict[int, str]:
        """What still runs `grace` seconds after the stack was stopped."""
        deadline = time.monotonic() + grace
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def sql(self, database: str, query: str) -> str:
        """What a query answers, as the superuser, without headings."""
        command = [str(self.binaries / "psql"), "-XAtq", "-d", database, "-c", query]
        done = subprocess.run(
            command,
            env=self.environment(**self._superuser()),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.strip()

    def dump(self, database: str) -> bytes:
        """All of a database, as SQL."""
        command = [str(self.binaries / "pg_dump"), "-d", database]
        return subprocess.run(
            command,
            env=self.environment(**self._superuser()),
            stdout=subprocess.PIPE,
            timeout=60,
            check=True,
        ).stdout

    def __enter__(self) -> Stack:
        try:
            return self.start()
        except BaseException:
            self._destroy()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            stubborn = self.stop()
        finally:
            left = self.left_over()
            self._destroy()
        if error is None:
            assert not stubborn, stubborn
            assert not left, f"processes of the stack outlived it: {left}"

    def _destroy(self) -> None:
        """Kill what is left, and remove the database."""
        for service in [*self.workers, self.mlflow, self.prefect, self.postgres]:
            service.kill()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.data, ignore_errors=True)

    def _entry(self, script: str, **variables: str) -> None:
        """Run a script of deploy/entry to its end."""
        command = [str(ENTRY / script)] if script.endswith(".sh") else [sys.executable, str(ENTRY / script)]
        with open(self.logs / f"{Path(script).stem}.log", "ab") as log:
            done = subprocess.run(
                command, env=self.environment(**variables), stdout=log, stderr=log, timeout=120
            )
        assert done.returncode == 0, (self.logs / f"{Path(script).stem}.log").read_text()

    def _superuser(self) -> dict[str, str]:
        return {
            "PATH": f"{self.binaries}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.postgres_port),
            "PGUSER": "postgres",
            "PGPASSWORD": self.secrets["superuser"],
            "POSTGRES_PREFECT_PASSWORD": self.secrets["prefect_db"],
            "POSTGRES_MLFLOW_PASSWORD": self.secrets["mlflow_db"],
        }

    def _postgres(self) -> Service:
        user = unprivileged()
        password = self.data / "password"
        password.write_text(self.secrets["superuser"])
        if user:
            for path in (self.data, password):
                shutil.chown(path, user)
        cluster = self.data / "cluster"
        account = pwd.getpwnam(user) if user else None
        done = subprocess.run(
            [
                *(str(self.binaries / "initdb"), "--pgdata", str(cluster), "--username=postgres"),
                *(
                    "--auth=scram-sha-256",
                    f"--pwfile={password}",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--no-sync",
                ),
            ],
            env=self.environment(),
            cwd=self.data,
            capture_output=True,
            text=True,
            timeout=120,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        assert done.returncode == 0, done.stderr
        password.unlink()
        command = [str(self.binaries / "postgres"), "-D", str(cluster), "-p", str(self.postgres_port)]
        settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "max_connections=200",
        ]
        for setting in settings:
            command += ["-c", setting]
        log = self.data / "postgres.log"

        def ready() -> bool:
            check = [
                str(self.binaries / "pg_isready"),
                "-h",
                "127.0.0.1",
                "-p",
                str(self.postgres_port),
                "-q",
            ]
            return subprocess.run(check, env=self.environment(), timeout=10).returncode == 0

        return Service("postgres", command, self.environment(), log, ready, user)

    def _prefect(self) -> Service:
        environment = self.environment(
            POSTGRES_PORT=str(self.postgres_port),
            POSTGRES_PREFECT_PASSWORD=self.secrets["prefect_db"],
            PREFECT_SERVER_API_AUTH_STRING=f"mixlaw:{self.secrets['prefect']}",
            PREFECT_SERVER_API_HOST="127.0.0.1",
            PREFECT_SERVER_API_PORT=str(self.prefect_port),
        )
        command = [sys.executable, str(ENTRY / "prefect_server.py")]
        log = self.logs / "prefect.log"
        return Service("prefect", command, environment, log, lambda: answers(f"{self.api_url}/health"))

    def _mlflow(self) -> Service:
        environment = self.environment(
            POSTGRES_PORT=str(self.postgres_port),
            POSTGRES_MLFLOW_PASSWORD=self.secrets["mlflow_db"],
            MLFLOW_AUTH_ADMIN_PASSWORD=self.secrets["admin"],
            MLFLOW_FLASK_SERVER_SECRET_KEY=self.secrets["key"],
            MLFLOW_ARTIFACTS_DESTINATION=str(self.folder / "mlartifacts"),
            MLFLOW_HOST="127.0.0.1",
            MLFLOW_PORT=str(self.mlflow_port),
            MLFLOW_WORKERS="1",
            # As in compose.yaml.
            MLFLOW_SERVER_ALLOWED_HOSTS="mlflow:5000,localhost:*,127.0.0.1:*",
        )
        command = [sys.executable, str(ENTRY / "mlflow_server.py")]
        log = self.logs / "mlflow.log"
        return Service("mlflow", command, environment, log, lambda: answers(f"{self.mlflow_url}/health"))


def unprivileged() -> str | None:
    """The user that PostgreSQL runs as where this process is root's, which it refuses; else None."""
    if os.getuid() != 0:
        return None
    names = {account.pw_name for account in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
