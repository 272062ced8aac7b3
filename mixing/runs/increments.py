"""Increments: by how much continual pre-training moved the general and the target loss from the base model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from mixing.arrays import Floats
from mixing.errors import InputError
from mixing.runs.points import Points, known_standard_errors, make_points
from mixing.runs.table import SHARE, RunTable, left_out


@dataclass(frozen=True)
class Increments:
    """Increments of the general and the target loss over the base model (nats) at the same points.

    `target_points` are `points` with the target loss's standard errors for the general loss's; `runs_n` names the
    run of each row; `base` holds the two base losses.
    """

    points: Points
    general_n: Floats
    target_n: Floats
    target_points: Points
    runs_n: tuple[str, ...]
    base: dict[str, float]
    warnings: tuple[str, ...] = ()

    def ratios(self) -> list[float]:
        """The different target shares that were trained."""
        return sorted({round(float(r), 9) for r in self.points.target_n})

    def observed(self) -> pl.DataFrame:
        """For figures: run, share (target share), tokens, general, target (increments)."""
        return pl.DataFrame(
            {
                "run": list(self.runs_n),
                "share": self.points.target_n,
                "tokens": self.points.tokens_n,
                "general": self.general_n,
                "target": self.target_n,
            }
        )


def increments(
    table: RunTable,
    general: Mapping[str, float],
    target: Mapping[str, float],
    target_domains: tuple[str, ...],
    params: int | None = None,
) -> Increments:
    """The points of one model size with the increments of both losses.

    `general` and `target` weight validation sets; the shares of `target_domains` add up to the target share R;
    `params` is the model size (default: the largest). Raises InputError where there are no base rows, no runs of
    that size, or no run that has both losses.
    """
    general, target = dict(general), dict(target)
    warnings = left_out(table, general | target)
    rows = table.rows
    sizes = table.trained["params"].drop_nulls().unique().sort().to_list()
    if params is not None and sizes:
        if params not in sizes:
            raise InputError(
                f"{table.source}: no runs of {params} parameters",
                f"The table has {', '.join(map(str, sizes))}; a critical ratio at another size takes runs of three",
            )
        rows = rows.filter(pl.col("params").is_null() | (pl.col("params") == params))
    elif len(sizes) > 1:
        warnings.append(f"{len(sizes)} model sizes in the table; the answer is for the largest, {sizes[-1]}")
        rows = rows.filter(pl.col("params").is_null() | (pl.col("params") == sizes[-1]))
    one_size = RunTable(rows, table.source)
    general_losses, target_losses = one_size.weighted(general), one_size.weighted(target)
    base = {}
    for name, frame in (("general", general_losses), ("target", target_losses)):
        losses = frame.filter(pl.col("tokens") == 0)["loss"]
        if not len(losses):
            raise InputError(
                f"{table.source}: no base rows (tokens 0) for the {name} loss",
                "Evaluate the base model before continual pre-training and add its losses with tokens 0",
            )
        base[name] = float(losses.mean())  # type: ignore[arg-type]
    shares = [SHARE + d for d in table.domains]
    joined = (
        general_losses.filter(pl.col("tokens") > 0)
        .join(
            target_losses.select("run", "tokens", "seed", pl.col("loss").alias("target"), "stderr"),
            on=["run", "tokens", "seed"],
            nulls_equal=True,
            suffix="_target",
        )
        .sort("run", "seed", "tokens")
    )
    if not joined.height:
        raise InputError(
            f"{table.source}: no run has both losses", "Evaluate every run on all the named sets"
        )
    points = make_points(joined, shares, target_domains)
    return Increments(
        points,
        joined["loss"].to_numpy() - base["general"],
        joined["target"].to_numpy() - base["target"],
        replace(points, stderr_n=known_standard_errors(joined["stderr_target"])),
        tuple(joined["run"]),
        base,
        tuple(warnings),
    )
