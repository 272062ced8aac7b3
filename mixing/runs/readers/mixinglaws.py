"""The tables of the data mixing laws (Ye et al. 2025, arXiv 2403.16952): `weight_*`, `step`, `val_domain`, `loss`."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from mixing.runs.readers.layout import Source
from mixing.runs.readers.sizes import parameters

TOKENS_PER_STEP = 4096 * 256
"""One step: 4096 tokens x 256 sequences."""
WEIGHT = "weight_"


@dataclass(frozen=True)
class MixingLaws:
    """One table, a row per run (`mix_id`, and `model_size` where sizes differ), step and validation domain."""

    name: str = "mixinglaws"

    def recognises(self, source: Source) -> bool:
        return has_weights(source) and "val_domain" in source.columns

    def read(self, source: Source) -> tuple[pl.DataFrame, list[str]]:
        frame = with_shares(source.tables[0])
        run = pl.col("mix_id")
        if "model_size" in frame.columns:
            frame = frame.with_columns(parameters(pl.col("model_size")).alias("params"))
            run = pl.concat_str("mix_id", pl.lit("@"), "model_size")
        tidy = frame.with_columns(
            run.alias("run"),
            (pl.col("step").cast(pl.Int64) * TOKENS_PER_STEP).alias("tokens"),
            pl.col("val_domain").alias("eval"),
        )
        return tidy.drop("model_size", "mix_id", "step", "val_domain", strict=False), []


def has_weights(source: Source) -> bool:
    """Whether shares are written as `weight_*` columns."""
    return any(c.startswith(WEIGHT) for c in source.columns) and not any(
        c.startswith("share.") for c in source.columns
    )


def with_shares(frame: pl.DataFrame) -> pl.DataFrame:
    """`weight_*` columns renamed to `share.*`."""
    return frame.rename({c: "share." + c.removeprefix(WEIGHT) for c in frame.columns if c.startswith(WEIGHT)})


MIXINGLAWS = MixingLaws()
