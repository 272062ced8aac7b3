"""The mix spec that SPEC names."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from flows.settings import home
from flows.settings.environment import set_defaults, tracking_uri
from flows.tracking.mix_versions import fetch_spec
from mixing.errors import InputError, MixlawError
from mixing.spec.model import MixSpec
from mixing.spec.yaml_file import load_spec


def load_mix(spec: str, data_root: str | None = None) -> MixSpec:
    """The mix spec in a file, or of a registered mix in MLflow (`models:/NAME@champion`).

    With `data_root` its token files are those in that folder. Raises InputError for a spec that cannot be
    used, MixlawError where MLflow is not installed or does not answer.
    """
    mix = _registered(spec) if spec.startswith("models:/") else load_spec(Path(spec))
    if data_root is None:
        return mix
    try:
        return mix.with_data_root(data_root)
    except InputError as error:
        raise InputError(error.message.replace("data_root", "--data-root", 1), error.hint) from None


def _registered(address: str) -> MixSpec:
    if importlib.util.find_spec("mlflow") is None:
        raise MixlawError(
            f"{address}: MLflow is not installed in this environment",
            "Give the mixspec.yaml: it is an artifact of the chosen mix",
        )
    root = home.home()
    set_defaults(root)
    with tempfile.TemporaryDirectory() as folder:
        return load_spec(fetch_spec(address, tracking_uri(root), Path(folder)))
