"""Wide tables with sizes, as published for SlimPajama: `weight_*`, `n_tokens`, `<eval>_loss`, `model_size`."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from mixing.errors import InputError
from mixing.runs.readers.layout import Source
from mixing.runs.readers.mixinglaws import has_weights, with_shares
from mixing.runs.readers.sizes import parameters
from mixing.runs.readers.wide import long


@dataclass(frozen=True)
class SlimPajama:
    """One table, a row per mixture, size and checkpoint; runs are told apart by their shares and size."""

    name: str = "slimpajama"

    def recognises(self, source: Source) -> bool:
        return has_weights(source)

    def read(self, source: Source) -> tuple[pl.DataFrame, list[str]]:
        frame = with_shares(source.tables[0])
        losses = [c for c in frame.columns if c.endswith("_loss")]
        if not losses or "n_tokens" not in frame.columns:
            raise InputError(
                f"{source.name}: weight_* columns, but neither (step, val_domain, loss) nor (n_tokens, <eval>_loss)",
                "See the layouts in docs/runs-table.md",
            )
        sized = "model_size" in frame.columns
        shares = [c for c in frame.columns if c.startswith("share.")]
        run = pl.struct([*shares, "model_size"] if sized else shares)
        wide = frame.rename({c: "loss." + c.removesuffix("_loss") for c in losses}).with_columns(
            (pl.lit("mix") + run.rank("dense").cast(pl.String)).alias("run"),
            parameters(pl.col("model_size") if sized else pl.lit(None)).alias("params"),
            pl.col("n_tokens").alias("tokens"),
        )
        return long(wide.drop("model_size", "n_tokens", strict=False)), []


SLIMPAJAMA = SlimPajama()
