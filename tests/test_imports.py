"""The house: floors, rooms, sizes. Imports only downwards, no circles, and nothing heavy before it is needed."""

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


# Rooms. A room is a folder or a file directly below a floor.

ROOMS = {
    "mixing": (
        "errors amounts arguments atomic versions arrays strict_yaml mixture corpora runs laws fitting "
        "test_problems design decision spec export plots mixing"
    ),
    "proxies": "progress spec schedules models data runs checkpoint evaluate train proxies",
    "flows": (
        "settings study pipeline tracking importers reports trainers orchestration proxy_flow study_flow "
        "refresh_flow deployed demo cli flows"
    ),
}
"""From the ground up: a room may import those before it. A floor's own name, last, is its `__init__`."""

UPWARD = {
    ("mixing.fitting.report", "mixing.plots.fit"): "a report draws itself: `.plot()`",
    ("mixing.decision.result", "mixing.plots.ratio"): "a decision draws itself: `.plot()`",
    ("mixing.decision.result", "mixing.plots.mixture"): "a decision draws itself: `.plot()`",
    ("mixing.decision.result", "mixing.plots.style"): "a decision draws itself: `.plot()`",
    ("mixing.decision.result", "mixing.spec.build"): "a decision becomes a mix spec: `.to_spec()`",
    ("mixing.decision.result", "mixing.spec.model"): "a decision becomes a mix spec: `.to_spec()`",
    ("proxies.runs.worker", "proxies.train"): "a worker is the process that trains one run of the store",
    ("flows.orchestration.local_run", "flows.study_flow"): "`mixlaw run` starts the flow itself",
    ("flows.orchestration.register", "flows.study_flow"): "a deployment names the flow itself",
    ("flows.orchestration.register", "flows.refresh_flow"): "a deployment names the flow itself",
    ("flows.orchestration.register", "flows.proxy_flow"): "a deployment names the flow itself",
    ("flows.reports.deployments", "flows.orchestration.register"): "for the type of what it prints",
}
"""Imports upward between rooms, with the reason; docs/decisions.md has the same list."""

CIRCLES: tuple[set[str], ...] = ({"mixing.plots.fit", "mixing.fitting.report"},)
"""Files that import each other, which `UPWARD` explains."""

LONG_FILES: set[str] = set()
MOST_LINES = 450

LONG_FUNCTIONS = {
    # Twenty arguments, each with its sentence: the door for notebooks.
    "mixing/decision/decide.py:decide",
    # Half of it is its docstring with an example: the door as well.
    "mixing/fitting/fit.py:fit",
}
MOST_FUNCTION_LINES = 60


def modules(*floors: str) -> dict[str, Path]:
    """Every module of these packages by its dotted name."""
    found = {}
    for floor in floors:
        for path in sorted((ROOT / floor).rglob("*.py")):
            found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


MODULES = modules("mixing", "proxies", "flows")


def imported_modules(path: Path) -> set[str]:
    """The modules of the three floors that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import function` imports the package, `from package import module` the module.
            names |= whole & MODULES.keys()
            if whole - MODULES.keys():
                names.add(node.module)
    return names & MODULES.keys()


ARROWS = {name: imported_modules(path) - {name} for name, path in MODULES.items()}


def room(module: str) -> str:
    floor, _, rest = module.partition(".")
    return rest.partition(".")[0] or floor


def test_rooms_import_only_downwards() -> None:
    upward = set()
    for module, others in ARROWS.items():
        floor = module.partition(".")[0]
        rooms = ROOMS[floor].split()
        assert room(module) in rooms, f"give {floor}/{room(module)} its place among ROOMS"
        for other in others:
            if other.partition(".")[0] == floor and rooms.index(room(other)) > rooms.index(room(module)):
                upward.add((module, other))
    assert upward == UPWARD.keys()


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that reach each other."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            for other in arrows.get(ahead.pop(), set()) - seen:
                seen.add(other)
                ahead.append(other)
        return seen

    below = {module: reached(module) for module in arrows}
    loops = {
        frozenset(other for other in below[module] if module in below.get(other, set()))
        for module in arrows
        if module in below[module]
    }
    return [set(loop) for loop in loops]


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Imports inside functions count: they hide a circle, and do not undo it."""
    assert sorted(map(sorted, circles(ARROWS))) == sorted(map(sorted, CIRCLES))


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [{"a", "b", "c"}]


def test_exceptions_are_explained() -> None:
    text = " ".join((ROOT / "docs" / "decisions.md").read_text(encoding="utf-8").split())
    for (module, other), reason in UPWARD.items():
        assert reason
        assert f"`{module}` -> `{other}`" in text, f"docs/decisions.md lacks `{module}` -> `{other}`"


def test_files_and_functions_are_short() -> None:
    files, functions = set(), set()
    for path in MODULES.values():
        text, name = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        if text.count("\n") > MOST_LINES:
            files.add(name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > MOST_FUNCTION_LINES:
                    functions.add(f"{name}:{node.name}")
    assert files <= LONG_FILES, "over 450 lines"
    assert functions <= LONG_FUNCTIONS, "over 60 lines"


# Starting up.


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
    modules = [name for name in MODULES if name.startswith("mixing.") and room(name) != "plots"]
    code = (
        f"import sys, {', '.join(modules)}; "
        "heavy = {'torch', 'prefect', 'mlflow', 'matplotlib', 'scipy.stats'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert best_of(3, sys.executable, "-c", "import mixing.fitting.report, mixing.runs.readers") < 2.5


HEAVY = {"torch", "prefect", "mlflow", "duckdb", "polars", "numpy", "scipy", "pydantic", "yaml", "matplotlib"}


@pytest.mark.parametrize("arguments", [("mixlaw",), ("mixing",), ("flows.cli.main", "--help")])
def test_nothing_heavy_is_loaded_before_it_is_used(arguments: tuple[str, ...]) -> None:
    module, *options = arguments
    code = (
        "import importlib, sys\n"
        f"module = importlib.import_module({module!r})\n"
        f"if {options!r}:\n"
        "    try:\n"
        f"        module.main({options!r})\n"
        "    except SystemExit as ended:\n"
        "        assert not ended.code\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
