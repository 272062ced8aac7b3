"""Logins in addresses. Addresses are shown in messages, logs and pages, so a login must not be in one.

It imports nothing heavy: the entry scripts of deploy/ use it before anything else is imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from mixing.errors import InputError


def split_login(address: str) -> tuple[str, str, str]:
    """The address of a server without the user and password in it, and these (empty where there are none)."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return address, "", ""
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, unquote(parts.username or ""), unquote(parts.password or "")


def refuse_login(variable: str, instead: str, environment: Mapping[str, str] = os.environ) -> None:
    """Raises InputError where the address in `variable` holds a login; `instead` says which variables take it."""
    if "@" in environment.get(variable, ""):
        raise InputError(f"{variable} holds a login", f"Take it out, and set {instead}")
