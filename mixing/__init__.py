"""What a mixture is, the laws, the fits, the decision, the mix spec, its exports. Pure: no torch, Prefect, MLflow.

The names in `__all__` are loaded when they are first used, so that `import mixing` costs nothing. `import mixlaw` hands
on the same names and the function `export`, whose name is here that of the subpackage `mixing.export`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixing.decision.decide import decide as decide
    from mixing.decision.predict import predict as predict
    from mixing.decision.question import Question as Question
    from mixing.decision.result import Decision as Decision
    from mixing.errors import InputError as InputError
    from mixing.errors import MixlawError as MixlawError
    from mixing.fitting.fit import fit as fit
    from mixing.fitting.report import FitReport as FitReport
    from mixing.fitting.report import LawFit as LawFit
    from mixing.mixture import Mixture as Mixture
    from mixing.runs.read import read_runs as read_runs
    from mixing.runs.table import RunTable as RunTable
    from mixing.spec.model import MixSpec as MixSpec
    from mixing.spec.yaml_file import load_spec as load_spec

__all__ = [
    "Decision",
    "FitReport",
    "InputError",
    "LawFit",
    "MixSpec",
    "MixlawError",
    "Mixture",
    "Question",
    "RunTable",
    "decide",
    "fit",
    "load_spec",
    "predict",
    "read_runs",
]

_PLACES = {
    "Decision": "mixing.decision.result",
    "FitReport": "mixing.fitting.report",
    "InputError": "mixing.errors",
    "LawFit": "mixing.fitting.report",
    "MixSpec": "mixing.spec.model",
    "Mixture": "mixing.mixture",
    "MixlawError": "mixing.errors",
    "Question": "mixing.decision.question",
    "RunTable": "mixing.runs.table",
    "decide": "mixing.decision.decide",
    "fit": "mixing.fitting.fit",
    "load_spec": "mixing.spec.yaml_file",
    "predict": "mixing.decision.predict",
    "read_runs": "mixing.runs.read",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
