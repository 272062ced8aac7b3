"""`fit` and `decide`: laws and a decision from anybody's runs table, without a study."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixing.errors import InputError

if TYPE_CHECKING:
    from mixing.runs import RunTable

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
                f"--{name} @{path}: weight of {key!r} is {weight!r}", "Weights are numbers of 0 or more"
            )
    return {key: float(weight) for key, weight in content.items()}


def token_count(text: str | None, option: str = "tokens") -> int | None:
    """`20e9`, `20B`, `20_000_000_000`."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE]\+?[0-9]+)?)([kKmMbBtT]?)", text.strip())
    scale = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
    number = float(match[1].replace("_", "")) * scale[match[2].lower()] if match else 0.0
    if not 1 <= number < 1e18:
        raise InputError(f"--{option} {text!r} is not a number of tokens", "Write 500000, 2e6 or 20B")
    return round(number)


def load(runs: str) -> RunTable:
    """The table that RUNS names: files, or `mlflow:EXPERIMENT`."""
    from mixing.runs import load_runs

    if not runs.startswith("mlflow:"):
        return load_runs(runs)
    from flows import home

    root = home.home()
    home.set_defaults(root)
    from flows.mlflow_runs import load_experiment

    return load_experiment(runs, home.tracking_uri(root))


def fit(
    runs: Runs,
    evals: Annotated[
        list[str],
        typer.Option("--eval", metavar="NAME", help="A validation set, or NAME=WEIGHT; repeatable."),
    ],
    law: Annotated[str, typer.Option(help="auto, or the name of a law.")] = "auto",
    params: Annotated[int | None, typer.Option(help="Model size asked about; default: the table's.")] = None,
    tokens: Tokens = None,
    test: Annotated[
        str | None, typer.Option(metavar="RUNS", help="Score on this table too, which no fit sees.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit and cross-validate the laws, and choose one for each validation set.

    With weights the sets are one loss, their weighted mean.
    """
    from flows.answer_view import print_laws, print_warnings
    from flows.commands import output
    from mixing.fit_laws import fit_laws

    weighted = weights(evals, "eval")
    asked: dict[str, dict[str, float]] | list[str] = list(weighted)
    if any("=" in option or option.startswith("@") for option in evals):
        asked = {"+".join(weighted) if len(weighted) <= 4 else "weighted": weighted}
    budget = token_count(tokens)
    table = load(runs)
    held_out = load(test) if test is not None else None
    report = fit_laws(table, asked, law, params=params, tokens=budget, test=held_out)
    if as_json:
        output.print_json(report.to_json())
        return
    print_laws(report, output.console())
    print_warnings(report.warnings, output.console())


def decide(
    runs: Runs,
    general: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="What must not be forgotten: NAME, NAME=WEIGHT or @weights.json."),
    ],
    target: Annotated[
        list[str], typer.Option(metavar="NAME", help="The new domain: NAME, NAME=WEIGHT or @weights.json.")
    ],
    tolerance: Annotated[float, typer.Option(metavar="NATS", help="General loss that may be lost.")],
    tokens: Tokens = None,
    target_domain: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Share columns that are target, where --target does not tell."),
    ] = None,
    params: Annotated[int | None, typer.Option(help="Model size asked about.")] = None,
    level: Annotated[float, typer.Option(help="Of the interval.")] = 0.9,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    as_json: Json = False,
    spec: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the mix spec here.")] = None,
) -> None:
    """The critical ratio: the largest target share that the tolerance allows, with its interval."""
    from flows.answer_view import print_baselines, print_decided, print_not_yet, print_warnings
    from flows.commands import output
    from mixing.decide import decide as decide_on
    from mixing.decide import decision_json
    from mixing.question import make_question
    from mixing.spec import build_spec, save_spec

    general_weights, target_weights = weights(general, "general"), weights(target, "target")
    budget = token_count(tokens)
    table = load(runs)
    question = make_question(
        table,
        general_weights,
        target_weights,
        tuple(target_domain) if target_domain else None,
        tolerance=tolerance,
        tokens=budget,
        params=params,
        level=level,
    )
    decision = decide_on(table, question, seed=seed)
    console = output.console()
    if as_json:
        output.print_json(decision_json(decision))
    elif decision.status == "decided":
        print_decided(decision, console)
        print_baselines(decision, console)
        print_warnings(decision.warnings, console)
    else:
        print_not_yet(decision, console)
        print_warnings(decision.warnings, console)
    if spec is not None:
        save_spec(
            build_spec(decision, None, name=Path(runs.removeprefix("mlflow:")).stem or "mix", seed=seed), spec
        )
        print(f"wrote {spec}", file=sys.stderr)
