"""Laws and a decision on the terminal, for a study and for anybody's table alike: the answer first, then why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from flows.reports.conclusion import Conclusion, conclude
from flows.reports.tables import indented, table
from mixing.decision import wording
from mixing.decision.result import Decision
from mixing.runs.metrics import DEFAULT, METRICS

if TYPE_CHECKING:
    from mixing.decision.critical_ratio.left_out import LeftOut
    from mixing.fitting.cross_validation import Score
    from mixing.fitting.report import FitReport, LawFit

MOST_LOSSES = 20
"""Losses whose choice has a line of its own."""


def print_decision(decision: Decision, console: Console) -> None:
    """A decision from a runs table: the answer, why, what to doubt, then the tables and the next runs."""
    conclusion = conclude(decision)
    print_conclusion(conclusion, console)
    if decision.share_intervals:
        print_mixture(decision, console)
    print_tables(conclusion, console)
    print_next_runs(conclusion, console)
    print_front(decision, console)


def print_conclusion(conclusion: Conclusion, console: Console) -> None:
    """The answer and its facts, why, and warnings."""
    console.print(
        indented(
            conclusion.answer, console, first="", style="bold green" if conclusion.decided else "bold yellow"
        )
    )
    for line in conclusion.facts:
        console.print(indented(line, console))
    if conclusion.why:
        console.print(Text("Why", style="bold"))
    for line in conclusion.why:
        console.print(indented(line, console))
    print_warnings(conclusion.warnings, console)
    console.print()


def print_tables(conclusion: Conclusion, console: Console) -> None:
    """Each loss at the recommended mix, and the mix beside the usual ones."""
    for one in conclusion.tables:
        console.print(table(one.title, one.header, one.rows, left=one.text_columns))


def print_next_runs(conclusion: Conclusion, console: Console) -> None:
    """The mixtures to train next, and what each buys."""
    if not conclusion.next_runs:
        return
    console.print(Text(conclusion.next_title, style="bold"))
    for line in conclusion.next_runs:
        console.print(indented(line, console))
    console.print()


def print_warnings(warnings: list[str], console: Console) -> None:
    """A yellow line for each warning."""
    for warning in warnings:
        console.print(indented(warning, console, first="warning: ", style="yellow"))


def print_laws(
    fits: FitReport,
    console: Console,
    most: int | None = None,
    used: str = "",
    metrics: Mapping[str, str] | None = None,
) -> None:
    """The laws of every loss, least held-out error first; those without one are only named.

    Before them stands how far off the decision is on mixtures left out, `used`, or where there is none the choice of
    laws. With `most`, at most that many laws for each loss besides the chosen one and the baselines. `metrics` are
    those of validation sets that hold another one than a loss (`mixing.runs.metrics`).
    """
    from mixing.fitting.selection import MODELS

    for line in [used] if used else choice_lines(fits, metrics or {}):
        console.print(indented(line, console, first=""))
    rows: list[tuple[str, ...]] = []
    unscored: dict[str, None] = {}
    omitted = 0
    tested = any(fit.test is not None for fit in fits.laws)
    for name in dict.fromkeys(fit.eval for fit in fits.laws):
        own = [fit for fit in fits.laws if fit.eval == name]
        scored = [fit for fit in own if fit.cv is not None or fits.chosen.get(name) == fit.law]
        unscored |= dict.fromkeys(fit.law for fit in own if fit not in scored)
        shown = _shown(scored, fits.chosen.get(name), most)
        omitted += len(scored) - len(shown)
        rows += [_law_row(fit, fits.chosen.get(name), max(f.n_rows for f in own), tested) for fit in shown]
    header = ["loss", "law", "runs", "held-out error", "relative", "Spearman"]
    if tested:
        header += ["test error", "relative", "Spearman"]
    console.print(table(_laws_title(fits, metrics or {}), header, rows, left=2))
    if omitted:
        console.print(f"  {omitted} laws with larger errors: see fits.json\n", style="dim")
    for law in dict.fromkeys(fits.chosen.values()):
        if most is None and law in MODELS:
            console.print(f"  caution with {law}: {MODELS[law].caution}\n", style="dim")
    if unscored:
        console.print(f"  too few mixtures to score: {', '.join(unscored)}\n", style="dim")


def choice_lines(fits: FitReport, metrics: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """For each loss the law chosen and how far off it is, the choice included: the least of many errors flatters."""
    lines = []
    for name, law in fits.chosen.items():
        score, choice = fits.error(name), fits.choices.get(name)
        if score is None:
            lines.append(f"{name}: {law}, too few mixtures to say how far off")
            continue
        including = ", its choice included" if choice is not None and choice.cv is not None else ""
        lines.append(
            f"{name}: {law} is off by {score.mae:.4f} {METRICS[metrics.get(name, DEFAULT)].unit} "
            f"({score.mre:.3%}) on what was left out{including}"
        )
    if len(lines) > MOST_LOSSES:
        lines[MOST_LOSSES:] = [f"... and {len(lines) - MOST_LOSSES} more losses"]
    return lines


def decision_error(predictions: list[LeftOut]) -> str:
    """How far off what the decision uses is on mixtures left out; "" where nobody knows."""
    from mixing.decision.critical_ratio.left_out import mean_errors

    errors = [f"{error:.4f} nats ({role})" for role, error in mean_errors(predictions).items()]
    return f"What the decision uses is off by {' and '.join(errors)} on mixtures left out" if errors else ""


def _laws_title(fits: FitReport, metrics: Mapping[str, str]) -> str:
    units = {METRICS[metrics.get(fit.eval, DEFAULT)].loss_unit for fit in fits.laws}
    unit = units.pop() if len(units) == 1 else "in the unit of each loss"
    if all(fit.cv_kind == "leave-mixture-out" for fit in fits.laws):
        return f"Laws: error on mixtures left out of the fit, {unit} (* chosen)"
    return f"Laws: error on what was left out of the fit ({fits.laws[0].cv_kind}), {unit} (* chosen)"


def _shown(fits: list[LawFit], chosen: str | None, most: int | None) -> list[LawFit]:
    """The fits in order of their error: the chosen one, the baselines, and `most` of the others."""
    from mixing.laws import BASELINES

    ordered = sorted(fits, key=lambda fit: fit.cv.mae if fit.cv else math.inf)
    always = [fit for fit in ordered if fit.law == chosen or fit.law in BASELINES]
    others = [fit for fit in ordered if fit not in always][:most]
    return [fit for fit in ordered if fit in always or fit in others]


def _law_row(fit: LawFit, chosen: str | None, rows: int, tested: bool) -> tuple[str, ...]:
    law = fit.law + (" (fewer rows)" if fit.n_rows < rows else "") + (" *" if fit.law == chosen else "")
    return (fit.eval, law, str(fit.n_runs), *_score(fit.cv), *(_score(fit.test) if tested else ()))


def _score(score: Score | None) -> tuple[str, str, str]:
    if score is None:
        return "-", "-", "-"
    rank = "-" if score.spearman is None else f"{score.spearman:.3f}"
    return f"{score.mae:.4f}", f"{score.mre:.3%}", rank


def print_mixture(decision: Decision, console: Console) -> None:
    """The recommended mixture beside the best estimate, with an interval per share, and the natural one."""
    natural, estimate = decision.baselines[0], decision.estimate_shares
    shown = sorted((d for d in decision.shares if _counts(decision, d)), key=lambda d: -decision.shares[d])
    rows = [
        (
            domain,
            f"{decision.shares[domain]:.3f}",
            *([f"{estimate.get(domain, 0.0):.3f}"] if estimate else []),
            _share_span(decision, domain),
            f"{natural.shares.get(domain, 0.0):.3f}",
        )
        for domain in shown
    ]
    level = f"{decision.question.level:.0%} interval"
    header = ("domain", "share", *(["best estimate"] if estimate else []), level, natural.name)
    console.print(table("Best mixture of training tokens", header, rows))
    small = [d for d in decision.shares if d not in shown]
    if small:
        console.print(f"  below {wording.SMALL:g}: {', '.join(small)}\n")


def _share_span(decision: Decision, domain: str) -> str:
    low, high = decision.share_intervals[domain]
    # The interval is of the best estimate, which a safer mixture may leave.
    share = (decision.estimate_shares or decision.shares).get(domain, 0.0)
    at_limit = high - low < wording.SAME and share > wording.SAME
    return "at its limit" if at_limit else wording.span(low, high)


def _counts(decision: Decision, domain: str) -> bool:
    return decision.shares[domain] >= wording.SMALL or decision.share_intervals[domain][1] >= 0.01


def print_front(decision: Decision, console: Console) -> None:
    """What a higher general loss would buy."""
    if len(decision.front) < 2:
        return
    rows = [
        (
            wording.prediction_text(point.general),
            wording.prediction_text(point.target),
            wording.main_shares(point.shares, 4),
        )
        for point in decision.front
    ]
    title = "The best target loss for every general loss: increments, nats per token (±: of the law alone)"
    console.print(table(title, ("general", "target", "largest shares"), rows))
