"""The files of deploy/ by their own tools, and what the entry scripts refuse. What images start: tests/scenarios."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any
from uuid import uuid4

import kubernetes_validate
import pytest
import torch
import yaml

from flows.settings import home
from flows.settings.environment import device as device_of
from mixing.errors import InputError
from proxies.runs.worker import check_device
from tests.scenarios.tiny_study import ROOT

DEPLOY = ROOT / "deploy"
ENTRY = DEPLOY / "entry"
KUBERNETES = DEPLOY / "kubernetes"
KUBERNETES_VERSION = "1.33"


def tool(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program that was installed with the test tools, in the root of the repository."""
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    program = shutil.which(command[0], path=path)
    assert program, f"{command[0]} is not installed: make test installs it"
    return subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120)


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def test_dockerfile_passes_its_linter() -> None:
    done = tool("hadolint", "deploy/Dockerfile")
    assert done.returncode == 0, done.stdout


def test_what_the_dockerfile_copies_is_sent_to_the_engine() -> None:
    """.dockerignore leaves out everything but what it names."""
    sent = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line
                assert any(source == kept or source.startswith(f"{kept}/") for kept in sent) or any(
                    kept.startswith(source) for kept in sent
                ), line


def test_the_image_has_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    dockerfile = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert "mixlaw" in packages
    assert all(f"COPY {package} {package}" in dockerfile for package in packages)


def test_the_image_installs_what_pyproject_asks_for() -> None:
    command = [sys.executable, str(DEPLOY / "dependencies.py"), "server"]
    wanted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    assert "fastapi<0.151" in wanted
    assert "mlflow[auth]" in wanted
    assert any(line.startswith("psycopg2-binary") for line in wanted)
    assert not any(line.startswith("mixlaw") for line in wanted)


def test_shell_scripts_pass_their_linter() -> None:
    done = tool("shellcheck", *[str(path) for path in ENTRY.glob("*.sh")], ".ci/run")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_files_follow_the_specification(name: str) -> None:
    done = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", f"deploy/{name}")
    assert done.returncode == 0, done.stdout


class TestCompose:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    text = (DEPLOY / "compose.yaml").read_text()

    def test_ports_are_published_on_the_loopback_address_only(self) -> None:
        published = [
            port for service in self.compose["services"].values() for port in service.get("ports", [])
        ]
        assert len(published) == 2
        assert all(port.startswith("127.0.0.1:") for port in published)
        assert self.compose["networks"]["inside"]["internal"]

    def test_it_does_not_start_without_its_secrets(self) -> None:
        """Every password comes from the environment, without a default, and env.example names it."""
        required = set(re.findall(r"\$\{(\w+):\?", self.text))
        assert required == {
            "POSTGRES_PASSWORD",
            "POSTGRES_PREFECT_PASSWORD",
            "POSTGRES_MLFLOW_PASSWORD",
            "PREFECT_AUTH_STRING",
            "MLFLOW_ADMIN_PASSWORD",
            "MLFLOW_WORKER_PASSWORD",
            "MLFLOW_SECRET_KEY",
        }
        asked = re.findall(r"^(\w+)=(.*)$", (DEPLOY / "env.example").read_text(), flags=re.MULTILINE)
        assert {name for name, _ in asked} == required
        assert not any(value for _, value in asked)
        for service in self.compose["services"].values():
            for name, value in service.get("environment", {}).items():
                if re.search("PASSWORD|AUTH_STRING|SECRET", name):
                    assert re.match(r"\$\{\w+:\?", value), name

    def test_services_start_entry_scripts_without_rights(self) -> None:
        for name, service in self.compose["services"].items():
            if name == "postgres":
                continue
            assert os.access(ENTRY / service["command"][0], os.X_OK)
            assert service["cap_drop"] == ["ALL"]
            assert service["read_only"]

    def test_every_service_but_the_one_shot_is_checked(self) -> None:
        """The worker by the image's own check."""
        for name, service in self.compose["services"].items():
            if name != "worker":
                assert service["healthcheck"]
        assert "HEALTHCHECK" in (DEPLOY / "Dockerfile").read_text()


@pytest.mark.parametrize(
    "path", sorted(KUBERNETES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(KUBERNETES))
)
def test_kubernetes_files_follow_their_schemas(path: Path) -> None:
    for document in documents(path.read_text()):
        assert document["kind"] != "Secret"
        if document["kind"] != "Kustomization":
            kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed: it builds the overlays"
)
@pytest.mark.parametrize("overlay", ["base", "gpu"])
def test_overlays_build_and_follow_their_schemas(overlay: str) -> None:
    done = tool("kubectl", "kustomize", str(KUBERNETES / overlay))
    assert done.returncode == 0, done.stderr
    built = documents(done.stdout)
    config_maps = {item["metadata"]["name"] for item in built if item["kind"] == "ConfigMap"}
    deployments = {item["metadata"]["name"] for item in built if item["kind"] == "Deployment"}
    assert deployments == {"prefect", "mlflow", "worker"} | ({"worker-gpu"} if overlay == "gpu" else set())
    for item in built:
        kubernetes_validate.validate(item, KUBERNETES_VERSION, strict=True)
        for pod in pods(item):
            assert pod["securityContext"]["runAsNonRoot"]
            for volume in pod["volumes"]:
                if "configMap" in volume:
                    assert volume["configMap"]["name"] in config_maps
            for container in pod["containers"] + pod.get("initContainers", []):
                assert not container["securityContext"]["allowPrivilegeEscalation"]
                for variable in container["env"]:
                    if re.search("PASSWORD|AUTH_STRING$|SECRET_KEY$", variable["name"]):
                        named = variable["name"].startswith("PREFECT_INTEGRATIONS")
                        assert named or "secretKeyRef" in variable["valueFrom"], variable["name"]


def pods(item: dict[str, Any]) -> list[dict[str, Any]]:
    template = item.get("spec", {}).get("template")
    return [template["spec"]] if template else []


@pytest.mark.parametrize(("overlay", "gpus"), [("base", None), ("gpu", 1)])
def test_jobs_of_the_kubernetes_pool_are_valid(
    overlay: str, gpus: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Prefect's worker makes them: of the template, the deployment's job variables, and its own settings."""
    prefix = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET"
    monkeypatch.setenv(f"{prefix}_NAME", "mixlaw")
    monkeypatch.setenv(f"{prefix}_KEY", "PREFECT_AUTH_STRING")
    job = rendered_job(json.loads((KUBERNETES / overlay / "job-template.json").read_text()), monkeypatch)
    kubernetes_validate.validate(job, KUBERNETES_VERSION, strict=True)
    assert SECRET not in json.dumps(job)
    container = job["spec"]["template"]["spec"]["containers"][0]
    environment = {variable["name"]: variable for variable in container["env"]}
    assert environment["MIXLAW_HOME"]["value"] == "/data"
    login = environment["PREFECT_API_AUTH_STRING"]["valueFrom"]["secretKeyRef"]
    assert login == {"name": "mixlaw", "key": "PREFECT_AUTH_STRING"}
    assert ("MIXLAW_DEVICE" in environment) == (gpus is not None)
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["resources"]["limits"].get("nvidia.com/gpu") == gpus
    assert container["envFrom"] == [{"secretRef": {"name": "mixlaw-client"}}]


def rendered_job(template: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    import prefect_kubernetes.worker
    from prefect.client.schemas.objects import FlowRun
    from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings
    from prefect.utilities.templating import apply_values, find_placeholders
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    properties = template["variables"]["properties"]
    assert {found.name for found in find_placeholders(template["job_configuration"])} == set(properties)
    variables = {"MIXLAW_HOME": "/data", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}
    given = {"env": properties["env"]["default"] | variables}
    values = {name: variable["default"] for name, variable in properties.items()} | given
    configuration = KubernetesWorkerJobConfiguration(**apply_values(template["job_configuration"], values))
    # The settings of a server that other tests started would hide the environment's.
    with temporary_settings({PREFECT_API_AUTH_STRING: f"me:{SECRET}"}):
        configuration.prepare_for_flow_run(
            FlowRun(id=uuid4(), flow_id=uuid4(), name="proxy target=0.5 seed=0")
        )
    created: list[dict[str, Any]] = []

    class Cluster:
        def __init__(self, client: object) -> None: ...

        async def create_namespaced_job(self, namespace: str, job: dict[str, Any]) -> None:
            created.append(job)

    monkeypatch.setattr(prefect_kubernetes.worker, "BatchV1Api", Cluster)
    worker = prefect_kubernetes.worker.KubernetesWorker(work_pool_name="mixlaw")
    asyncio.run(worker._create_job(configuration, client=None))
    return created[0]


SECRET = "hunter2%/@"
COMPLETE = {
    "prefect_server.py": {
        "PREFECT_SERVER_API_AUTH_STRING": f"me:{SECRET}",
        "POSTGRES_PREFECT_PASSWORD": SECRET,
    },
    "mlflow_server.py": {
        "POSTGRES_MLFLOW_PASSWORD": SECRET,
        "MLFLOW_AUTH_ADMIN_PASSWORD": SECRET,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": SECRET,
    },
    "mlflow_account.py": {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "MLFLOW_AUTH_ADMIN_PASSWORD": SECRET,
        "MLFLOW_TRACKING_USERNAME": "mixlaw",
        "MLFLOW_TRACKING_PASSWORD": SECRET,
    },
    "worker.py": {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT_API_AUTH_STRING": f"me:{SECRET}",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "MLFLOW_TRACKING_USERNAME": "mixlaw",
        "MLFLOW_TRACKING_PASSWORD": SECRET,
        "MIXLAW_HOME": "/nowhere",
    },
    "databases.sh": {"POSTGRES_PREFECT_PASSWORD": SECRET, "POSTGRES_MLFLOW_PASSWORD": SECRET},
}


@pytest.mark.parametrize(
    ("script", "missing"), [(script, name) for script, names in COMPLETE.items() for name in names]
)
@pytest.mark.parametrize("given", [None, ""])
def test_entry_scripts_refuse_to_start_without(script: str, missing: str, given: str | None) -> None:
    """Unset, and empty as an unset variable of compose would be: one line that names it, and no secret."""
    variables = {**COMPLETE[script], "PATH": os.environ["PATH"]}
    del variables[missing]
    if given is not None:
        variables[missing] = given
    command = [str(ENTRY / script)] if script.endswith(".sh") else [sys.executable, str(ENTRY / script)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert missing in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("script", "variable", "address", "said"),
    [
        ("worker.py", "PREFECT_API_URL", f"http://me:{SECRET}@127.0.0.1:9/api", "PREFECT_API_AUTH_STRING"),
        ("worker.py", "MLFLOW_TRACKING_URI", f"http://me:{SECRET}@127.0.0.1:9", "MLFLOW_TRACKING_PASSWORD"),
        ("worker.py", "PREFECT_API_URL", "localhost:4200/api", "not an address"),
        ("mlflow_account.py", "MLFLOW_TRACKING_URI", "notaurl", "not an address"),
        ("mlflow_account.py", "MLFLOW_TRACKING_URI", f"http://me:{SECRET}@127.0.0.1:9", "holds a login"),
    ],
)
def test_addresses_that_scripts_refuse(script: str, variable: str, address: str, said: str) -> None:
    variables = {**COMPLETE[script], "PATH": os.environ["PATH"], "MIXLAW_HOME": tempfile.gettempdir()}
    command = [sys.executable, str(ENTRY / script)]
    done = subprocess.run(
        command, env={**variables, variable: address}, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr
    assert SECRET not in done.stderr


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(InputError, match="is not a folder"):
        home.home({"MIXLAW_HOME": str(tmp_path / "home")})


def test_what_a_shell_starts_in_the_background_can_be_ended() -> None:
    """A worker that ignores SIGINT, as the children of `command &` do, would ignore SIGTERM as well."""
    program = "import signal; print(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)"
    start = f"from environment import become; become(['{sys.executable}', '-c', '{program}'], {{}})"
    command = f'trap "" INT; exec {sys.executable} -c "{start}"'
    done = subprocess.run(["bash", "-c", command], cwd=ENTRY, capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() == "True", done.stderr


def test_any_character_may_be_in_a_database_password() -> None:
    from urllib.parse import unquote, urlsplit

    password = "a%b/c@d:e#f ü?"
    call = f"database_url('postgresql', 'mlflow', {password!r}, 'mlflow')"
    program = f"from environment import database_url; print({call})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ENTRY, capture_output=True, text=True, check=True
    )
    parts = urlsplit(done.stdout.strip())
    assert unquote(parts.password or "") == password
    assert (parts.hostname, parts.port, parts.path) == ("127.0.0.1", 5432, "/mlflow")


@pytest.mark.parametrize(
    ("given", "device"), [("", "cpu"), ("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1")]
)
def test_the_environment_says_what_runs_train_on(given: str, device: str) -> None:
    assert device_of({"MIXLAW_DEVICE": given}) == device


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(InputError, match=r"MIXLAW_DEVICE is 'gpu'.*cuda"):
        device_of({"MIXLAW_DEVICE": "gpu"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    for device in ("cuda", "cuda:3"):
        with pytest.raises(InputError, match=rf"MIXLAW_DEVICE is {device}: .*train on the CPU"):
            check_device(device)


def test_links_name_mlflow_as_browsers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in compose.yaml call it mlflow:5000, which no browser knows."""
    from flows.orchestration.artifacts import mlflow_link

    class Published:
        uri = "http://me:secret@mlflow:5000"

    assert mlflow_link(Published(), "models/tiny") == "http://mlflow:5000/#/models/tiny"  # type: ignore[arg-type]
    monkeypatch.setenv("MIXLAW_MLFLOW_UI_URL", "http://localhost:5000")
    assert mlflow_link(Published(), "models/tiny") == "http://localhost:5000/#/models/tiny"  # type: ignore[arg-type]
