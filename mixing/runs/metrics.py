"""What a loss column holds: nats per token, perplexity, accuracy or bits per byte, and how each becomes a loss.

Laws are fitted to what falls as a model gets better: to the logarithm of a perplexity (nats per token), and to the
errors of an accuracy (1 - accuracy). Bits per byte are a loss as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from mixing.arrays import Floats
from mixing.errors import InputError


@dataclass(frozen=True)
class Metric:
    """A measure by its `name`: a tolerance is in `unit`, a loss in `loss_unit`; `words` are its name in columns' names.

    `loss` makes losses of values, and `value` is its inverse; `slope` is the size of the loss's derivative, by which
    standard errors are scaled.
    """

    name: str
    unit: str
    loss_unit: str
    words: str
    loss: Callable[[Floats], Floats]
    value: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    least: float = -np.inf
    most: float = np.inf


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "loss",
            "nats",
            "nats per token",
            r"nll|cross_?entropy|ce_loss|loss",
            np.asarray,
            np.asarray,
            np.ones_like,
        ),
        Metric(
            "perplexity",
            "nats",
            "nats per token",
            "perplexity|ppl",
            np.log,
            np.exp,
            lambda v: 1 / v,
            least=1.0,
        ),
        Metric(
            "accuracy",
            "of accuracy",
            "1 - accuracy",
            r"accuracy|acc|acc_norm|exact_match|f1",
            lambda v: 1 - v,
            lambda v: 1 - v,
            np.ones_like,
            least=0.0,
            most=1.0,
        ),
        Metric(
            "bits_per_byte",
            "bits per byte",
            "bits per byte",
            r"bits_per_byte|bpb",
            np.asarray,
            np.asarray,
            np.ones_like,
            0.0,
        ),
    )
}
LARGEST_NATS = 12.5
"""The logarithm of a vocabulary of 268,000: more nats per token than guessing at random costs."""
DEFAULT = "loss"
_WORD = {name: re.compile(rf"(?:^|[^a-z])(?:{m.words})(?=$|[^a-z])") for name, m in METRICS.items()}


def metric_of_name(name: str) -> str | None:
    """The metric that a column or a validation set names: `web_ppl`, `val/accuracy`; None where it names none."""
    found = [
        metric for metric, word in _WORD.items() if word.search(re.sub(r"[\s\-]+", "_", name.casefold()))
    ]
    named = [metric for metric in found if metric != DEFAULT] or found
    return named[0] if len(named) == 1 else None


def check_metric(name: str, where: str) -> str:
    """The name of a metric. Raises InputError, naming `where` it stands, for another one."""
    key = re.sub(r"[\s\-]+", "_", name.strip().casefold())
    key = {"ppl": "perplexity", "acc": "accuracy", "bpb": "bits_per_byte", "nll": "loss", "nats": "loss"}.get(
        key, key
    )
    if key not in METRICS:
        raise InputError(f"{where}: {name!r} is not a metric", f"Metrics: {', '.join(METRICS)}")
    return key


def metrics_of_rows(frame: pl.DataFrame, source: str) -> dict[str, str]:
    """The metric of each validation set: of its column `metric`, else of its name; sets of plain losses are left out.

    Raises InputError for a set with rows of two metrics, and for a metric that there is none of.
    """
    named = {name: metric for name in frame["eval"].unique() if (metric := metric_of_name(str(name)))}
    if "metric" in frame.columns:
        for (name,), rows in frame.group_by("eval", maintain_order=True):
            kinds = rows["metric"].drop_nulls().unique().sort().to_list()
            if len({check_metric(kind, f"{source}: column 'metric'") for kind in kinds}) > 1:
                raise InputError(
                    f"{source}: validation set {name!r} has rows of {' and '.join(kinds)}",
                    "Give every metric a validation set of its own, e.g. web_ppl and web_acc in column eval",
                )
            if kinds:
                named[str(name)] = check_metric(kinds[0], source)
    return {name: metric for name, metric in sorted(named.items()) if metric != DEFAULT}


def as_losses(rows: pl.DataFrame, metrics: Mapping[str, str], source: str) -> tuple[pl.DataFrame, list[str]]:
    """Rows whose values become losses, with their standard errors, and a note on each metric.

    Accuracies in percent are read as such. Raises InputError naming a run for a value that a metric cannot have.
    """
    notes = []
    for metric in dict.fromkeys(metrics.values()):
        sets = sorted(name for name in metrics if metrics[name] == metric)
        of = METRICS[metric]
        mine = rows["eval"].is_in(sets) & rows["loss"].is_finite()
        values_n = rows.filter(mine)["loss"].to_numpy().astype(float)
        percent = metric == "accuracy" and len(values_n) > 0 and 1 < float(values_n.max()) <= 100
        values_n = values_n / 100 if percent else values_n
        wrong_n = (values_n < of.least) | (values_n > of.most)
        if wrong_n.any():
            row = rows.filter(mine).row(int(wrong_n.argmax()), named=True)
            raise InputError(
                f"{source}: run {row['run']!r} has {row['loss']:g} on {row['eval']!r}, which is no {metric}",
                "Say what it is, e.g. metric=loss, or rename the validation set",
            )
        rows = changed(rows, mine, of.loss(values_n), of.slope(values_n) / (100 if percent else 1))
        how = {
            "perplexity": "its logarithm, nats per token, is fitted",
            "accuracy": "higher is better; its errors, 1 - accuracy, are fitted",
        }.get(metric, "the tolerance is in its unit")
        notes.append(
            f"{source}: {', '.join(sets[:5])} read as {metric}{' in percent' if percent else ''}: {how}"
        )
    return rows, notes


def changed(rows: pl.DataFrame, mine: pl.Series, losses_n: Floats, slope_n: Floats) -> pl.DataFrame:
    """Rows with other losses where `mine` says so, and standard errors times the slope between them."""
    at = mine.fill_null(False).arg_true()
    errors = [c for c in ("stderr", "increment_stderr") if c in rows.columns]
    scaled = {c: rows[c].scatter(at, rows[c].gather(at) * pl.Series(slope_n)) for c in errors}
    return rows.with_columns(rows["loss"].scatter(at, pl.Series(losses_n)), *scaled.values())
