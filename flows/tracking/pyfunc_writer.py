"""A mix spec as a folder that MLflow can load as a model, from code and JSON."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from pathlib import Path

import yaml

SPEC_NAME = "mixspec.yaml"
CODE = Path(__file__).with_name("pyfunc_model.py")
REQUIRES = ("mlflow>=3", "pandas")


def write_model(spec: Path, folder: Path) -> None:
    """Write the spec and what `mlflow.pyfunc.load_model` needs to `folder`, which must not exist."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    mix = yaml.safe_load(spec.read_text(encoding="utf-8"))
    domains = list(mix.get("domains", {}))
    outputs = Schema([ColSpec("double", name) for name in domains]) if domains else None
    signature = ModelSignature(inputs=Schema([ColSpec("long", "tokens", required=False)]), outputs=outputs)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = Path(scratch) / "mix.json"
        content.write_text(json.dumps(mix, ensure_ascii=False), encoding="utf-8")
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(CODE),
            artifacts={"mix": str(content)},
            pip_requirements=list(REQUIRES),
            signature=signature,
        )
    shutil.copy(spec, folder / SPEC_NAME)
