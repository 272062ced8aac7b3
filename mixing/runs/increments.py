"""Increments: by how much continual pre-training moved the general and the target loss from the base model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from mixing.arrays import Floats, Ints
from mixing.errors import InputError
from mixing.runs.base_rows import base_loss
from mixing.runs.points import Points, known_standard_errors, make_points
from mixing.runs.sizes import rows_of_size, said_of, trained_sizes, usual_size
from mixing.runs.table import SHARE, STANDARD_ERRORS, RunTable, left_out


@dataclass(frozen=True)
class Increments:
    """Increments of the general and the target loss over the base model (nats) at the same points.

    `target_points` are `points` with the target loss's standard errors for the general loss's; `runs_n` names the
    run of each row; `base` holds the two base losses.

    `general_sampling_n` and `target_sampling_n` are the standard errors of the increments over the held-out sample
    (nats; None where the table names none): the paired ones, or where a row has only its loss's own, that, which is
    larger as long as run and base find the same windows hard. Rows of one code of `sample_n` (None: all rows) were
    measured on the same sample and share this error; it moves their increments together.
    """

    points: Points
    general_n: Floats
    target_n: Floats
    target_points: Points
    runs_n: tuple[str, ...]
    base: dict[str, float]
    warnings: tuple[str, ...] = ()
    general_sampling_n: Floats | None = None
    target_sampling_n: Floats | None = None
    sample_n: Ints | None = None

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
    `params` is the model size (default: `usual_size`). Raises InputError where there are no base rows, no runs of
    that size, or no run that has both losses.
    """
    general, target = dict(general), dict(target)
    one_size, warnings = _of_one_size(table, params)
    general_losses, target_losses = one_size.weighted(general), one_size.weighted(target)
    base: dict[str, float] = {}
    for role, weights in (("general", general), ("target", target)):
        base[role], notes = _base_loss(one_size, role, weights, table)
        warnings += [note for note in notes if note not in warnings]
    both = _joined(general_losses, target_losses, table.source)
    points = make_points(both, [SHARE + d for d in table.domains], target_domains)
    return Increments(
        points,
        both["loss"].to_numpy() - base["general"],
        both["target"].to_numpy() - base["target"],
        replace(points, stderr_n=known_standard_errors(both["stderr_target"])),
        tuple(both["run"]),
        base,
        (*left_out(table, general | target), *warnings),
        _sampling_errors(both, ""),
        _sampling_errors(both, "_target"),
        _samples(both["heldout"]),
    )


def _sampling_errors(both: pl.DataFrame, suffix: str) -> Floats | None:
    paired, marginal = both["increment_stderr" + suffix], both["stderr" + suffix]
    return known_standard_errors(paired.zip_with(paired.is_not_null(), marginal))


def _samples(heldout: pl.Series) -> Ints | None:
    """A code from 0 by held-out sample, 0 the one without a name; None where all rows share one."""
    names = [None, *sorted(heldout.drop_nulls().unique())]
    if heldout.n_unique() < 2:
        return None
    return np.array([names.index(name) for name in heldout], dtype=np.int64)


def _of_one_size(table: RunTable, params: int | None) -> tuple[RunTable, list[str]]:
    """The runs of the size `params`, or of the usual one, and those that name none."""
    sizes = trained_sizes(table)
    warnings: list[str] = []
    if not sizes:
        return RunTable(table.rows, table.source), warnings
    if params is None:
        params = usual_size(table.trained)
        if len(sizes) > 1:
            warnings.append(
                f"{len(sizes)} model sizes in the table; the answer is for {said_of(params, sizes)}"
            )
    if params not in sizes:
        raise InputError(
            f"{table.source}: no runs of {params} parameters",
            f"The table has {', '.join(map(str, sizes))}; a critical ratio at another size takes runs of three",
        )
    one_size, notes = rows_of_size(table, params)
    return RunTable(one_size.rows, table.source), [*warnings, *notes]


def _base_loss(
    table: RunTable, name: str, weights: Mapping[str, float], whole: RunTable
) -> tuple[float, list[str]]:
    loss, notes = base_loss(table, weights)
    if loss is None:
        others = whole.base["params"].drop_nulls().unique().sort().to_list()
        if others and not table.base.height:
            raise InputError(
                f"{table.source}: no base rows (tokens 0) of the size that is asked about for the {name} loss; they "
                f"are of {', '.join(f'{size:,}' for size in others[:6])} parameters",
                "Add the losses of that size's base model, or correct params",
            )
        raise InputError(
            f"{table.source}: no base rows (tokens 0) for the {name} loss",
            "Evaluate the base model before continual pre-training and add its losses with tokens 0",
        )
    return loss, notes


def _joined(general: pl.DataFrame, target: pl.DataFrame, source: str) -> pl.DataFrame:
    """The checkpoints that have both losses, in an order that does not depend on the table's."""
    keys = ["run", "tokens", "seed", "heldout"]
    both = (
        general.filter(pl.col("tokens") > 0)
        .join(
            target.select(*keys, pl.col("loss").alias("target"), *STANDARD_ERRORS),
            on=keys,
            nulls_equal=True,
            suffix="_target",
        )
        .sort("run", "seed", "tokens")
    )
    if not both.height:
        raise InputError(f"{source}: no run has both losses", "Evaluate every run on all the named sets")
    return both
