"""`mixlaw predict`: the losses of a run of one mixture, before it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import Json, Params, Runs, Tokens, amounts, options_named, parameter_count, token_count
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
    runs: Runs,
    shares: Shares,
    tokens: Tokens = None,
    params: Params = None,
    level: Level = 0.9,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Predict the losses of a run of one mixture, with intervals.

    It predicts every validation set of the table. The intervals include the scatter of one new run.
    """
    # SciPy takes a second to import: help and usage errors do not wait for it.
    from mixing.decision.predict import predict as predict_losses

    mixture, budget, size = amounts(shares, "shares"), token_count(tokens), parameter_count(params)
    with options_named():
        predicted = predict_losses(runs, mixture, tokens=budget, params=size, level=level, seed=seed)
    if as_json:
        losses = {name: prediction.to_dict() for name, prediction in predicted.items()}
        tables.print_json({"shares": mixture, "tokens": budget, "level": level, "predicted": losses})
        return
    rows = [_row(name, prediction) for name, prediction in predicted.items()]
    header = ("validation set", "loss", f"{level:.0%} interval", "over the base")
    tables.console().print(tables.table("Predicted losses, nats per token", header, rows))


def _row(name: str, prediction: Prediction) -> tuple[str, ...]:
    from mixing.decision.wording import signed, span

    known = prediction.increment == prediction.increment
    increment = signed(prediction.increment) if known else "-"
    return name, f"{prediction.loss:.4f}", span(*prediction.interval, 4), increment
