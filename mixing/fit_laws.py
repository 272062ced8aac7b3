"""Fit every law to a table, cross-validate, and choose one for each loss."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from mixing.crossval import Kind, Score, cross_validate, score
from mixing.errors import InputError
from mixing.fit import Solution, fit
from mixing.laws import LAWS
from mixing.laws.base import Floats, Law, NotApplicable, Points
from mixing.question import make_points
from mixing.runs import SHARE, RunTable

BEYOND = 1.05
"""Asked about budgets this far past the table's largest, laws are judged on leave-largest-T."""


@dataclass(frozen=True)
class LawFit:
    """One law on one loss: `parameters` in the law's own names (tokens in units of `token_unit`), and its scores.

    `train` is on the rows it was fitted on, `cv` on rows left out, `test` on a table no fit saw.
    """

    law: str
    eval: str
    n_runs: int
    n_rows: int
    parameters: dict[str, float]
    token_unit: float
    train: Score
    cv: Score | None
    cv_kind: Kind
    test: Score | None
    seconds: float


@dataclass(frozen=True)
class FitReport:
    """All fits, and the law chosen for each loss."""

    laws: list[LawFit]
    chosen: dict[str, str]
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The object that `mixlaw fit --json` prints (interfaces.md)."""
        return {"laws": [_law_json(f) for f in self.laws], "chosen": self.chosen, "warnings": self.warnings}


def _law_json(found: LawFit) -> dict[str, Any]:
    out: dict[str, Any] = {
        "law": found.law,
        "eval": found.eval,
        "n_runs": found.n_runs,
        "n_rows": found.n_rows,
        "parameters": found.parameters,
        "token_unit": found.token_unit,
        "train": {"mae": found.train.mae, "mre": found.train.mre},
        "cv": None,
    }
    if found.cv is not None:
        out["cv"] = {
            "mae": found.cv.mae,
            "mre": found.cv.mre,
            "spearman": found.cv.spearman,
            "kind": found.cv_kind,
        }
    if found.test is not None:
        out["test"] = {
            name: getattr(found.test, name) for name in ("mae", "mre", "spearman", "pearson", "mse", "regret")
        }
    return {**out, "seconds": found.seconds}


def fit_laws(
    table: RunTable,
    evals: dict[str, dict[str, float]] | list[str],
    law: str = "auto",
    *,
    params: int | None = None,
    tokens: int | None = None,
    test: RunTable | None = None,
    target_domains: tuple[str, ...] | None = None,
) -> FitReport:
    """Fit laws to losses named by `evals` (names, or name -> weights of validation sets).

    `auto` fits every law that the table can carry; a name fits that one beside the linear and constant baselines.
    With two sources the second is the target share unless `target_domains` says otherwise. `params` and `tokens`
    say what will be asked: rows of that size, and a choice by leave-largest-T past the trained budgets. Raises
    InputError for unknown names.
    """
    if not evals:
        raise InputError(
            "no validation set named", f"Give --eval NAME; the table has: {', '.join(table.evals[:30])}"
        )
    named = evals if isinstance(evals, dict) else {name: {name: 1.0} for name in evals}
    if law != "auto" and law not in LAWS:
        raise InputError(f"no law {law!r}", f"Choose among: auto, {', '.join(LAWS)}")
    wanted = [LAWS[n] for n in LAWS if law in ("auto", n) or n in ("constant", "linear")]
    if target_domains is None and len(table.domains) == 2:
        target_domains = table.domains[1:]
    unknown = [d for d in target_domains or () if d not in table.domains]
    if unknown:
        raise InputError(
            f"{table.source}: no share column of target domain {', '.join(unknown)}",
            f"Choose among: {', '.join(table.domains)}",
        )
    warnings = list(table.warnings)
    fits: list[LawFit] = []
    chosen: dict[str, str] = {}
    for name, weights in named.items():
        rows = _rows(table, weights, params, warnings)
        if not rows.height:
            raise InputError(f"{table.source}: no trained rows of {name!r}", "The table holds base rows only")
        largest = float(rows["tokens"].max())  # type: ignore[arg-type]
        kind: Kind = "leave-largest-T" if tokens and tokens > BEYOND * largest else "leave-mixture-out"
        held = None if test is None else _rows(_aligned(test, table), weights, params, [])
        for candidate in wanted:
            try:
                fits.append(_one(candidate, name, table, rows, held, kind, target_domains or ()))
            except NotApplicable as error:
                if law == candidate.name:
                    raise InputError(
                        f"law {law!r} cannot be fitted to {name!r}: {error}", "Try --law auto"
                    ) from None
        chosen[name] = _choose([f for f in fits if f.eval == name], warnings, law)
    return FitReport(fits, chosen, list(dict.fromkeys(warnings)))


def _rows(
    table: RunTable, weights: dict[str, float], params: int | None, warnings: list[str]
) -> pl.DataFrame:
    rows = table.weighted(weights).filter(pl.col("tokens") > 0)
    sizes = rows["params"].drop_nulls().unique().sort().to_list()
    if len(sizes) > 1 or (params is not None and sizes):
        size = sizes[-1] if params is None else params
        if size not in sizes:
            raise InputError(
                f"{table.source}: no runs of {size} parameters",
                f"The table has {', '.join(map(str, sizes))}; laws across sizes are not in this version",
            )
        if params is None:
            warnings.append(f"{len(sizes)} model sizes in the table; fitted on the largest, {size}")
        rows = rows.filter(pl.col("params") == size)
    return rows


def _aligned(test: RunTable, table: RunTable) -> RunTable:
    if set(test.domains) != set(table.domains):
        raise InputError(
            f"{test.source}: its domains differ from those of {table.source}",
            "Score on runs of the same domains",
        )
    return test


def _one(
    law: Law,
    name: str,
    table: RunTable,
    rows: pl.DataFrame,
    held: pl.DataFrame | None,
    kind: Kind,
    target_domains: tuple[str, ...],
) -> LawFit:
    start = time.perf_counter()
    shares = [SHARE + d for d in table.domains]
    points = make_points(rows, shares, target_domains)
    use = law.usable(points)
    if law.name == "ratio":
        use &= points.tokens_n == points.tokens_n.max()
    if not use.any():
        raise NotApplicable("no usable rows")
    points, losses_n = points.take(use), rows["loss"].to_numpy()[use]
    solution = fit(law, points, losses_n[None, :])[0]
    found = cross_validate(law, points, losses_n[None, :], kind)
    scored = None
    if held is not None and held.height:
        scored = _test_score(solution, held, shares, target_domains, points.token_unit)
    return LawFit(
        law.name,
        name,
        len(np.unique(points.run_n)),
        len(points),
        solution.named(),
        points.token_unit,
        score(solution.predict(points)[0], losses_n, points),
        found[0] if found else None,
        kind,
        scored,
        time.perf_counter() - start,
    )


def _test_score(
    solution: Solution, held: pl.DataFrame, shares: list[str], target_domains: tuple[str, ...], unit: float
) -> Score | None:
    points: Points = make_points(held, shares, target_domains, unit)
    use = solution.law.usable(points)
    if not use.any():
        return None
    losses_n: Floats = held["loss"].to_numpy()[use]
    return score(solution.predict(points.take(use))[0], losses_n, points.take(use))


def _choose(fits: list[LawFit], warnings: list[str], asked: str) -> str:
    """The least held-out error; ties within one standard error go to fewer parameters."""
    name = fits[0].eval
    if asked != "auto":
        return asked
    # The ratio law is scored at one budget only, so it does not compete with laws of all checkpoints.
    several = any(f.n_rows > f.n_runs for f in fits)
    scored = [f for f in fits if f.cv is not None and not (several and f.law == "ratio")]
    if not scored:
        warnings.append(f"{name}: too few mixtures to cross-validate; the constant is all that can be said")
        return "constant"
    errors = [f.cv.mae for f in scored if f.cv]
    best = scored[int(np.argmin(errors))]
    assert best.cv is not None
    limit = best.cv.mae + best.cv.standard_error
    close = [f for f in scored if f.cv and f.cv.mae <= limit]
    pick = min(close, key=lambda f: len(f.parameters))
    if pick.law == "constant":
        warnings.append(f"{name}: no law beats the constant on held-out mixtures")
    return pick.law
