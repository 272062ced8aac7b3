"""The closing screen of a study: runs, laws, the decision with its doubt, and where everything lies."""

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

from flows import describe
from flows.commands.output import table
from flows.home import DEFAULT_HOME
from mixing.decision import Decision

if TYPE_CHECKING:
    from flows.pipeline import Outcome


def closing(outcome: Outcome, console: Console) -> None:
    """Print the closing screen."""
    decision = outcome.given.decision
    header, rows = describe.run_rows(outcome)
    title = "Runs: increments over the base model at the end, nats per token (below 0: better)"
    console.print(table(title, header, rows))
    base = outcome.seen.base
    console.print(f"base model: general {base['general']:.4f}, target {base['target']:.4f}\n")
    _laws(outcome, console)
    if decision.status == "decided":
        _decided(decision, console)
        _confirmation(outcome, console)
        _baselines(decision, console)
    else:
        _not_yet(decision, console)
    for name, reason in outcome.failures.items():
        console.print(Text(f"failed: {name}: {reason}", style="red"))
    for warning in decision.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    _places(outcome, console)


def _laws(outcome: Outcome, console: Console) -> None:
    fits = outcome.given.fits
    rows = []
    for fit in fits.laws:
        cv = fit.cv
        rows.append(
            (
                fit.eval,
                f"{fit.law} *" if fits.chosen.get(fit.eval) == fit.law else fit.law,
                f"{fit.n_runs}",
                f"{cv.mae:.4f}" if cv else "-",
                f"{cv.mre:.3%}" if cv else "-",
                f"{cv.spearman:.3f}" if cv and cv.spearman is not None else "-",
            )
        )
    header = ("loss", "law", "runs", "held-out error", "relative", "rank correlation")
    title = "Laws: error on mixtures left out of the fit, nats per token (* chosen)"
    console.print(table(title, header, rows, left=2))


def _decided(decision: Decision, console: Console) -> None:
    console.print(Text.assemble(("Critical ratio ", "bold"), (describe.ratio_line(decision), "bold green")))
    console.print(f"  share of target tokens; what binds: {describe.BINDING[decision.binding]}")
    for test in decision.tests:
        console.print(f"  {describe.test_line(test)}")
    console.print(f"  recommended mix: {describe.shares(decision.shares)}")
    asked = decision.question
    console.print(
        f"  at {asked.tokens:,} tokens, tolerance {asked.tolerance:g} nats, "
        f"{decision.n_runs} runs, law {decision.law}\n"
    )


def _not_yet(decision: Decision, console: Console) -> None:
    console.print(Text("Not yet: these runs cannot support a ratio.", style="bold yellow"))
    for test in decision.tests:
        console.print(f"  {describe.test_line(test)}")
    if decision.next_runs:
        console.print("  train these next (token shares):")
        for line in describe.next_runs(decision):
            console.print(f"    {line}")
    console.print()


def _confirmation(outcome: Outcome, console: Console) -> None:
    found = outcome.confirmation
    if found is None:
        return
    rows = []
    for role, (value, low, high) in found.predicted.items():
        observed = found.observed[role]
        rows.append(
            (
                role,
                describe.signed(value),
                describe.span(low, high, 4),
                describe.signed(observed),
                describe.signed(observed - value),
                "yes" if found.inside(role) else "no",
            )
        )
    title = f"Confirmation run at target share {found.target_share:g}, which no fit has seen"
    header = ("increment", "predicted", "interval", "observed", "difference", "inside")
    console.print(table(title, header, rows))


def _baselines(decision: Decision, console: Console) -> None:
    def row(name: str, mixture: dict[str, float], predicted: dict) -> tuple[str, ...]:  # type: ignore[type-arg]
        share = sum(mixture.get(domain, 0.0) for domain in decision.question.target_domains)
        texts = [describe.prediction_text(predicted.get(role)) for role in ("general", "target")]
        return (name, f"{share:.3f}", *texts)

    rows = [row("recommended", decision.shares, decision.predicted)]
    rows += [row(b.name, b.shares, b.predicted) for b in decision.baselines]
    title = "Against what people would guess: predicted increments, nats per token"
    console.print(table(title, ("mix", "target share", "general", "target"), rows))


def _places(outcome: Outcome, console: Console) -> None:
    folder = outcome.job.folder
    console.print()
    if outcome.spec is not None:
        console.print(f"mix spec   {_short(folder.mixspec)}")
        console.print(
            f"           export it: {_command('export', _short(folder.mixspec), '--to', 'megatron')}"
        )
    console.print(f"figures    {_short(folder.figures)}")
    if outcome.publication is not None:
        if outcome.publication.version is not None:
            name = outcome.job.study.study
            new = " (new)" if outcome.publication.new_version else ""
            console.print(f"MLflow     models:/{name}@champion, version {outcome.publication.version}{new}")
        console.print(Text.assemble("MLflow UI  ", (ui_command(outcome.job.root), "bold")))


def ui_command(root: Path) -> str:
    """The command that opens the MLflow UI on this home, as it can be pasted into this shell."""
    elsewhere = root != Path(DEFAULT_HOME).absolute() and "MIXLAW_HOME" not in os.environ
    return (f"MIXLAW_HOME={shlex.quote(_short(root))} " if elsewhere else "") + _command("ui")


def _command(*arguments: str) -> str:
    """`mixlaw ...`, by its path where the shell would not find it by name."""
    program = Path(sys.argv[0])
    found = shutil.which("mixlaw")
    if program.name != "mixlaw" or (found and Path(found).resolve() == program.resolve()):
        name = "mixlaw"
    else:
        name = _short(program.absolute())
    return " ".join([shlex.quote(part) for part in (name, *arguments)])


def _short(path: Path) -> str:
    """Relative to the current folder where it lies below it."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """The decision as `mixlaw decide --json` has it, with the study's runs, confirmation and places."""
    from mixing.decide import decision_json

    folder, found = outcome.job.folder, outcome.confirmation
    return {
        **decision_json(outcome.given.decision),
        "status": outcome.given.decision.status,
        "runs": {"done": len(outcome.names), "failed": outcome.failures, "trained_now": outcome.trained},
        "confirmation": None if found is None else dataclasses.asdict(found),
        "mixspec": None if outcome.spec is None else str(folder.mixspec),
        "figures": str(folder.figures),
        "mlflow_version": outcome.publication.version if outcome.publication else None,
    }
