"""Fit every law to a table, cross-validate, and choose one for each loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mixing.arrays import Floats
from mixing.errors import InputError
from mixing.fitting.cross_validation import Kind, Score, score
from mixing.fitting.engine import Solution, identifiability
from mixing.fitting.regressors.repetition import Repeated
from mixing.fitting.selection import BLEND, MODELS, Candidate, candidates, choose
from mixing.laws import CONSTANT
from mixing.laws.base import Fitted, LawOrRegressor, NotApplicable, Regressor
from mixing.runs.points import Points, make_points
from mixing.runs.table import SHARE, RunTable, left_out

ILL_CONDITIONED = 1e6
"""A law whose standardised columns are this close to dependent has parameters that mean nothing one by one."""

BEYOND = 1.05
"""Asked about budgets this far past the table's largest, laws are judged on leave-largest-T."""


@dataclass(frozen=True)
class LawFit:
    """One law on one loss: `parameters` in the law's own names (tokens in units of `token_unit`), and its scores.

    `train` is on the rows it was fitted on, `cv` on rows left out, `test` on a table no fit saw. `condition` is the
    condition number of a law's standardised columns (None for models without a formula), `at_bounds` names
    parameters that ended on a bound.
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
    condition: float | None = None
    at_bounds: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeldOut:
    """Rows that were left out of the fit and what the chosen law predicted for them: observed_n and predicted_n
    (nats), tokens_n, and the target share target_n (NaN where a loss has none)."""

    law: str
    observed_n: Floats
    predicted_n: Floats
    tokens_n: Floats
    target_n: Floats


@dataclass(frozen=True)
class FitReport:
    """All fits, the law chosen for each loss, and how that one predicted rows left out, where it could be scored.

    `domains` are in the order of the numbers in parameters' names (`g0` is of the first).
    """

    laws: list[LawFit]
    chosen: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    held_out: dict[str, HeldOut] = field(default_factory=dict)
    domains: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object that `mixlaw fit --json` prints (interfaces.md)."""
        return {
            "laws": [_law_json(f) for f in self.laws],
            "chosen": self.chosen,
            "domains": list(self.domains),
            "warnings": self.warnings,
        }


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
    return {
        **out,
        "seconds": found.seconds,
        "identifiability": {"condition": _finite(found.condition), "at_bounds": list(found.at_bounds)},
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def fit_laws(
    table: RunTable,
    evals: dict[str, dict[str, float]] | list[str],
    law: str = "auto",
    *,
    params: int | None = None,
    tokens: int | None = None,
    test: RunTable | None = None,
    target_domains: tuple[str, ...] | None = None,
    supply: dict[str, float] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> FitReport:
    """Fit laws to losses named by `evals` (names, or name -> weights of validation sets).

    `auto` fits every law and regressor that the table can carry, and blends them; a name fits that one beside the
    linear and constant baselines. The target domain of a loss is the domain of its name, the second of two sources,
    or what `target_domains` says. `params` and `tokens` say what will be asked: rows of that size; a choice by
    leave-largest-T past the trained budgets, by leave-largest-N past the trained sizes. `supply` names the unique
    tokens of domains that runs have read again: every formula competes in effective tokens too. `report` is told fits
    done and to do. Raises InputError for unknown names.
    """
    if not evals:
        raise InputError(
            "no validation set named", f"Give --eval NAME; the table has: {', '.join(table.evals[:30])}"
        )
    named = evals if isinstance(evals, dict) else {name: {name: 1.0} for name in evals}
    if law == BLEND:
        raise InputError("law 'blend' is made of the others", "Use --law auto")
    if params is not None and params < 1:
        raise InputError(f"params {params}: not a model size", "Give non-embedding parameters, e.g. 70000000")
    if law not in ("auto", *MODELS):
        raise InputError(f"no law {law!r}", f"Choose among: auto, {', '.join(MODELS)}")
    wanted = [m for n, m in MODELS.items() if law in ("auto", n) or m.baseline]
    unique_d = _unique(table, supply or {})
    unknown = [d for d in target_domains or () if d not in table.domains]
    if unknown:
        raise InputError(
            f"{table.source}: no share column of target domain {', '.join(unknown)}",
            f"Choose among: {', '.join(table.domains)}",
        )
    warnings = list(table.warnings)
    fits: list[LawFit] = []
    chosen: dict[str, str] = {}
    held_out: dict[str, HeldOut] = {}
    done = 0
    for name, weights in named.items():
        rows, kind = _rows(table, weights, params, tokens, warnings)
        warnings += left_out(table, weights)
        held = None if test is None else _test_rows(_aligned(test, table), weights)
        shares = [SHARE + d for d in table.domains]
        targets = _targets(table, name, target_domains)
        points, losses_n = make_points(rows, shares, targets), rows["loss"].to_numpy()

        def refused(model: LawOrRegressor, error: NotApplicable, name: str = name) -> None:
            if law == model.name:
                raise InputError(
                    f"law {law!r} cannot be fitted to {name!r}: {error}", "Try --law auto"
                ) from None

        other_size = params is not None and points.params_n is not None and params not in points.params_n
        # Asked about a size that was not trained, only formulas can answer: the rest is not worth its cost.
        models = [m for m in wanted if not other_size or law != "auto" or not isinstance(m, Regressor)]
        if unique_d is not None:
            columns = tuple(table.domains.index(d) for d in targets)
            models += [
                Repeated(m, unique_d, columns)
                for m in models
                # Rows repeated to different degrees would each be a budget of their own.
                if not (isinstance(m, Regressor) or m.per_budget or m.one_budget)
            ]

        def step(fits: int = len(models) * len(named)) -> None:
            nonlocal done
            done += 1
            if report is not None:
                report(done, fits)

        found = candidates(
            points, losses_n, kind, models, blend=law == "auto" and not other_size, refused=refused, step=step
        )
        asked = None
        if held is not None and held.height:
            asked = make_points(held, shares, targets, points.token_unit)
        usable = {m.name: m.usable for m in models}
        for candidate in found:
            scored = None
            if held is not None and asked is not None:
                use_n = (
                    usable[candidate.name](asked) if candidate.name in usable else np.ones(len(asked), bool)
                )
                scored = _test_score(candidate.fitted, asked, held["loss"].to_numpy(), use_n)
            fits.append(_law_fit(candidate, name, points, kind, scored))
        chosen[name] = law if law != "auto" else _choose(name, found, points, losses_n, warnings, other_size)
        scored_rows = _held_out(chosen[name], found, points, losses_n)
        if scored_rows is not None:
            held_out[name] = scored_rows
    return FitReport(fits, chosen, list(dict.fromkeys(warnings)), held_out, table.domains)


def _unique(table: RunTable, supply: dict[str, float]) -> tuple[float, ...] | None:
    """Unique tokens by domain (no limit where none is named); None where no run has read anything twice."""
    for domain, tokens in supply.items():
        if domain not in table.domains:
            raise InputError(
                f"--supply {domain}: no such domain", f"The table's domains: {', '.join(table.domains)}"
            )
        if not (np.isfinite(tokens) and tokens > 0):
            raise InputError(f"--supply {domain}={tokens:g}: not above 0", "Give the domain's unique tokens")
    most = {
        d: float((table.trained[SHARE + d] * table.trained["tokens"]).max() or 0.0)  # type: ignore[arg-type]
        for d in supply
    }
    if not any(most[d] > tokens for d, tokens in supply.items()):
        return None
    return tuple(float(supply.get(d, np.inf)) for d in table.domains)


def _held_out(name: str, found: list[Candidate], points: Points, losses_n: Floats) -> HeldOut | None:
    predicted_n = next((c.held_out_n for c in found if c.name == name), None)
    if predicted_n is None:
        return None
    rows = np.isfinite(predicted_n)
    return HeldOut(name, losses_n[rows], predicted_n[rows], points.tokens_n[rows], points.target_n[rows])


def _targets(table: RunTable, name: str, target_domains: tuple[str, ...] | None) -> tuple[str, ...]:
    if target_domains is not None:
        return target_domains
    own = tuple(d for d in table.domains if d.casefold() == name.casefold())
    return table.domains[1:] if len(table.domains) == 2 else own


def _rows(
    table: RunTable, weights: dict[str, float], params: int | None, tokens: int | None, warnings: list[str]
) -> tuple[pl.DataFrame, Kind]:
    """The rows to fit, and the split that asks what the question asks."""
    rows = table.weighted(weights).filter(pl.col("tokens") > 0)
    if not rows.height:
        raise InputError(
            f"{table.source}: no trained rows of {', '.join(weights)}", "The table holds base rows only"
        )
    largest = float(rows["tokens"].max())  # type: ignore[arg-type]
    kind: Kind = "leave-mixture-out"
    if tokens and tokens > BEYOND * largest:
        kind = "leave-largest-T"
        warnings.append(
            f"{tokens:,} tokens are {tokens / largest:.2g} times the largest trained budget: laws are chosen by how "
            "they predict later checkpoints from earlier ones"
        )
    sizes = rows["params"].drop_nulls().unique().sort().to_list()
    if params is None or params in sizes:
        if len(sizes) > 1:
            size = sizes[-1] if params is None else params
            if params is None:
                warnings.append(f"{len(sizes)} model sizes in the table; fitted on the largest, {size}")
            rows = rows.filter(pl.col("params") == size)
        return rows, kind
    if len(sizes) < 2:
        trained = f"{sizes[0]:,} parameters" if sizes else "one unnamed size"
        warnings.append(
            f"the table holds {trained}, so nothing in it says what size does: losses are predicted for that size, and "
            f"only the order of mixtures may be expected to hold at {params:,}"
        )
        return rows, kind
    if len(sizes) >= 3 and params > sizes[-1]:
        warnings.append(
            f"no runs of {params:,} parameters: laws are fitted to all {len(sizes)} sizes and chosen by how they "
            f"predict the largest, {sizes[-1]:,}, from the others"
        )
        return rows.filter(pl.col("params").is_not_null()), "leave-largest-N"
    warnings.append(
        f"no runs of {params:,} parameters: laws are fitted to all {len(sizes)} sizes and chosen on mixtures left out; "
        "a third size would let the choice be made on a size left out"
    )
    return rows.filter(pl.col("params").is_not_null()), kind


def _test_rows(test: RunTable, weights: dict[str, float]) -> pl.DataFrame:
    return test.weighted(weights).filter(pl.col("tokens") > 0)


def _aligned(test: RunTable, table: RunTable) -> RunTable:
    if set(test.domains) != set(table.domains):
        raise InputError(
            f"{test.source}: its domains differ from those of {table.source}",
            "Score on runs of the same domains",
        )
    return test


def _law_fit(found: Candidate, name: str, points: Points, kind: Kind, scored: Score | None) -> LawFit:
    condition: float | None = None
    at_bounds: tuple[str, ...] = ()
    if isinstance(found.fitted, Solution):
        condition, at_bounds = identifiability(found.fitted, points.take(found.fitted.law.usable(points)))
    return LawFit(
        found.name,
        name,
        found.runs,
        found.rows,
        found.fitted.named(),
        points.token_unit,
        found.train,
        found.cv,
        kind,
        scored,
        found.seconds,
        condition,
        at_bounds,
    )


def _test_score(fitted: Fitted, points: Points, losses_n: Floats, use_n: NDArray[np.bool_]) -> Score | None:
    if not use_n.any():
        return None
    try:
        predicted_n = fitted.predict(points.take(use_n))[0]
    except NotApplicable:
        return None
    return score(predicted_n, losses_n[use_n], points.take(use_n))


def _choose(
    name: str,
    found: list[Candidate],
    points: Points,
    losses_n: Floats,
    warnings: list[str],
    other_size: bool,
) -> str:
    """The least held-out error; ties within one standard error go to fewer parameters."""
    pick = choose(found, points, losses_n, formula_in_size=other_size)
    if pick is None:
        warnings.append(
            f"{name}: too few mixtures to cross-validate; the constant is all that can be said: "
            "train at least 4 different ones"
        )
        return CONSTANT.name
    if isinstance(pick.fitted, Solution) and not pick.fitted.law.ranks_mixtures:
        warnings.append(
            f"{name}: no law beats the constant on held-out mixtures: train mixtures further apart, or longer"
        )
    if isinstance(pick.fitted, Solution) and not pick.fitted.law.baseline:
        condition, at_bounds = identifiability(pick.fitted, points.take(pick.fitted.law.usable(points)))
        if at_bounds:
            warnings.append(
                f"{name}: {pick.name} ended with {', '.join(at_bounds[:5])} on a bound: read its predictions, not its "
                "parameters"
            )
        if condition > ILL_CONDITIONED:
            warnings.append(
                f"{name}: the parameters of {pick.name} are not identified one by one (condition {condition:.1g}); its "
                "predictions among the trained mixtures are"
            )
    return pick.name
