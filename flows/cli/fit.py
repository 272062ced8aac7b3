"""`mixlaw fit`: laws on a runs table, scored on what their fits have not seen."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flows.cli.options import (
    Figures,
    Json,
    Params,
    RunsList,
    TargetDomains,
    Tokens,
    amounts,
    check_figures,
    options_named,
    parameter_count,
    token_count,
    weights,
)
from flows.cli.runs_tables import Decimal, Metric, Pool, Where, read_tables
from flows.reports import tables
from flows.reports.progress import bar

Evals = Annotated[
    list[str], typer.Option("--eval", metavar="NAME", help="A validation set, or NAME=WEIGHT; repeatable.")
]
Law = Annotated[str, typer.Option(help="auto, or the name of a law.")]
Test = Annotated[
    str | None, typer.Option(metavar="RUNS", help="Also score on this table, which no fit sees.")
]
Supply = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=TOKENS",
        help="Unique tokens of a domain that runs read more than once, or @tokens.json: laws in effective "
        "tokens then compete too.",
    ),
]


def fit(
    runs: RunsList,
    evals: Evals,
    law: Law = "auto",
    params: Params = None,
    tokens: Tokens = None,
    test: Test = None,
    target_domain: TargetDomains = None,
    supply: Supply = None,
    figures: Figures = None,
    as_json: Json = False,
    decimal: Decimal = ".",
    metric: Metric = None,
    where: Where = None,
    pool: Pool = None,
) -> None:
    """Fit and cross-validate the laws; choose one per validation set.

    Validation sets with weights make one loss, their weighted mean; each set without a weight is a loss of its own.
    """
    # SciPy takes a second to import: help and usage errors do not wait for it.
    from flows.reports.decision import print_laws, print_warnings
    from mixing.fitting.fit import fit as fit_laws

    losses = losses_of(evals)
    budget, size = token_count(tokens), parameter_count(params)
    check_figures(figures)
    table = read_tables(runs, decimal, metric, where, pool)
    held_out = read_tables([test], decimal, metric, where, pool) if test is not None else None
    with bar("fits") as on_progress, options_named():
        report = fit_laws(
            table,
            losses,
            law,
            params=size,
            tokens=budget,
            test=held_out,
            target_domains=tuple(target_domain) if target_domain else None,
            supply=amounts(supply, "supply"),
            on_progress=on_progress,
        )
    if as_json:
        tables.print_json(report.to_dict())
    else:
        print_laws(report, tables.console(), metrics=table.metrics)
        print_warnings(report.warnings, tables.console())
    if figures is not None:
        from mixing.plots.fit import draw_fits

        for path in draw_fits(report, figures):
            print(f"wrote {path}", file=sys.stderr)


def losses_of(evals: list[str]) -> dict[str, dict[str, float]]:
    """Losses by name: one of all sets that have weights, and one of every other set."""
    from mixing.fitting.fit import mean_name

    every = weights(evals, "eval")
    alone = [option for option in evals if "=" not in option and not option.startswith("@")]
    together = {name: weight for name, weight in every.items() if name not in alone}
    losses = {name: {name: 1.0} for name in alone}
    if together:
        losses[mean_name(together)] = together
    return losses
