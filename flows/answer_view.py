"""Laws and a decision on the terminal, for a study and for anybody's table alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from flows import describe
from flows.commands.output import table
from mixing.decision import Decision, Prediction

if TYPE_CHECKING:
    from mixing.fit_laws import FitReport


def print_laws(fits: FitReport, console: Console) -> None:
    """Every law of every loss with its error on mixtures left out."""
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


def print_decided(decision: Decision, console: Console) -> None:
    """The critical ratio, its interval, what binds it, and the mix."""
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


def print_not_yet(decision: Decision, console: Console) -> None:
    """That there is no answer yet, and which runs would give one."""
    console.print(Text("Not yet: these runs cannot support a ratio.", style="bold yellow"))
    for test in decision.tests:
        console.print(f"  {describe.test_line(test)}")
    if decision.next_runs:
        console.print("  train these next (token shares):")
        for line in describe.next_runs(decision):
            console.print(f"    {line}")
    console.print()


def print_baselines(decision: Decision, console: Console) -> None:
    """The recommended mix against what people would guess, scored by the same law."""

    def row(name: str, mixture: dict[str, float], predicted: dict[str, Prediction]) -> tuple[str, ...]:
        share = sum(mixture.get(domain, 0.0) for domain in decision.question.target_domains)
        texts = [describe.prediction_text(predicted.get(role)) for role in ("general", "target")]
        return (name, f"{share:.3f}", *texts)

    rows = [row("recommended", decision.shares, decision.predicted)]
    rows += [row(b.name, b.shares, b.predicted) for b in decision.baselines]
    title = "Against what people would guess: predicted increments, nats per token"
    console.print(table(title, ("mix", "target share", "general", "target"), rows))


def print_warnings(warnings: list[str], console: Console) -> None:
    for warning in warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
