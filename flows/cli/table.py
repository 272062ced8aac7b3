"""`fit` and `decide`: laws and a decision from anybody's runs table, without a study."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixing.amounts import parse_tokens
from mixing.errors import InputError

if TYPE_CHECKING:
    from mixing.decision.result import Decision
    from mixing.runs.table import RunTable

Runs = Annotated[
    str,
    typer.Argument(
        metavar="RUNS",
        help="A runs table: CSV, Parquet, a folder of runs, a peer's layout, or mlflow:EXPERIMENT.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Tokens = Annotated[
    str | None, typer.Option(help="Token budget asked about (20e9, 20B); default: the table's.")
]


def weights(options: list[str], name: str) -> dict[str, float]:
    """`NAME`, `NAME=WEIGHT` (repeated) or `@weights.json`, as weights by name; not yet normalised.

    Raises InputError naming the option.
    """
    found: dict[str, float] = {}
    for option in options:
        entries = _from_file(option[1:], name) if option.startswith("@") else dict([_pair(option, name)])
        for key, weight in entries.items():
            if key in found:
                raise InputError(f"--{name}: {key!r} is given twice", "Give every validation set one weight")
            found[key] = weight
    return found


def _is_amount(text: str) -> bool:
    try:
        return 0 <= float(text) < math.inf
    except ValueError:
        return False


def _pair(option: str, name: str) -> tuple[str, float]:
    key, equals, text = option.rpartition("=")
    if not equals:
        return option, 1.0
    try:
        weight = float(text)
    except ValueError:
        raise InputError(f"--{name} {option}: {text!r} is not a weight", "Write NAME or NAME=0.5") from None
    if not math.isfinite(weight) or weight < 0 or not key:
        raise InputError(f"--{name} {option}: {text!r} is not a weight", "Weights are numbers of 0 or more")
    return key, weight


def _from_file(path: str, name: str) -> dict[str, float]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--{name} @{path}: cannot be read ({error.strerror})", "Name a JSON file") from None
    except ValueError as error:
        raise InputError(f"--{name} @{path}: not JSON ({error})", 'It holds {"NAME": WEIGHT, ...}') from None
    if not isinstance(content, dict) or not content:
        raise InputError(f"--{name} @{path}: not an object of weights", 'It holds {"NAME": WEIGHT, ...}')
    for key, weight in content.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise InputError(
                f"--{name} @{path}: {key!r} is {str(weight)[:60]}",
                "It holds {NAME: NUMBER, ...}, numbers of 0 or more",
            )
    return {key: float(weight) for key, weight in content.items()}


def token_count(text: str | None, option: str = "tokens") -> int | None:
    """`20e9`, `20B`, `20_000_000_000`."""
    if text is None:
        return None
    number = parse_tokens(text) or 0.0
    if not 1 <= number < 1e18:
        raise InputError(
            f"--{option} {text!r} is not a number of tokens from 1 to 1e18", "Write 500000, 2e6 or 20B"
        )
    return round(number)


def load(runs: str) -> RunTable:
    """The table that RUNS names: files, or `NAME:REST` of an importer such as `mlflow:EXPERIMENT`."""
    from mixing.runs.read import read_runs

    return read_runs(runs)


def fit(
    runs: Runs,
    evals: Annotated[
        list[str],
        typer.Option("--eval", metavar="NAME", help="A validation set, or NAME=WEIGHT; repeatable."),
    ],
    law: Annotated[str, typer.Option(help="auto, or the name of a law.")] = "auto",
    params: Annotated[
        int | None, typer.Option(min=1, help="Model size asked about; default: the table's.")
    ] = None,
    tokens: Tokens = None,
    test: Annotated[
        str | None, typer.Option(metavar="RUNS", help="Score on this table too, which no fit sees.")
    ] = None,
    target_domain: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Share columns that count as R (default: the domain of the set's name, or the second of two).",
        ),
    ] = None,
    supply: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=TOKENS",
            help="Unique tokens of a domain that runs have read again, or @tokens.json: laws compete in effective "
            "tokens too.",
        ),
    ] = None,
    figures: Annotated[Path | None, typer.Option(metavar="DIR", help="Draw the figures here.")] = None,
    as_json: Json = False,
) -> None:
    """Fit and cross-validate the laws, and choose one for each validation set.

    Sets with weights are one loss, their weighted mean; the others are losses of their own.
    """
    from flows.reports import tables as output
    from flows.reports.decision import print_laws, print_warnings
    from flows.reports.progress import bar
    from mixing.fitting.report import fit_laws

    asked = _losses(evals)
    budget = token_count(tokens)
    _check_folder(figures)
    table = load(runs)
    held_out = load(test) if test is not None else None
    with bar("fits") as on_progress:
        report = fit_laws(
            table,
            asked,
            law,
            params=params,
            tokens=budget,
            test=held_out,
            target_domains=tuple(target_domain) if target_domain else None,
            supply=amounts(supply, "supply"),
            report=on_progress,
        )
    if as_json:
        output.print_json(report.to_json())
    else:
        print_laws(report, output.console())
        print_warnings(report.warnings, output.console())
    if figures is not None:
        from mixing.plots.fit import draw_fits

        for path in draw_fits(report, figures):
            print(f"wrote {path}", file=sys.stderr)


def _losses(evals: list[str]) -> dict[str, dict[str, float]]:
    """Losses by name: one of all sets that have weights, and one of every other set."""
    every = weights(evals, "eval")
    alone = [option for option in evals if "=" not in option and not option.startswith("@")]
    together = {name: weight for name, weight in every.items() if name not in alone}
    losses = {name: {name: 1.0} for name in alone}
    if together:
        losses["+".join(together) if len(together) <= 4 else "weighted"] = together
    return losses


def _check_folder(folder: Path | None) -> None:
    """Whether figures can be written there, before work is spent on them. Raises InputError."""
    if folder is None:
        return
    parent = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"--figures {folder}: {parent} cannot be written to", "Give a folder that can")


def amounts(options: list[str] | None, name: str) -> dict[str, float]:
    """`NAME=NUMBER` (repeated; counts may be 20B) or `@numbers.json`. Raises InputError naming the option."""
    found: dict[str, float] = {}
    for option in options or []:
        key, equals, text = option.rpartition("=")
        if option.startswith("@"):
            entries = _from_file(option[1:], name)
        elif equals and key and text[-1:] in "kKmMbBtT" and text:
            entries = {key: float(token_count(text, name) or 0)}
        elif equals and key and _is_amount(text):
            entries = {key: float(text)}
        else:
            raise InputError(
                f"--{name} {option}: not a number of 0 or more", f"Write --{name} NAME=NUMBER or @file.json"
            )
        for domain, number in entries.items():
            if domain in found:
                raise InputError(f"--{name}: {domain!r} is given twice", "Give it once")
            found[domain] = number
    return found


def decide(
    runs: Runs,
    target: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="What should improve: NAME, NAME=WEIGHT or @weights.json."),
    ],
    general: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What must not be forgotten, as --target; may be left out with more than two sources.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(metavar="NATS", help="General loss that may be lost; goes with --general.")
    ] = None,
    tokens: Tokens = None,
    target_domain: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Share columns that are target, where --target does not tell."),
    ] = None,
    params: Annotated[int | None, typer.Option(min=1, help="Model size asked about.")] = None,
    most: Annotated[
        list[str] | None, typer.Option("--max", metavar="NAME=SHARE", help="A domain's largest share.")
    ] = None,
    least: Annotated[
        list[str] | None, typer.Option("--min", metavar="NAME=SHARE", help="A domain's least share.")
    ] = None,
    supply: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=TOKENS",
            help="Tokens at hand, or @tokens.json: caps shares by --max-epochs, and is the prior.",
        ),
    ] = None,
    max_epochs: Annotated[float, typer.Option(help="How often --supply may be read.")] = 4.0,
    prior: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="Natural shares, or @shares.json: a baseline, and for --kl."),
    ] = None,
    kl: Annotated[float, typer.Option(metavar="NATS", help="Weight of the divergence from the prior.")] = 0.0,
    freeze: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,NAME", help="Domains that keep the prior's proportions, as one part."),
    ] = None,
    protect: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NATS", help="One validation set's own tolerance, besides --general's."),
    ] = None,
    worst_case: Annotated[
        bool, typer.Option("--worst-case", help="The worst target counts, not their mean.")
    ] = False,
    level: Annotated[float, typer.Option(help="Of the interval.")] = 0.9,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    as_json: Json = False,
    spec: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the mix spec here.")] = None,
    figures: Annotated[Path | None, typer.Option(metavar="DIR", help="Draw the figures here.")] = None,
) -> None:
    """How much of what: the critical ratio of two sources, the best mixture of more, with intervals.

    With two sources, or fixed proportions among general and among target domains, it is the largest target share that
    the tolerance allows; else the mixture with the least target loss within it.
    """
    from flows.reports import tables as output
    from flows.reports.decision import print_decision
    from flows.reports.progress import bar
    from mixing.decision.critical_ratio.decider import decide as decide_on
    from mixing.decision.mixture.constraints import Limits, single_ratio
    from mixing.decision.mixture.decider import decide_sources, sources_json
    from mixing.decision.mixture.loss_models import usual_budget
    from mixing.decision.question import make_question
    from mixing.spec.build import build_spec
    from mixing.spec.yaml_file import save_spec

    general_weights, target_weights = weights(general or [], "general"), weights(target, "target")
    if general_weights and tolerance is None:
        raise InputError(
            "--general without --tolerance", "Say how many nats may be lost, e.g. --tolerance 0.02"
        )
    budget = token_count(tokens)
    _check_folder(figures)
    limits = Limits(
        low=amounts(least, "min"),
        high=amounts(most, "max"),
        supply=amounts(supply, "supply"),
        max_epochs=max_epochs,
        prior=amounts(prior, "prior"),
        kl=kl,
        frozen=tuple(tuple(group.split(",")) for group in freeze or []),
        protect=amounts(protect, "protect"),
        worst_case=worst_case,
    )
    table = load(runs)
    question = make_question(
        table,
        general_weights,
        target_weights,
        tuple(target_domain) if target_domain else None,
        tolerance=tolerance or 0.0,
        tokens=budget or (usual_budget(table) if len(table.domains) > 2 else None),
        params=params,
        level=level,
    )
    if single_ratio(table, question, limits):
        decision = decide_on(
            table,
            question,
            max_shares=limits.caps(question.tokens),
            bounds=dict(limits.high),
            natural_shares=limits.given_prior(table.domains) or None,
            seed=seed,
        )
    else:
        with bar("fits and bootstrap") as report:
            decision = decide_sources(table, question, limits, seed=seed, on_progress=report)
    if as_json:
        output.print_json(sources_json(decision))
    else:
        print_decision(decision, output.console())
    if figures is not None:
        for path in _draw(decision, table, figures):
            print(f"wrote {path}", file=sys.stderr)
    if spec is not None:
        save_spec(
            build_spec(decision, None, name=Path(runs.removeprefix("mlflow:")).stem or "mix", seed=seed), spec
        )
        print(f"wrote {spec}", file=sys.stderr)


def _draw(decision: Decision, table: RunTable, folder: Path) -> list[Path]:
    import polars as pl

    from mixing.plots.mixture import draw_sources
    from mixing.plots.ratio import PREDICTED, draw_all

    if decision.share_intervals or not decision.ratio_curves:
        return draw_sources(decision, folder)
    observed = decision.question.increments(table).observed().with_columns(kind=pl.lit("swarm"))
    return draw_all(decision, observed, pl.DataFrame(schema=list(PREDICTED)).cast(pl.Float64), folder)
