"""From a runs table and what the user asks to the points and increments that laws are fitted on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from mixing.decision.result import Question
from mixing.errors import InputError
from mixing.laws.base import Floats, Points
from mixing.runs.table import SHARE, RunTable, left_out


def make_question(
    table: RunTable,
    general: dict[str, float],
    target: dict[str, float],
    target_domains: tuple[str, ...] | None = None,
    *,
    tolerance: float = 0.0,
    tokens: int | None = None,
    params: int | None = None,
    level: float = 0.9,
) -> Question:
    """Check a question against its table and fill what it leaves open.

    Weights are normalised. Target domains are the share columns named like a target validation set (case does not
    matter) unless given. `tokens` defaults to the largest budget of the table. With more than two sources `general`
    may be empty (nothing is protected), and target domains unknown. Raises InputError.
    """
    several = len(table.domains) > 2
    for role, weights in (("general", general), ("target", target)):
        if not weights:
            if several and role == "general":
                continue
            raise InputError(
                f"no {role} validation set named",
                f"Give --{role} NAME; the table has: " + ", ".join(table.evals[:30]),
            )
        for name, weight in weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise InputError(f"--{role} {name}: weight {weight}", "Weights are numbers of 0 or more")
        if math.fsum(weights.values()) <= 0:
            raise InputError(f"--{role}: all weights are 0", "Give at least one weight above 0")
    both = sorted(set(general) & set(target))
    if both:
        raise InputError(f"{', '.join(both)} is named as general and as target", "Name it once")
    if not 0 < level < 1:
        raise InputError(f"level {level} is not between 0 and 1", "Give --level 0.9 for a 90% interval")
    if params is not None and params < 1:
        raise InputError(f"params {params}: not a model size", "Give non-embedding parameters, e.g. 70000000")
    if not math.isfinite(tolerance) or tolerance < 0:
        raise InputError(f"tolerance {tolerance} is not a number of 0 or more", "Give it in nats, e.g. 0.02")
    table.weighted(general | target)
    domains = target_domains or _like(table.domains, target)
    unknown = [d for d in domains if d not in table.domains]
    if unknown:
        raise InputError(
            f"{table.source}: no share column of target domain {', '.join(unknown)}",
            f"Choose among: {', '.join(table.domains)}",
        )
    if several and not target_domains and len(domains) in (0, len(table.domains)):
        domains = ()
    elif not domains or len(domains) == len(table.domains):
        raise InputError(
            f"{table.source}: cannot tell target domains from general ones among {', '.join(table.domains)}",
            "Name the share columns of the target with --target-domain",
        )
    if tokens is None:
        tokens = int(table.rows["tokens"].max() or 0)  # type: ignore[arg-type]
    if tokens <= 0:
        raise InputError(
            f"tokens {tokens} is not a token budget", "Give the budget asked about, e.g. 20000000000"
        )
    return Question(
        _normalised(general), _normalised(target), tuple(domains), tolerance, int(tokens), params, level
    )


def _like(domains: tuple[str, ...], evals: dict[str, float]) -> tuple[str, ...]:
    wanted = {name.casefold() for name in evals}
    return tuple(d for d in domains if d.casefold() in wanted)


def _normalised(weights: dict[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


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


def increments(table: RunTable, question: Question) -> Increments:
    """The points of one model size with both increments; raises InputError where there are no base rows."""
    warnings = left_out(table, question.general | question.target)
    rows = table.rows
    sizes = table.trained["params"].drop_nulls().unique().sort().to_list()
    if question.params is not None and sizes:
        if question.params not in sizes:
            raise InputError(
                f"{table.source}: no runs of {question.params} parameters",
                f"The table has {', '.join(map(str, sizes))}; a critical ratio at another size takes runs of three",
            )
        rows = rows.filter(pl.col("params").is_null() | (pl.col("params") == question.params))
    elif len(sizes) > 1:
        warnings.append(f"{len(sizes)} model sizes in the table; the answer is for the largest, {sizes[-1]}")
        rows = rows.filter(pl.col("params").is_null() | (pl.col("params") == sizes[-1]))
    one_size = RunTable(rows, table.source)
    general, target = one_size.weighted(question.general), one_size.weighted(question.target)
    base = {}
    for name, frame in (("general", general), ("target", target)):
        losses = frame.filter(pl.col("tokens") == 0)["loss"]
        if not len(losses):
            raise InputError(
                f"{table.source}: no base rows (tokens 0) for the {name} loss",
                "Evaluate the base model before continual pre-training and add its losses with tokens 0",
            )
        base[name] = float(losses.mean())  # type: ignore[arg-type]
    shares = [SHARE + d for d in table.domains]
    joined = (
        general.filter(pl.col("tokens") > 0)
        .join(
            target.select("run", "tokens", "seed", pl.col("loss").alias("target"), "stderr"),
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
    points = make_points(joined, shares, question.target_domains)
    return Increments(
        points,
        joined["loss"].to_numpy() - base["general"],
        joined["target"].to_numpy() - base["target"],
        replace(points, stderr_n=known_standard_errors(joined["stderr_target"])),
        tuple(joined["run"]),
        base,
        tuple(warnings),
    )


def make_points(
    frame: pl.DataFrame, shares: list[str], target_domains: tuple[str, ...], token_unit: float | None = None
) -> Points:
    """Points of a frame with share columns, tokens, run and seed; T = 1 at the largest budget by default."""
    shares_nd = frame.select(shares).fill_null(0.0).to_numpy().astype(float)
    columns = [shares.index(SHARE + d) for d in target_domains]
    target_n = shares_nd[:, columns].sum(1) if columns else np.full(len(shares_nd), np.nan)
    tokens_n = frame["tokens"].to_numpy().astype(float)
    keys = frame.select(pl.struct("run", "seed").rank("dense").alias("r"))["r"].to_numpy()
    _, mixture_n = np.unique(shares_nd.round(9), axis=0, return_inverse=True)
    unit = token_unit or float(tokens_n.max())
    params_n = None
    if "params" in frame.columns and not frame["params"].is_null().all():
        params_n = frame["params"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    stderr_n = known_standard_errors(frame["stderr"]) if "stderr" in frame.columns else None
    return Points(
        shares_nd,
        target_n,
        tokens_n,
        unit,
        mixture_n.astype(np.int64),
        keys.astype(np.int64),
        params_n,
        stderr_n,
    )


def known_standard_errors(column: pl.Series) -> Floats | None:
    """Standard errors of rows; where some are missing they count as the median one."""
    middle = column.median()
    return None if middle is None else column.fill_null(middle).to_numpy()
