"""The catalog of a study's corpora, as a table."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from flows.reports.tables import size, table
from mixing.amounts import format_amount
from mixing.corpora.catalog import Catalog, DomainEntry
from mixing.corpora.estimate import Estimate

HEADER = (
    "domain",
    "role",
    "documents",
    "text",
    "tokens",
    "per document",
    "duplicates",
    "blank",
    "not UTF-8",
    "held out",
)


def print_catalog(study: str, catalog: Catalog, console: Console) -> None:
    """A row per domain, then which domains share documents."""
    rows = [
        (
            domain.name,
            "validation" if domain in catalog.evals else domain.role,
            format_amount(domain.documents),
            size(domain.bytes),
            "-" if domain.tokens is None else format_amount(domain.tokens),
            "-" if domain.mean_tokens_per_document is None else f"{domain.mean_tokens_per_document:.0f}",
            format_amount(domain.duplicates),
            format_amount(domain.empty),
            format_amount(domain.invalid_utf8),
            format_amount(domain.heldout_documents),
        )
        for domain in (*catalog.domains, *catalog.evals)
    ]
    console.print(table(f"{study}: corpora", HEADER, rows, left=2))
    if any(domain.tokens is None for domain in catalog.domains):
        console.print("tokens are counted when the study is run")
    for domain in (*catalog.domains, *catalog.evals):
        if domain.whole is not None:
            console.print(_sampled(domain, domain.whole))
        for line in domain.no_data:
            console.print(Text(f"note: {domain.name}: not read: {line}"))
        for line in domain.left_out:
            console.print(Text(f"note: {domain.name}: left out: {line}"))
    for warning in catalog.warnings():
        console.print(Text(f"warning: {warning}", style="yellow"))
    for shared in catalog.shared:
        first, second = shared.domains
        console.print(f"note: {first} and {second} share {shared.documents:,} identical documents")


def _sampled(domain: DomainEntry, whole: Estimate) -> str:
    """What part of a corpus the row counts, and what all of it holds."""
    tokens = ""
    if domain.whole_tokens is not None:
        stderr = domain.whole_tokens * whole.stderr / max(whole.bytes, 1)
        tokens = f", {format_amount(domain.whole_tokens)} ± {format_amount(stderr)} tokens"
    return (
        f"{domain.name}: a sample, {whole.part:.2%} of the corpus; the whole has "
        f"{size(whole.bytes)} ± {size(whole.stderr)} of text{tokens}"
    )
