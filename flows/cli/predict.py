"""`mixlaw predict`: the losses of a run of one mixture, before it is trained."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    Json,
    Params,
    RunsList,
    Tokens,
    amounts,
    options_named,
    parameter_count,
    token_count,
)
from flows.cli.runs_tables import Decimal, Metric, Pool, Where, read_tables
from flows.reports import tables

if TYPE_CHECKING:
    from mixing.decision.record import Prediction

Shares = Annotated[
    list[str],
    typer.Option(
        metavar="NAME=SHARE", help="Token share of a domain, repeatable, or @shares.json; they sum to 1."
    ),
]
Level = Annotated[float, typer.Option(help="Confidence level of the intervals.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]


def predict(
    runs: RunsList,
    shares: Shares,
    tokens: Tokens = None,
    params: Params = None,
    level: Level = 0.9,
    seed: Seed = 0,
    as_json: Json = False,
    decimal: Decimal = ".",
    metric: Metric = None,
    where: Where = None,
    pool: Pool = None,
) -> None:
    """Predict the losses of a run of one mixture, with intervals.

    It predicts every validation set of the table. The intervals include the scatter of one new run.
    """
    # SciPy takes a second to import: help and usage errors do not wait for it.
    from flows.reports.decision import print_warnings
    from mixing.decision.predict import predict as predict_losses

    mixture, budget, size = amounts(shares, "shares"), token_count(tokens), parameter_count(params)
    table = read_tables(runs, decimal, metric, where, pool)
    with options_named():
        predicted = predict_losses(table, mixture, tokens=budget, params=size, level=level, seed=seed)
    if as_json:
        losses = {name: prediction.to_dict() for name, prediction in predicted.items()}
        printed: dict[str, object] = {
            "shares": mixture,
            "tokens": budget,
            "level": level,
            "predicted": losses,
        }
        printed |= {"metrics": table.metrics, "warnings": table.warnings}
        tables.print_json(printed)
        return
    rows = [_row(name, one, table.metrics.get(name, "loss")) for name, one in predicted.items()]
    plain = all(metric == "loss" for metric in table.metrics.values())
    title = "Predicted losses, nats per token" if plain else "Predicted values, of each metric itself"
    header = ("validation set", "loss" if plain else "value", f"{level:.0%} interval", "over the base")
    tables.console().print(tables.table(title, header, rows))
    print_warnings(table.warnings, tables.console())


def _row(name: str, prediction: Prediction, metric: str) -> tuple[str, ...]:
    from mixing.decision.wording import signed, span, values

    before = prediction.loss - prediction.increment
    now, base, *ends = values(metric, prediction.loss, before, *prediction.interval)
    low, high = sorted(ends)
    increment = signed(now - base) if math.isfinite(base) else "-"
    return name if metric == "loss" else f"{name} ({metric})", f"{now:.4f}", span(low, high, 4), increment
