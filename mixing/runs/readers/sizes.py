"""Model sizes as people write them."""

from __future__ import annotations

import polars as pl


def parameters(column: pl.Expr) -> pl.Expr:
    """`70M` or `1.2B` or a number, as a number of parameters."""
    text = column.cast(pl.String)
    number = text.str.extract(r"^([0-9.eE+]+)").cast(pl.Float64)
    unit = text.str.extract(r"([KMB])$").replace_strict({"K": 1e3, "M": 1e6, "B": 1e9}, default=1.0)
    return (number * unit).round().cast(pl.Int64)
