"""Wide tables with sizes, as published for SlimPajama: `weight_*`, `n_tokens`, `<eval>_loss`, `model_size`."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from mixing.errors import InputError
from mixing.runs.cells import Cells
from mixing.runs.readers.layout import Source
from mixing.runs.readers.mixinglaws import has_weights, with_shares
from mixing.runs.readers.wide import long


@dataclass(frozen=True)
class SlimPajama:
    """One table, a row per mixture, size and checkpoint; runs are told apart by their shares and size."""

    name: str = "slimpajama"

    def recognises(self, source: Source) -> bool:
        return has_weights(source)

    def read(self, source: Source, decimal: str = ".") -> tuple[pl.DataFrame, list[str]]:
        frame, notes = with_shares(source.tables[0], source.name)
        losses = [c for c in frame.columns if c.endswith("_loss")]
        if not losses or "n_tokens" not in frame.columns:
            raise InputError(
                f"{source.name}: weight_* columns, but neither (step, val_domain, loss) nor (n_tokens, <eval>_loss)",
                "See the layouts in docs/runs-table.md",
            )
        sized = "model_size" in frame.columns
        shares = [c for c in frame.columns if c.startswith("share.")]
        cells = Cells(frame, source.name, decimal)
        params = (
            cells.whole("model_size", "size") if sized else pl.Series([None] * frame.height, dtype=pl.Int64)
        )
        # Runs are told apart by numbers: `0.10` is `0.1`.
        frame = frame.with_columns(
            *(cells.numbers(c, "share").alias(c) for c in shares), params.alias("params")
        )
        run = pl.struct([*shares, *(["seed"] if "seed" in frame.columns else []), "params"])
        numbered = (pl.lit("mix") + run.rank("dense").cast(pl.String)).alias("run")
        wide = frame.rename({c: "loss." + c.removesuffix("_loss") for c in losses}).with_columns(
            pl.col("run") if "run" in frame.columns else numbered,
            pl.col("n_tokens").alias("tokens"),
        )
        return long(wide.drop("model_size", "n_tokens", strict=False)), notes


SLIMPAJAMA = SlimPajama()
