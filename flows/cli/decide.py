"""`mixlaw decide`: a critical ratio or a best mixture from a runs table, without a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from mixing.errors import InputError

if TYPE_CHECKING:
    from mixing.decision.result import Decision
    from mixing.runs.table import RunTable

Target = Annotated[
    list[str],
    typer.Option(
        metavar="NAME", help="Validation sets to improve: NAME or NAME=WEIGHT, repeatable, or @weights.json."
    ),
]
General = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Validation sets to protect (same format as --target); optional with more than two sources.",
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        metavar="NATS", help="How much the general loss may rise over the base model; goes with --general."
    ),
]
Max = Annotated[
    list[str] | None,
    typer.Option("--max", metavar="NAME=SHARE", help="Largest share of a domain; repeatable."),
]
Min = Annotated[
    list[str] | None,
    typer.Option("--min", metavar="NAME=SHARE", help="Smallest share of a domain; repeatable."),
]
Supply = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=TOKENS",
        help="Available tokens per domain, or @tokens.json. Limits shares via --max-epochs and is the default "
        "prior.",
    ),
]
MaxEpochs = Annotated[float, typer.Option(help="How many times the --supply may be read.")]
Prior = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SHARE", help="Natural shares, or @shares.json: a baseline, and the centre for --kl."
    ),
]
Kl = Annotated[
    float, typer.Option(metavar="NATS", help="Penalty on the mixture's divergence from the prior.")
]
Freeze = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME,NAME", help="Domains that keep the prior's proportions among themselves."),
]
Protect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=NATS",
        help="A validation set with its own tolerance, in addition to --general; repeatable.",
    ),
]
LargeTolerance = Annotated[
    bool, typer.Option("--allow-large-tolerance", help="Accept tolerances above 0.5 nats.")
]
WorstCase = Annotated[
    bool, typer.Option("--worst-case", help="Minimise the worst of the target losses, not their mean.")
]
Level = Annotated[float, typer.Option(help="Confidence level of the intervals.")]
Confidence = Annotated[
    float,
    typer.Option(help="Probability with which the safe share keeps the tolerance; changes nothing else."),
]
TurningPoint = Annotated[
    Literal["report", "require", "off"],
    typer.Option(
        help="Whether the general loss must have turned down at the budget (require), whether that is only shown "
        "(report), or left out (off)."
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]
SpecOut = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the mix spec to this file.")]


def decide(
    runs: RunsList,
    target: Target,
    general: General = None,
    tolerance: Tolerance = None,
    tokens: Tokens = None,
    target_domain: TargetDomains = None,
    params: Params = None,
    most: Max = None,
    least: Min = None,
    supply: Supply = None,
    max_epochs: MaxEpochs = 4.0,
    prior: Prior = None,
    kl: Kl = 0.0,
    freeze: Freeze = None,
    protect: Protect = None,
    allow_large_tolerance: LargeTolerance = False,
    worst_case: WorstCase = False,
    level: Level = 0.9,
    confidence: Confidence = 0.9,
    turning_point: TurningPoint = "report",
    seed: Seed = 0,
    as_json: Json = False,
    spec: SpecOut = None,
    figures: Figures = None,
    decimal: Decimal = ".",
    metric: Metric = None,
    where: Where = None,
    pool: Pool = None,
) -> None:
    """Find the critical ratio, or the best mixture, with intervals.

    With two sources, or fixed proportions among general and among target domains, it is the largest target share
    that the tolerance allows. Otherwise it is the mixture with the least target loss within the tolerance.
    """
    # SciPy takes a second to import: help does not wait for it.
    from mixing.decision.decide import decide as decide_on

    weighted: dict[str, Any] = {
        "general": weights(general or [], "general"),
        "target": weights(target, "target"),
    }
    asked: dict[str, Any] = {"tokens": token_count(tokens), "params": parameter_count(params), "seed": seed}
    asked |= {"level": level, "confidence": confidence, "turning_point": turning_point}
    asked |= {"kl": kl, "worst_case": worst_case, "tolerance": tolerance, "target_domains": target_domain}
    constraints = _constraints(most, least, supply, prior, protect, freeze)
    _check(general, tolerance, figures, None if allow_large_tolerance else constraints["protect"] or {})
    table = read_tables(runs, decimal, metric, where, pool)
    with bar("fits and draws") as report, options_named():
        decision = decide_on(
            table,
            **weighted,
            **asked,
            **constraints,
            max_epochs=max_epochs,
            on_progress=report,
        )
    _show(decision, as_json)
    _write(decision, table, Path(runs[0].removeprefix("mlflow:")).stem, seed, spec, figures)


def _constraints(
    most: list[str] | None,
    least: list[str] | None,
    supply: list[str] | None,
    prior: list[str] | None,
    protect: list[str] | None,
    freeze: list[str] | None,
) -> dict[str, Any]:
    """The arguments of `decide` that these options set."""
    return {
        "max_shares": amounts(most, "max"),
        "min_shares": amounts(least, "min"),
        "supply": amounts(supply, "supply"),
        "prior": amounts(prior, "prior"),
        "protect": amounts(protect, "protect"),
        "freeze": [group.split(",") for group in freeze or []],
    }


def _check(
    general: list[str] | None,
    tolerance: float | None,
    figures: Path | None,
    protect: dict[str, float] | None,
) -> None:
    """Raise InputError for options that cannot be used, before the table is read; `protect` None allows any nats."""
    if general and tolerance is None:
        raise InputError(
            "--general without --tolerance", "Say how many nats may be lost, e.g. --tolerance 0.02"
        )
    check_figures(figures)
    if protect is not None:
        _refuse_large({"--tolerance": tolerance or 0.0} | {f"--protect {n}": v for n, v in protect.items()})


def _refuse_large(given: dict[str, float]) -> None:
    """Raise InputError for a tolerance, by its option, that was probably meant as percent."""
    from mixing.decision.question import LARGE_TOLERANCE, USUAL_TOLERANCE, large_tolerance

    for option, nats in given.items():
        if nats > LARGE_TOLERANCE:
            raise InputError(
                f"{option}: {large_tolerance(nats)}",
                f"{USUAL_TOLERANCE}; if it is meant, add --allow-large-tolerance",
            )


def _show(decision: Decision, as_json: bool) -> None:
    from flows.reports.decision import print_decision

    if as_json:
        tables.print_json(decision.to_dict())
    else:
        print_decision(decision, tables.console())


def _write(
    decision: Decision, table: RunTable, name: str, seed: int, spec: Path | None, figures: Path | None
) -> None:
    """Draw the figures and write the mix spec, if --figures and --spec say where."""
    from mixing.spec.build import build_spec
    from mixing.spec.yaml_file import save_spec

    paths = [] if figures is None else _draw(decision, table, figures)
    if spec is not None:
        save_spec(build_spec(decision, None, name=name or "mix", seed=seed), spec)
        paths.append(spec)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


def _draw(decision: Decision, table: RunTable, folder: Path) -> list[Path]:
    import polars as pl

    from mixing.plots.mixture import draw_sources
    from mixing.plots.ratio import PREDICTED, draw_all

    if decision.share_intervals or not decision.ratio_curves:
        return draw_sources(decision, folder)
    observed = decision.question.increments(table).observed().with_columns(kind=pl.lit("swarm"))
    return draw_all(decision, observed, pl.DataFrame(schema=PREDICTED), folder)
