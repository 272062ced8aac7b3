"""The three floors: arrows only downwards, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FORBIDDEN = {
    "mixing": {"torch", "prefect", "mlflow", "proxies", "flows"},
    "proxies": {"prefect", "mlflow", "flows"},
}
TRAINERS_OWN = {"torch"}
"""What a trainer's writer or loader needs, imported inside the function of mixing/export that calls it."""


def imported(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports, anywhere in it."""
    return names_in(ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))), path)


def imported_in_functions_only(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports in functions and nowhere else."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    return names_in(inside, path) - names_in((node for node in ast.walk(tree) if node not in inside), path)


def names_in(nodes: Iterable[ast.AST], path: Path) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called.endswith(("import_module", "__import__")):
                names.add(str(node.args[0].value).split(".")[0])
    return names


@pytest.mark.parametrize("floor", sorted(FORBIDDEN))
def test_floors_import_only_downwards(floor: str) -> None:
    files = sorted((ROOT / floor).rglob("*.py"))
    assert files
    wrong = {}
    for path in files:
        names = imported(path) & FORBIDDEN[floor]
        if path.is_relative_to(ROOT / "mixing" / "export"):
            names -= TRAINERS_OWN & imported_in_functions_only(path)
        wrong[str(path.relative_to(ROOT))] = sorted(names)
    assert not {path: names for path, names in wrong.items() if names}


def test_the_check_sees_an_import(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text("def f():\n    import torch.nn\n    from prefect.states import Crashed\n")
    assert imported(code) == {"torch", "prefect"}
    assert imported_in_functions_only(code) == {"torch", "prefect"}
    code.write_text("import torch\n\ndef f():\n    import torch.nn\n    import prefect\n")
    assert imported_in_functions_only(code) == {"prefect"}


def best_of(runs: int, *command: str) -> float:
    """Least processor seconds of the command: the machine's other work is not ours to measure."""
    seconds = []
    for _ in range(runs):
        before = os.times()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        seconds.append(spent)
    return min(seconds)


def test_help_answers_at_once() -> None:
    assert best_of(5, sys.executable, "-m", "flows.cli.main", "--help") < 0.5


def test_mixing_is_light() -> None:
    """`mixlaw fit` on somebody's table starts without the heavy floors above it, in well under a second."""
    modules = [f"mixing.{path.stem}" for path in (ROOT / "mixing").glob("*.py") if path.stem != "__init__"]
    code = (
        f"import sys, {', '.join(modules)}; "
        "heavy = {'torch', 'prefect', 'mlflow', 'matplotlib'} & set(sys.modules); assert not heavy, heavy"
    )
    assert best_of(3, sys.executable, "-c", code) < 2.5


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from flows.cli.main import app; app(['--help'], standalone_mode=False); "
        "heavy = {'torch', 'prefect', 'mlflow', 'duckdb', 'polars', 'numpy', 'scipy', 'pydantic', 'yaml'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
