"""Two mixes, or the versions of one, as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from flows.reports.progress import duration
from flows.reports.tables import table
from mixing.amounts import format_amount
from mixing.decision.wording import LIMITS, signed, span

if TYPE_CHECKING:
    from flows.tracking.comparison import Comparison, Side
    from flows.tracking.registry import RegistryStatus


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Which mix would be champion, then both mixes line by line, then what makes them hard to compare."""
    print_verdict(comparison, console)
    a, b = comparison.sides
    rows: list[tuple[str, str, str, str]] = []
    for name in dict.fromkeys([*a.shares, *b.shares]):
        one, two = a.shares.get(name, 0.0), b.shares.get(name, 0.0)
        rows.append((f"share of {name}", f"{one:.3f}", f"{two:.3f}", f"{two - one:+.3f}"))
    rows.append(
        (
            "target share",
            f"{a.target_share:.3f}",
            f"{b.target_share:.3f}",
            f"{b.target_share - a.target_share:+.3f}",
        )
    )
    level = f"{a.level or b.level:.0%} " if a.level or b.level else ""
    rows.append((f"  {level}interval", _span(a), _span(b), ""))
    for role in ("general", "target"):
        rows += _predicted(role, a, b, comparison.same_base is not False)
    for name in dict.fromkeys([*a.epochs, *b.epochs]):
        rows.append((f"epochs of {name}", _number(a.epochs.get(name)), _number(b.epochs.get(name)), ""))
    rows.append(("tokens of the run", format_amount(a.total_tokens), format_amount(b.total_tokens), ""))
    rows.append(("limited by", _limit(a), _limit(b), ""))
    rows.append(("law", a.law or "-", b.law or "-", ""))
    rows.append(("runs behind it", str(a.proxy_runs or "-"), str(b.proxy_runs or "-"), ""))
    rows.append(("  tokens trained", _count(a.proxy_tokens), _count(b.proxy_tokens), ""))
    rows.append(("  seconds of training", _seconds(a.proxy_seconds), _seconds(b.proxy_seconds), ""))
    console.print(table("Two mixes", ("", f"A {a.address}", f"B {b.address}", "B - A"), rows))
    for what, differences in (("question", comparison.question), ("data", comparison.data)):
        if differences:
            console.print(Text(f"not the same {what}: {'; '.join(differences)}"))
    if comparison.same_base is False:
        console.print("not the same base model: increments over it cannot be subtracted")
    if comparison.data:
        beside = "" if comparison.same_base is False else "; increments over one base can be compared"
        console.print(f"losses on other text or tokens cannot be subtracted{beside}")


def print_verdict(comparison: Comparison, console: Console) -> None:
    """What the rule for champions says of these two specs, and how far apart they are."""
    verb = "would" if comparison.takes_over else "would not"
    console.print(Text(f"B {verb} take over from A: {comparison.verdict}", style="bold"))
    console.print("  by these specs alone; a study run also weighs, by its own law, what staying would cost")
    console.print(f"  B reallocates {comparison.moved:.1%} of the tokens")
    console.print()


def print_versions(now: RegistryStatus, console: Console) -> None:
    """The versions of a mix, and how champions followed each other."""
    ranks = {now.champion: "champion", now.challenger: "challenger"}
    rows = [(version, ranks.get(version, ""), content) for version, content in now.versions.items()]
    console.print(table(f"{now.name}: versions", ("version", "alias", "what it says"), rows, left=3))
    if now.history:
        turns = [
            (turn.at[:19].replace("T", " "), turn.version, turn.before or "-", turn.by, turn.reason)
            for turn in reversed(now.history)
        ]
        header = ("since (UTC)", "champion", "before", "by", "why")
        console.print(table("Champions", header, turns, left=5))


def _predicted(role: str, a: Side, b: Side, same_base: bool) -> list[tuple[str, str, str, str]]:
    one, two = a.predicted.get(role), b.predicted.get(role)
    if one is None and two is None:
        return []

    def cell(predicted: dict[str, Any] | None, key: str) -> str:
        if predicted is None:
            return "-"
        return signed(predicted[key]) if key == "increment" else f"{predicted[key]:.4f}"

    def spread(predicted: dict[str, Any] | None) -> str:
        return "-" if predicted is None else span(predicted["interval"][0], predicted["interval"][1], 4)

    by = signed(two["increment"] - one["increment"]) if one and two and same_base else ""
    return [
        (f"{role} loss", cell(one, "loss"), cell(two, "loss"), ""),
        ("  interval", spread(one), spread(two), ""),
        ("  over the base", cell(one, "increment"), cell(two, "increment"), by),
    ]


def _limit(side: Side) -> str:
    return LIMITS.get(side.binding or "", "-")


def _span(side: Side) -> str:
    return span(*side.interval) if side.interval else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _count(value: int | None) -> str:
    return "-" if value is None else format_amount(value)


def _seconds(value: float | None) -> str:
    return "-" if value is None else duration(value)
