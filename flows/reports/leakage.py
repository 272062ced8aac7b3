"""What of validation sets recurs in training text, and near-duplicates of the corpora, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from flows.reports.tables import table
from mixing.amounts import format_amount
from mixing.corpora.leakage import Leakage
from mixing.corpora.near_duplicates import NearDuplicates


def print_leakage(leakage: Leakage, budget: int, console: Console) -> None:
    """A row per validation set and domain of training text; `budget` are the tokens of the run that is planned."""
    rows = [
        (
            leak.eval,
            leak.domain,
            format_amount(leak.documents),
            f"{leak.repeated:,} ({leak.repeated / leak.documents:.1%})" if leak.documents else "-",
            f"{leak.dose:.2%}",
            format_amount(round(leak.dose * budget)),
        )
        for leak in leakage.leaks
    ]
    header = (
        "validation set",
        "training text",
        "documents",
        "with a twin",
        "dose",
        f"of {format_amount(budget)} tokens, at most",
    )
    console.print(table("Leakage: validation documents that recur in training text", header, rows, left=2))
    compared = {(leak.eval, leak.domain) for leak in leakage.leaks}
    for domain in dict.fromkeys(leak.domain for leak in leakage.leaks):
        if missing := [name for name in leakage.documents if (name, domain) not in compared]:
            console.print(
                f"not compared with {domain}, one being text and the other ids: {', '.join(missing)}"
            )


def print_near_duplicates(domains: Sequence[NearDuplicates], console: Console) -> None:
    """A row per domain."""
    rows = [
        (
            domain.domain,
            format_amount(domain.documents),
            format_amount(domain.repeated),
            format_amount(domain.largest),
            ", ".join(f"{count:,} in {name}" for name, count in domain.elsewhere.items() if count) or "-",
        )
        for domain in domains
    ]
    header = ("domain", "documents", "repeat another", "largest group", "found elsewhere")
    console.print(table("Near-duplicates (Jaccard similarity of a half or more)", header, rows, left=1))
