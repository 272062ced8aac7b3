"""Passwords of the environment stay there: not in logs, files, databases, artifacts, events or messages."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path

import pytest

from flows.settings.environment import set_defaults, tracking_uri
from tests.conftest import Finished
from tests.scenarios.tiny_study import mixlaw

PASSWORDS = {"prefect": "pf-Secret-7391", "mlflow": "ml-Secret-5520", "address": "ad-Secret-8814"}
LOGINS = {
    "PREFECT_API_AUTH_STRING": f"me:{PASSWORDS['prefect']}",
    "MLFLOW_TRACKING_USERNAME": "me",
    "MLFLOW_TRACKING_PASSWORD": PASSWORDS["mlflow"],
}


def needles() -> list[bytes]:
    """The passwords as they are, and as HTTP sends them."""
    plain = [password.encode() for password in PASSWORDS.values()]
    return plain + [base64.b64encode(b"me:" + password).rstrip(b"=")[4:-2] for password in plain]


def found_in(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [f"{path}: {needle!r}" for path in files for needle in needles() if needle in path.read_bytes()]


@pytest.fixture
def study(finished: Finished, tmp_path: Path) -> Path:
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    return tmp_path / "copy" / "study.yaml"


def test_the_search_finds_a_password(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"Authorization: Basic " + base64.b64encode(b"me:" + b"ml-Secret-5520"))
    assert len(found_in(tmp_path)) == 1


@pytest.mark.parametrize("fails", [False, True], ids=["published", "mlflow-away"])
def test_a_run_with_passwords(
    study: Path, prefect_folder: Path, mlflow_uri: str, tmp_path: Path, fails: bool
) -> None:
    """A run that publishes, and one whose MLflow (with a login in its address) is away: the worst of logs."""
    away = f"http://me:{PASSWORDS['address']}@127.0.0.1:9"
    more = {**LOGINS, "MLFLOW_TRACKING_URI": away if fails else mlflow_uri}
    done = mixlaw(study.parent / "home", "run", str(study), "--debug", **more)
    assert done.returncode == (1 if fails else 0), done.stderr
    said = (done.stdout + done.stderr).encode()
    assert (b"did not take the results" in said) == fails
    assert not [needle for needle in needles() if needle in said]
    assert not found_in(tmp_path)
    # The server's database, with flow runs, artifacts and events; what is logged is there too.
    assert not found_in(prefect_folder)


def test_a_login_in_mlflow_s_address_is_used_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:a%40b:c@mlflow:8443/path")
    assert tracking_uri(Path("/")) == "https://mlflow:8443/path"
    set_defaults(Path("/"))
    assert os.environ["MLFLOW_TRACKING_URI"] == "https://mlflow:8443/path"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "me"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "a@b:c"
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:pass@host/db")
    assert tracking_uri(Path("/")) == "postgresql://me:pass@host/db"


def test_commands_that_ask_mlflow(study: Path, tmp_path: Path) -> None:
    away = {**LOGINS, "MLFLOW_TRACKING_URI": f"http://me:{PASSWORDS['address']}@127.0.0.1:9"}
    for command in (
        ("refresh", str(study)),
        ("promote", "tiny"),
        ("export", "models:/tiny@champion", "--to", "json"),
    ):
        done = mixlaw(study.parent / "home", *command, **away)
        assert done.returncode == 1, done.stderr
        said = (done.stdout + done.stderr).encode()
        assert not [needle for needle in needles() if needle in said], done.stderr
        assert b"did not answer" in said
    assert not found_in(tmp_path / "copy")
