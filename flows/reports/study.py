"""The closing screen of a study: the answer, why, the tables behind it, and where everything is."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from flows.pipeline.publication import CHALLENGER
from flows.reports.conclusion import conclude
from flows.reports.decision import (
    decision_error,
    print_conclusion,
    print_laws,
    print_next_runs,
    print_tables,
)
from flows.reports.page import run_rows
from flows.reports.tables import table
from flows.settings.home import DEFAULT_HOME
from mixing.decision import wording
from proxies.runs import store as run_store

if TYPE_CHECKING:
    from flows.pipeline.publication import Publication
    from flows.pipeline.result import StudyResult


def closing(result: StudyResult, console: Console) -> None:
    """Print the closing screen: the answer, why, and what to do next; then the tables; then where things are."""
    decision = result.analysis.decision
    console.print()
    conclusion = conclude(decision, result.confirmation, result.analysis.fits.chosen)
    print_conclusion(conclusion, console)
    for name, reason in result.failures.items():
        console.print(Text(f"failed: {name}: {reason}", style="red"))
    print_tables(conclusion, console)
    print_next_runs(conclusion, console)
    if decision.has_answer:
        _confirmation(result, console)
    _runs(result, console)
    print_laws(result.analysis.fits, console, most=4, used=decision_error(result.analysis.left_out))
    _places(result, console)


def _runs(result: StudyResult, console: Console) -> None:
    header, rows = run_rows(result)
    repeated = sorted({domain for run in result.plan.runs for domain in run.pools})
    if repeated:
        # As they came out: whole windows, where the plan has shares.
        runs = {run.name: run_store.done(result.workspace.folder.runs / run.run) for run in result.runs}
        header = (*header, *(f"epochs of {domain}" for domain in repeated))
        rows = [(*row, *(_epochs(runs.get(row[0]), domain) for domain in repeated)) for row in rows]
    base = result.observations.base
    title = (
        "Runs: increments over the base model at their end, nats per token "
        f"(base: general {base['general']:.3f}, target {base['target']:.3f})"
    )
    console.print(table(title, header, rows))


def _epochs(record: dict[str, Any] | None, domain: str) -> str:
    epochs = (record or {}).get("epochs", {}).get(domain)
    return "-" if epochs is None else f"{epochs:.2f}"


def _confirmation(result: StudyResult, console: Console) -> None:
    confirmation = result.confirmation
    if confirmation is None:
        return
    rows = []
    for role, (value, low, high) in confirmation.predicted.items():
        observed = confirmation.observed[role]
        rows.append(
            (
                role,
                wording.signed(value),
                wording.span(low, high, 4),
                wording.signed(observed),
                wording.signed(observed - value),
                "yes" if confirmation.inside(role) else "no",
            )
        )
    title = f"Confirmation run at target share {confirmation.target_share:g}, predicted before any fit had seen it"
    if confirmation.other_text:
        title += ", on held-out text of its own"
    header = ("increment", "predicted", "interval", "observed", "difference", "inside")
    console.print(table(title, header, rows))


def _places(result: StudyResult, console: Console) -> None:
    folder = result.workspace.folder
    if result.spec is not None:
        console.print(f"mix spec   {_short(folder.mixspec)}")
        console.print(
            f"           export it: {_command('export', _short(folder.mixspec), '--to', 'megatron')}"
        )
    console.print(f"figures    {_short(folder.figures)}")
    if result.publication is not None:
        if result.publication.version is not None:
            _version(result.workspace.study.study, result.publication, console)
        console.print(Text.assemble("MLflow UI  ", (ui_command(result.workspace.root), "bold")))


def _version(name: str, publication: Publication, console: Console) -> None:
    new = " (new)" if publication.new_version else ""
    address = (
        f"models:/{name}@{publication.alias}"
        if publication.alias
        else f"models:/{name}/{publication.version}"
    )
    console.print(f"MLflow     {address}, version {publication.version}{new}")
    if publication.alias == CHALLENGER:
        if publication.verdict:
            console.print(Text(f"           not champion: {publication.verdict}"))
        console.print(f"           make it champion: {_command('promote', name)}")


def ui_command(root: Path) -> str:
    """The command that opens the MLflow UI on this home, as it can be pasted into this shell."""
    return _in_home(root) + _command("ui")


def run_command(root: Path, study: Path) -> str:
    """The command that resumes a study in its home, as it can be pasted into this shell."""
    return _in_home(root) + _command("run", _short(study))


def _in_home(root: Path) -> str:
    # Also where it is set now: it may have been set for this one command only.
    named = root != Path(DEFAULT_HOME).absolute() or "MIXLAW_HOME" in os.environ
    return f"MIXLAW_HOME={shlex.quote(_short(root))} " if named else ""


def _command(*arguments: str) -> str:
    """The command line `mixlaw ...`, with the program's path where the shell would not find it by name."""
    program = Path(sys.argv[0])
    on_path = shutil.which("mixlaw")
    if program.name != "mixlaw" or (on_path and Path(on_path).resolve() == program.resolve()):
        name = "mixlaw"
    else:
        name = _short(program.absolute())
    return " ".join([shlex.quote(part) for part in (name, *arguments)])


def _short(path: Path) -> str:
    """The path relative to the current folder, if it is below it."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def outcome_json(result: StudyResult) -> dict[str, Any]:
    """The decision as `mixlaw decide --json` has it, with the study's runs, confirmation and places."""
    folder, confirmation = result.workspace.folder, result.confirmation
    return {
        **result.analysis.decision.to_dict(),
        "status": result.analysis.decision.status,
        "runs": {"done": len(result.names), "failed": result.failures, "trained_now": result.trained},
        "confirmation": None if confirmation is None else dataclasses.asdict(confirmation),
        "mixspec": None if result.spec is None else str(folder.mixspec),
        "figures": str(folder.figures),
        "mlflow_version": result.publication.version if result.publication else None,
        "mlflow_alias": result.publication.alias or None if result.publication else None,
    }
