"""Laws and a decision on the terminal, for a study and for anybody's table alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from flows.reports import wording as describe
from flows.reports.tables import table
from mixing.decision.result import Decision, Prediction

if TYPE_CHECKING:
    from mixing.fitting.cross_validation import Score
    from mixing.fitting.report import FitReport


def print_laws(fits: FitReport, console: Console, most: int | None = None) -> None:
    """The laws of every loss, least held-out error first; those without one are only named.

    With `most`, so many of each loss besides the chosen one and the baselines.
    """
    from mixing.fitting.selection import MODELS
    from mixing.laws import BASELINES

    rows = []
    unscored: dict[str, None] = {}
    left = 0
    tested = any(fit.test is not None for fit in fits.laws)
    for name in dict.fromkeys(fit.eval for fit in fits.laws):
        own = [fit for fit in fits.laws if fit.eval == name]
        own.sort(key=lambda fit: fit.cv.mae if fit.cv else math.inf)
        shown, rows_of = 0, max(fit.n_rows for fit in own)
        for fit in own:
            chosen = fits.chosen.get(name) == fit.law
            if fit.cv is None and not chosen:
                unscored[fit.law] = None
                continue
            kept = chosen or fit.law in BASELINES
            shown += not kept
            if most is not None and not kept and shown > most:
                left += 1
                continue
            rows.append(
                (
                    name,
                    fit.law + (" (fewer rows)" if fit.n_rows < rows_of else "") + (" *" if chosen else ""),
                    f"{fit.n_runs}",
                    *(_score(fit.cv)),
                    *(_score(fit.test) if tested else ()),
                )
            )
    header = ["loss", "law", "runs", "held-out error", "relative", "rank correlation"]
    if tested:
        header += ["test error", "relative", "rank correlation"]
    title = "Laws: error on mixtures left out of the fit, nats per token (* chosen)"
    if any(fit.cv_kind != "leave-mixture-out" for fit in fits.laws):
        title = (
            f"Laws: error on what was left out of the fit ({fits.laws[0].cv_kind}), nats per token (* chosen)"
        )
    console.print(table(title, tuple(header), rows, left=2))
    if left:
        console.print(f"  {left} more that erred more: fits.json\n", style="dim")
    for law in dict.fromkeys(fits.chosen.values()):
        if most is None and law in MODELS:
            console.print(f"  {law}, not to be trusted with: {MODELS[law].caution}\n", style="dim")
    if unscored:
        console.print(f"  too few mixtures to score: {', '.join(unscored)}\n", style="dim")


def _score(score: Score | None) -> tuple[str, str, str]:
    if score is None:
        return "-", "-", "-"
    return (
        f"{score.mae:.4f}",
        f"{score.mre:.3%}",
        f"{score.spearman:.3f}" if score.spearman is not None else "-",
    )


def print_decision(decision: Decision, console: Console) -> None:
    """Whatever was decided: one ratio, a mixture of many sources, or not yet; then what to doubt."""
    if decision.status == "not_yet":
        print_not_yet(decision, console)
    elif decision.share_intervals:
        print_mixture(decision, console)
        print_baselines(decision, console)
        print_front(decision, console)
        print_next(decision, console)
    else:
        print_decided(decision, console)
        print_baselines(decision, console)
    print_warnings(decision.warnings, console)


def print_mixture(decision: Decision, console: Console) -> None:
    """The best mixture with an interval per share, and what keeps it from being better."""
    asked = decision.question
    if decision.critical_ratio is not None:
        line = describe.ratio_line(decision)
        console.print(Text.assemble(("Share of target tokens ", "bold"), (line, "bold green")))
    natural = decision.baselines[0]
    shown = sorted((d for d in decision.shares if _counts(decision, d)), key=lambda d: -decision.shares[d])
    rows = [
        (
            domain,
            f"{decision.shares[domain]:.3f}",
            _share_span(decision, domain),
            f"{natural.shares.get(domain, 0.0):.3f}",
        )
        for domain in shown
    ]
    header = ("domain", "share", f"{asked.level:.0%} interval", natural.name)
    console.print(table("Best mixture of training tokens", header, rows))
    none = [d for d in decision.shares if d not in shown]
    if none:
        console.print(f"  next to nothing (below 0.005): {', '.join(none)}")
    console.print(f"  limits that it lies at: {'; '.join(decision.limits) or 'none'}")
    if asked.general:
        console.print(f"  general loss: {', '.join(asked.general)} within {asked.tolerance:g} nats")
    # A table without a tokens column counts every run as one.
    budget = f"at {asked.tokens:,} tokens, " if asked.tokens > 1 else ""
    console.print(f"  {budget}{decision.n_runs} runs, law {decision.law}")
    if decision.regret is not None:
        console.print(f"  knowing the losses exactly would gain about {decision.regret:.2g} nats more\n")


def _share_span(decision: Decision, domain: str) -> str:
    low, high = decision.share_intervals[domain]
    return (
        "at its limit" if high - low < 5e-4 and decision.shares[domain] > 5e-4 else describe.span(low, high)
    )


def _counts(decision: Decision, domain: str) -> bool:
    return decision.shares[domain] >= 0.005 or decision.share_intervals[domain][1] >= 0.01


def print_front(decision: Decision, console: Console) -> None:
    """What a higher general loss would buy."""
    if len(decision.front) < 2:
        return
    rows = [
        (
            describe.prediction_text(point.general),
            describe.prediction_text(point.target),
            main_shares(point.shares, 4),
        )
        for point in decision.front
    ]
    header = ("general", "target", "largest shares")
    console.print(
        table(
            "The best target loss for every general loss: increments, nats per token (±: of the law alone)",
            header,
            rows,
        )
    )


def main_shares(mixture: Mapping[str, float], most: int = 8) -> str:
    """`pile_cc 0.83, wikipedia_en 0.07, ...`, the largest first."""
    ordered = sorted(((d, s) for d, s in mixture.items() if s >= 0.005), key=lambda pair: -pair[1])
    return describe.shares(dict(ordered[:most])) + (", ..." if len(ordered) > most else "")


def print_next(decision: Decision, console: Console) -> None:
    """The runs that would narrow the answer most."""
    if decision.next_runs:
        console.print("Runs that would narrow it most (token shares; all in --json):")
        for mixture in decision.next_runs:
            console.print(f"  {main_shares(mixture)}")
        console.print()


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
    what = "a mixture" if any(len(mixture) > 2 for mixture in decision.next_runs) else "a ratio"
    console.print(Text(f"Not yet: these runs cannot support {what}.", style="bold yellow"))
    for test in decision.tests:
        console.print(f"  {describe.test_line(test)}")
    if decision.next_runs:
        console.print("  train these next (token shares):")
        for mixture in decision.next_runs:
            console.print(f"    {main_shares(mixture) if _many(decision) else describe.shares(mixture)}")
    console.print()


def _many(decision: Decision) -> bool:
    return any(len(mixture) > 4 for mixture in decision.next_runs)


def print_baselines(decision: Decision, console: Console) -> None:
    """The recommended mix against what people would guess, scored by the same law."""

    def row(name: str, mixture: dict[str, float], predicted: dict[str, Prediction]) -> tuple[str, ...]:
        share = sum(mixture.get(domain, 0.0) for domain in decision.question.target_domains)
        texts = [describe.prediction_text(predicted.get(role)) for role in roles]
        return (name, *([f"{share:.3f}"] if split else []), *texts)

    split = bool(decision.question.target_domains)
    roles = [role for role in ("general", "target") if role in decision.predicted]

    rows = [row("recommended", decision.shares, decision.predicted)]
    rows += [row(b.name, b.shares, b.predicted) for b in decision.baselines]
    title = "Against what people would guess: predicted increments, nats per token (±: of one new run)"
    console.print(table(title, ("mix", *(["target share"] if split else []), *roles), rows))


def print_warnings(warnings: list[str], console: Console) -> None:
    for warning in warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
