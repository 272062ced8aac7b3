"""The tables of the data mixing laws (Ye et al. 2025, arXiv 2403.16952): `weight_*`, `step`, `val_domain`, `loss`."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from mixing.errors import InputError
from mixing.runs.cells import Cells
from mixing.runs.readers.layout import Source

TOKENS_PER_STEP = 4096 * 256
"""One step: 4096 tokens x 256 sequences."""
WEIGHT = "weight_"


@dataclass(frozen=True)
class MixingLaws:
    """One table, a row per run (`mix_id`, and `model_size` where sizes differ), step and validation domain."""

    name: str = "mixinglaws"

    def recognises(self, source: Source) -> bool:
        return has_weights(source) and "val_domain" in source.columns

    def read(self, source: Source, decimal: str = ".") -> tuple[pl.DataFrame, list[str]]:
        frame, notes = with_shares(source.tables[0], source.name)
        lacking = [column for column in ("mix_id", "step") if column not in frame.columns]
        if lacking:
            raise InputError(
                f"{source.name}: no column {lacking[0]!r}", "See the layouts in docs/runs-table.md"
            )
        run = pl.col("mix_id").cast(pl.String)
        cells = Cells(frame, source.name, decimal)
        if "model_size" in frame.columns:
            frame = frame.with_columns(cells.whole("model_size", "size").alias("params"))
            run = pl.concat_str(run, pl.lit("@"), pl.col("model_size").cast(pl.String))
        tidy = frame.with_columns(
            run.alias("run"),
            (cells.whole("step") * TOKENS_PER_STEP).alias("tokens"),
            pl.col("val_domain").alias("eval"),
        )
        return tidy.drop("model_size", "mix_id", "step", "val_domain", strict=False), notes


def has_weights(source: Source) -> bool:
    """Whether shares are written as `weight_*` columns."""
    return any(c.startswith(WEIGHT) and c != "weight_decay" for c in source.columns) and not any(
        c.startswith("share.") for c in source.columns
    )


def with_shares(frame: pl.DataFrame, source: str) -> tuple[pl.DataFrame, list[str]]:
    """`weight_*` columns renamed to `share.*`, and a note where `weight_decay` is taken for what it is."""
    notes = []
    if "weight_decay" in frame.columns:
        frame = frame.rename({"weight_decay": "decay of weights"})
        notes.append(f"{source}: column 'weight_decay' is no domain: not used")
    names = {c: "share." + c.removeprefix(WEIGHT) for c in frame.columns if c.startswith(WEIGHT)}
    return frame.rename(names).drop("decay of weights", strict=False), notes


MIXINGLAWS = MixingLaws()
