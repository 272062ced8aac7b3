"""Metrics that a user declares, and values that are no nats although nobody said what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from mixing.errors import InputError
from mixing.runs.metrics import DEFAULT, LARGEST_NATS, METRICS, as_losses, changed, check_metric
from mixing.runs.table import RunTable


def declared(table: RunTable, metric: str | Mapping[str, str] | None) -> RunTable:
    """The table with `metric` for all validation sets, or for those it names, whatever their names say.

    Raises InputError for a set that the table lacks, and where values are too large to be nats and nobody said what
    they are.
    """
    chosen = _chosen(table, metric)
    other = {name: kind for name, kind in chosen.items() if table.metrics.get(name, DEFAULT) != kind}
    if other:
        rows = table.rows
        for name in other:
            before = METRICS[table.metrics.get(name, DEFAULT)]
            mine = rows["eval"] == name
            losses_n = rows.filter(mine)["loss"].to_numpy().astype(float)
            values_n = before.value(losses_n)
            rows = changed(rows, mine, values_n, 1 / before.slope(values_n))
        rows, notes = as_losses(rows, {n: k for n, k in other.items() if k != DEFAULT}, table.source)
        table = replace(table, rows=rows, warnings=[*table.warnings, *notes])
    if chosen:
        table = replace(table, metrics={**table.metrics, **chosen})
    for name in table.evals:
        if name not in table.metrics:
            _refuse_no_nats(table, name)
    return table


def _chosen(table: RunTable, metric: str | Mapping[str, str] | None) -> dict[str, str]:
    if metric is None:
        return {}
    if isinstance(metric, str):
        return dict.fromkeys(table.evals, check_metric(metric, "metric"))
    unknown = [name for name in metric if name not in table.evals]
    if unknown:
        raise InputError(
            f"metric {unknown[0]}: {table.source} has no such validation set",
            f"Choose among: {', '.join(table.evals[:30])}",
        )
    return {name: check_metric(kind, f"metric {name}") for name, kind in metric.items()}


def _refuse_no_nats(table: RunTable, name: str) -> None:
    """Raises InputError where most values of a set are no nats per token of any vocabulary."""
    middle = table.rows.filter(pl.col("eval") == name)["loss"].median()
    if isinstance(middle, float) and middle > LARGEST_NATS:
        raise InputError(
            f"{table.source}: the values of {name!r} are {middle:.4g} in the middle: no loss in nats per token is "
            f"above {LARGEST_NATS:g}, the logarithm of a vocabulary",
            "Say what they are: metric=perplexity, accuracy or bits_per_byte; metric=loss for a loss in another unit",
        )
