"""Which rows of a table answer a question about a size and a budget, and how they are split to score laws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from mixing.errors import InputError
from mixing.fitting.cross_validation import Kind
from mixing.runs.budgets import tiny_budget, usual_budget_of
from mixing.runs.sizes import said_of, usual_size
from mixing.runs.table import RunTable, left_out

BEYOND = 1.05
"""Asked about budgets this far past the one that almost all runs reached, laws are judged on leave-largest-T."""


@dataclass(frozen=True)
class Rows:
    """Trained rows of one loss, the split that asks what the question asks, and what a user should know of both.

    `reach` is how many times the only trained size another one is that is asked about; None where sizes are trained
    that say what size does, or the size asked about is.
    """

    frame: pl.DataFrame
    kind: Kind
    warnings: tuple[str, ...]
    reach: float | None = None


def rows_to_fit(table: RunTable, weights: dict[str, float], params: int | None, tokens: int | None) -> Rows:
    """The rows of the weighted mean of some validation sets.

    They are those of the size `params` (by default `usual_size`), or of all sizes where `params` was not trained and
    several others were. For `tokens` past the trained budgets the split leaves out the later checkpoints, for `params`
    past three trained sizes the largest size. Raises InputError where the table has no trained rows.
    """
    trained = table.weighted(weights).filter(pl.col("tokens") > 0)
    if not trained.height:
        raise InputError(
            f"{table.source}: no trained rows of {', '.join(weights)}", "The table holds base rows only"
        )
    kind: Kind = "leave-mixture-out"
    warnings: list[str] = []
    usual = usual_budget_of(trained)
    warnings += tiny_budget(usual)
    if tokens and tokens > BEYOND * usual:
        kind = "leave-largest-T"
        warnings.append(
            f"{tokens:,} tokens are {tokens / usual:.2g} times the budget that almost all runs reached: laws are "
            "chosen by how they predict later checkpoints from earlier ones"
        )
    sized = _of_size(trained, params, kind)
    warnings += [*sized.warnings, *left_out(table, weights)]
    return replace(sized, warnings=tuple(warnings))


def _of_size(trained: pl.DataFrame, params: int | None, kind: Kind) -> Rows:
    sizes = trained["params"].drop_nulls().unique().sort().to_list()
    if params is None and len(sizes) > 1:
        usual = usual_size(trained)
        warning = f"{len(sizes)} model sizes in the table; fitted on {said_of(usual, sizes)}"
        return Rows(trained.filter(pl.col("params") == usual), kind, (warning,))
    if params is None:
        return Rows(trained, kind, ())
    if params in sizes:
        return Rows(trained if len(sizes) == 1 else trained.filter(pl.col("params") == params), kind, ())
    if len(sizes) < 2:
        trained_size = f"{sizes[0]:,} parameters" if sizes else "one unnamed size"
        warning = (
            f"the table holds {trained_size}, so nothing in it says what size does: losses are predicted for that "
            f"size, and only the order of mixtures may be expected to hold at {params:,}"
        )
        return Rows(trained, kind, (warning,), params / sizes[0] if sizes else None)
    warning = f"no runs of {params:,} parameters: laws are fitted to all {len(sizes)} sizes and chosen "
    if len(sizes) >= 3 and params > sizes[-1]:
        kind = "leave-largest-N"
        warning += f"by how they predict the largest, {sizes[-1]:,}, from the others"
    else:
        warning += "on mixtures left out; a third size would let the choice be made on a size left out"
    return Rows(trained.filter(pl.col("params").is_not_null()), kind, (warning,))
