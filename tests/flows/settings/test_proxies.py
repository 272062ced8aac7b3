"""Servers on this machine are asked directly, whatever proxies the environment names."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from flows.settings.proxies import ask_local_servers_directly, is_this_machine
from mixing.errors import MixlawError

NOWHERE = "127.0.0.1:9"
"""A port on which nothing listens: whoever goes through this proxy fails."""


@pytest.fixture
def local_server() -> Iterator[int]:
    """The port of a server on this machine that answers everything with 200."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"here")

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


ASK = """
import sys, urllib.request
from flows.settings.proxies import ask_local_servers_directly
ask_local_servers_directly()
import httpx, requests
url = sys.argv[1]
for answer in (httpx.get(url).text, requests.get(url).text, urllib.request.urlopen(url).read().decode()):
    assert answer == "here"
"""

ENVIRONMENTS = [
    {"HTTP_PROXY": f"http://{NOWHERE}", "NO_PROXY": "localhost,.corp.example"},
    {"http_proxy": NOWHERE, "no_proxy": "", "NO_PROXY": "10.0.0.0/8"},
    {"ALL_PROXY": f"http://user:pa@{NOWHERE}", "NO_PROXY": "[::1],fe80::/10, *.corp.example,中文"},
    {"ALL_PROXY": f"socks5h://{NOWHERE}", "HTTPS_PROXY": f"socks5://{NOWHERE}"},
    {"all_proxy": f"socks://{NOWHERE}/", "HTTP_PROXY": f"socks4://{NOWHERE}"},
    {"HTTP_PROXY": "http://[::1", "NO_PROXY": "*"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_client_asks_directly(environment: dict[str, str], local_server: int) -> None:
    bare = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    for host in ("127.0.0.1", "localhost"):
        url = f"http://{host}:{local_server}/"
        named = {**bare, **environment, "MLFLOW_TRACKING_URI": url}
        done = subprocess.run([sys.executable, "-c", ASK, url], env=named, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "pa@" not in done.stderr


def test_a_proxy_that_cannot_be_used_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    remote = {
        "MLFLOW_TRACKING_URI": "http://mlflow.corp.example",
        "ALL_PROXY": "socks://u:secret@127.0.0.1:9",
    }
    with pytest.raises(
        MixlawError, match=r"ALL_PROXY=socks://127\.0\.0\.1:9: socks:// is no kind"
    ) as refused:
        ask_local_servers_directly(remote)
    assert "secret" not in str(refused.value)
    local = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000", "ALL_PROXY": "socks://127.0.0.1:9"}
    ask_local_servers_directly(local)
    assert "ALL_PROXY" not in local
    assert "note: ALL_PROXY=socks://127.0.0.1:9 is not used" in capsys.readouterr().err


def test_proxies_for_servers_elsewhere_stay() -> None:
    environment = {
        "HTTP_PROXY": "http://proxy.corp.example:3128",
        "NO_PROXY": ".corp.example",
        "PREFECT_API_URL": "http://127.0.0.2:4200/api",
        "MLFLOW_TRACKING_URI": "https://mlflow.example.org",
    }
    ask_local_servers_directly(environment)
    assert environment["HTTP_PROXY"] == "http://proxy.corp.example:3128"
    assert environment["NO_PROXY"] == ".corp.example,127.0.0.1,localhost,::1,127.0.0.2"
    assert environment["no_proxy"] == environment["NO_PROXY"]
    ask_local_servers_directly(environment)
    assert environment["NO_PROXY"] == ".corp.example,127.0.0.1,localhost,::1,127.0.0.2"


def test_this_machine_is_recognised() -> None:
    assert all(
        map(
            is_this_machine,
            ("localhost", "127.1.2.3", "[::1]", "0.0.0.0", "a.localhost", os.uname().nodename),
        )
    )
    assert not any(map(is_this_machine, ("10.0.0.1", "mlflow.example.org", "")))
