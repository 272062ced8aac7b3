"""The proxies of a company's network, and the servers on this machine, which are always asked directly.

`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in lower or upper case, are read by the clients of Prefect and
of MLflow, each in its own way. They are corrected once, in the environment, so that all clients and all processes
started from here agree.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import socket
import sys
from collections.abc import MutableMapping
from urllib.parse import urlsplit

from mixing.errors import MixlawError

ALWAYS_DIRECT = ("127.0.0.1", "localhost", "::1")
SERVERS = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
"""Variables with addresses of servers that we talk to."""
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
SOCKS = ("socks5", "socks5h")


def ask_local_servers_directly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Exempt the servers on this machine from every proxy; call it before Prefect or MLflow is imported.

    A proxy that their clients cannot use (a SOCKS proxy without its package, an unknown scheme) would stop them even
    so. Where all servers are on this machine nothing needs it: it is taken out of the environment, and a line on
    stderr says so. Raises MixlawError where a server elsewhere may need it.
    """
    hosts = [host for name in SERVERS if (host := _host(environment.get(name, "")))]
    local = [host for host in hosts if is_this_machine(host)]
    exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if exempt.strip() != "*":
        given = [entry for part in exempt.split(",") if (entry := _readable(part))]
        listed = ",".join(dict.fromkeys([*given, *ALWAYS_DIRECT, *local]))
        environment["no_proxy"] = environment["NO_PROXY"] = listed
    for name in [name for name in environment if name.lower() in PROXIES]:
        reason, step = _unusable(environment[name])
        if not reason:
            continue
        shown = f"{name}={_without_login(environment[name])}"
        if len(local) < len(hosts):
            raise MixlawError(f"{shown}: {reason}", step)
        print(
            f"mixlaw: note: {shown} is not used ({reason}); the servers of this command are on this machine",
            file=sys.stderr,
        )
        del environment[name]


def is_this_machine(host: str) -> bool:
    """Whether an address names this machine: a loopback address, or its own name."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost") or name == socket.gethostname().lower()
    return address.is_loopback or address.is_unspecified


def _host(address: str) -> str:
    try:
        parts = urlsplit(address)
        return (parts.hostname or "") if parts.scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _readable(entry: str) -> str:
    """An entry of `NO_PROXY` as Prefect's client can read it; empty for one that it fails on, and nobody else uses."""
    entry = entry.strip()
    if entry.startswith("[") and entry.endswith("]"):
        entry = entry[1:-1]
    if not entry.isascii():
        return ""
    if entry.count(":") > 1 and "://" not in entry:
        try:
            ipaddress.IPv6Address(entry)
        except ValueError:
            return ""
    return entry


def _unusable(proxy: str) -> tuple[str, str]:
    """Why a proxy cannot be used, and what to do; empty where it can be."""
    scheme = proxy.partition("://")[0].lower() if "://" in proxy else "http"
    if scheme in SOCKS:
        if importlib.util.find_spec("socksio") is None:
            return "a SOCKS proxy needs the package socksio", "pip install 'httpx[socks]' 'requests[socks]'"
        return "", ""
    if scheme not in ("http", "https"):
        return (
            f"{scheme}:// is no kind of proxy that can be used",
            "Write http://HOST:PORT or socks5://HOST:PORT",
        )
    try:
        _ = urlsplit(proxy if "://" in proxy else f"http://{proxy}").port
    except ValueError:
        return "it is no address", "Write http://HOST:PORT or socks5://HOST:PORT"
    return "", ""


def _without_login(proxy: str) -> str:
    scheme, separator, rest = proxy.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
