"""Fit every law that a runs table can carry, score each on rows left out of its fit, and choose one for each loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from mixing.arguments import amount, law_hint, numbers_by_name
from mixing.arrays import Floats
from mixing.errors import InputError
from mixing.fitting.carrying import carried
from mixing.fitting.cross_validation import Kind, Score, score
from mixing.fitting.doubts import choice_doubts, identified, not_comparable, rows_searched, unfinished
from mixing.fitting.engine import Solution
from mixing.fitting.regressors.repetition import Repeated
from mixing.fitting.report import Chosen, FitReport, HeldOut, LawFit
from mixing.fitting.rows import Rows, rows_to_fit
from mixing.fitting.selection import BLEND, MODELS, Candidate, Choice, candidates, choose, polished
from mixing.fitting.thinning import rows_to_search
from mixing.laws import CONSTANT
from mixing.laws.base import LawOrRegressor, NotApplicable, Regressor
from mixing.runs.points import Points, make_points
from mixing.runs.read import read_runs
from mixing.runs.table import SHARE, RunTable

Evals = str | Sequence[str] | Mapping[str, float | Mapping[str, float]]


def fit(
    runs: object,
    evals: Evals,
    law: str = "auto",
    *,
    tokens: float | str | None = None,
    params: float | str | None = None,
    test: object = None,
    supply: Mapping[str, float] | None = None,
    target_domains: Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> FitReport:
    """Fit laws to losses of a runs table, cross-validate them, and choose one for each loss.

    Args:
        runs: a RunTable, or anything that `read_runs` takes.
        evals: a validation set; a list of them, each a loss of its own; weights by validation set
            (`{"web": 2, "code": 1}`), whose weighted mean is one loss; or such weights by the name of a loss.
        law: "auto" fits every law and regressor that the table can carry, and blends them. A name fits that one
            beside the baselines.
        tokens: the budget that will be asked about. Past the trained budgets laws are chosen by how they predict
            later checkpoints from earlier ones.
        params: the model size that will be asked about, non-embedding parameters; by default the table's largest
            with at least half as many mixtures as any. For one that was not trained, laws are fitted to all sizes.
        test: runs of the same domains that no fit and no choice sees, to score on.
        supply: unique tokens of domains that runs have read more than once; every formula then competes in effective
            tokens too (Muennighoff et al. 2023, arXiv 2305.16264).
        target_domains: the share columns that add up to a loss's target share R; by default the domain of the
            loss's name; of two, that which alone is named like a validation set, or the second by name.
        on_progress: called with the fits done and the fits in all.

    Returns:
        Every fit with its scores (errors in the unit of the losses, nats per token as a rule), and the law chosen
        for each loss: the least held-out error, ties within one standard error going to the simpler law, and the
        constant where luck alone would look as dependent on the mixture. Domains are in the order of their names.

    Raises:
        InputError: for names that the table or `mixing.fitting.selection.MODELS` lacks, and for a named law that
            the table cannot carry.

    Example:
        >>> import polars as pl
        >>> runs = [(f"r{i}", 1 - r, r, 10**9, "german", 2.5 - r**0.5) for i, r in enumerate((0.1, 0.3, 0.5, 0.7, 0.9))]
        >>> columns = ["run", "share.web", "share.german", "tokens", "eval", "loss"]
        >>> fits = fit(pl.DataFrame(runs, schema=columns, orient="row"), "german", law="ratio")
        >>> fits.chosen
        {'german': 'ratio'}
        >>> round(fits.best("german").parameters["s"], 2)
        0.5
    """
    table = read_runs(runs)
    losses = losses_of(evals, table)
    size = None if params is None else amount(params, "params")
    _check_law(law, size)
    table.check_has_sizes(size)
    unique_d = _unique_tokens(table, numbers_by_name(supply, "supply"))
    request = _Request(
        table,
        law,
        size,
        None if tokens is None else amount(tokens, "tokens"),
        None if test is None else _of_the_same_domains(read_runs(test), table),
        None if target_domains is None else _known_domains(table, tuple(target_domains)),
        unique_d,
    )
    fitted: dict[str, _LossFits] = {}
    done = 0

    def step(models: int) -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, models * len(losses))

    for name, weights in losses.items():
        fitted[name] = _fit_loss(request, name, weights, step)
    warnings = [*table.warnings, *(text for loss in fitted.values() for text in loss.warnings)]
    return FitReport(
        [one for loss in fitted.values() for one in loss.laws],
        {name: loss.chosen for name, loss in fitted.items()},
        list(dict.fromkeys(warnings)),
        {name: loss.held_out for name, loss in fitted.items() if loss.held_out is not None},
        tuple(sorted(table.domains)),
        {name: loss.choice for name, loss in fitted.items() if loss.choice is not None},
    )


def losses_of(evals: Evals, table: RunTable) -> dict[str, dict[str, float]]:
    """The losses to fit: weights of validation sets by the name of a loss. Raises InputError where there is none."""
    if not evals:
        raise InputError("no validation set named", f"Name one of the table's: {', '.join(table.evals[:30])}")
    if isinstance(evals, str):
        return {evals: {evals: 1.0}}
    if not isinstance(evals, Mapping):
        names = list(evals) if isinstance(evals, Iterable) else [evals]
        if not all(isinstance(name, str) for name in names):
            raise InputError(f"evals {evals!r}: not names of validation sets", 'Give "NAME" or ["NAME", ...]')
        return {name: {name: 1.0} for name in names}
    plain: dict[str, float] = {}
    losses: dict[str, dict[str, float]] = {}
    for name, weight in evals.items():
        if isinstance(weight, Mapping):
            losses[name] = dict(weight)
        else:
            plain[name] = float(weight)
    return losses | ({mean_name(plain): plain} if plain else {})


def mean_name(weights: Mapping[str, float]) -> str:
    """What the weighted mean of several validation sets is called."""
    return "+".join(weights) if len(weights) <= 4 else "weighted"


@dataclass(frozen=True)
class _Request:
    """What is the same for every loss; `unique_d` are the domains' unique tokens where runs have read some again."""

    table: RunTable
    law: str
    params: int | None
    tokens: int | None
    test: RunTable | None
    target_domains: tuple[str, ...] | None
    unique_d: tuple[float, ...] | None


@dataclass(frozen=True)
class _LossFits:
    """The fits of one loss."""

    laws: list[LawFit]
    chosen: str
    choice: Chosen | None
    held_out: HeldOut | None
    warnings: list[str]


def _check_law(law: str, params: int | None) -> None:
    if law == BLEND:
        raise InputError("law 'blend' is made of the others", "Use law auto")
    if params is not None and params < 1:
        raise InputError(f"params {params}: not a model size", "Give non-embedding parameters, e.g. 70000000")
    if law not in ("auto", *MODELS):
        raise InputError(f"no law {law!r}", law_hint(law, MODELS))


def _known_domains(table: RunTable, domains: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [d for d in domains if d not in table.domains]
    if unknown:
        raise InputError(
            f"{table.source}: no share column of target domain {', '.join(unknown)}",
            f"Choose among: {', '.join(table.domains)}",
        )
    return domains


def _of_the_same_domains(test: RunTable, table: RunTable) -> RunTable:
    if set(test.domains) != set(table.domains):
        raise InputError(
            f"{test.source}: its domains differ from those of {table.source}",
            "Score on runs of the same domains",
        )
    return test


def _unique_tokens(table: RunTable, supply: Mapping[str, float]) -> tuple[float, ...] | None:
    """Unique tokens by domain (no limit where none is named); None where no run has read anything twice."""
    for domain, tokens in supply.items():
        if domain not in table.domains:
            raise InputError(
                f"supply {domain}: no such domain", f"The table's domains: {', '.join(table.domains)}"
            )
        if not (np.isfinite(tokens) and tokens > 0):
            raise InputError(f"supply {domain}={tokens:g}: not above 0", "Give the domain's unique tokens")
    trained = table.trained
    most = {
        d: float((trained[SHARE + d] * trained["tokens"]).max() or 0.0)  # type: ignore[arg-type]
        for d in supply
    }
    if not any(most[d] > tokens for d, tokens in supply.items()):
        return None
    return tuple(float(supply.get(d, np.inf)) for d in sorted(table.domains))


def _fit_loss(
    request: _Request, name: str, weights: dict[str, float], step: Callable[[int], None]
) -> _LossFits:
    """Fit, score and choose for one loss; `step` is called with the number of models after each of them."""
    rows = rows_to_fit(request.table, weights, request.params, request.tokens)
    # The order of columns is an accident, and starts and folds must not depend on it.
    shares = [SHARE + d for d in sorted(request.table.domains)]
    losses_n = rows.frame["loss"].to_numpy()
    targets = _targets(request, name)
    points = make_points(rows.frame, shares, targets)
    trained_sizes = points.params_n
    other_size = (
        request.params is not None and trained_sizes is not None and request.params not in trained_sizes
    )
    # One size says nothing of N: there the order of mixtures is carried over, by any model.
    in_size = other_size and rows.reach is None
    models = _models(request, targets, in_size)

    def refuse(model: LawOrRegressor, error: NotApplicable) -> None:
        if request.law == model.name:
            raise InputError(
                f"law {model.name!r} cannot be fitted to {name!r}: {error}", "Try law auto"
            ) from None

    searched_n = rows_to_search(points, rows.kind)
    searched, known_n = points.take(searched_n), losses_n[searched_n]
    fitted = candidates(
        searched,
        known_n,
        rows.kind,
        models,
        blend=request.law == "auto" and not in_size,
        refused=refuse,
        step=lambda: step(len(models)),
    )
    pick, chosen, doubts = None, request.law, rows_searched(name, searched_n)
    if request.law == "auto":
        pick, fitted = _choice(fitted, searched, known_n, rows, in_size)
        chosen = CONSTANT.name if pick is None else pick.candidate.name
    fitted = [polished(one, points, losses_n) if one.name == chosen else one for one in fitted]
    test = _TestRows.of(request.test, weights, shares, targets, points.token_unit)
    usable = {model.name: model for model in models}
    laws = [
        _law_fit(
            one, name, points, rows.kind, None if test is None else test.score(one, usable.get(one.name))
        )
        for one in fitted
    ]
    doubts += [text for one in fitted if one.name == chosen for text in unfinished(name, one)]
    if test is not None:
        doubts += not_comparable(name, test.points, points)
    if request.law == "auto":
        doubts += choice_doubts(name, pick, points)
    return _LossFits(
        laws,
        chosen,
        None if pick is None else Chosen(chosen, pick.by_luck, pick.mixture_matters, pick.cv),
        _held_out(chosen, fitted, searched, known_n),
        [*rows.warnings, *doubts],
    )


def _choice(
    fitted: list[Candidate], points: Points, losses_n: Floats, rows: Rows, in_size: bool
) -> tuple[Choice | None, list[Candidate]]:
    """The choice among the fits, and these with what it made of them for another size."""
    pick = choose(fitted, points, losses_n, rows.kind, formula_in_size=in_size)
    if pick is None or rows.reach is None:
        return pick, fitted
    shrunk = carried(pick, fitted, points, losses_n, rows.reach)
    if shrunk is None:
        return pick, fitted
    others = [one for one in fitted if one.name != shrunk.name]
    return replace(pick, candidate=shrunk, cv=None), [*others, shrunk]


def _targets(request: _Request, name: str) -> tuple[str, ...]:
    """The domains of the target share R of a loss."""
    if request.target_domains is not None:
        return request.target_domains
    domains = sorted(request.table.domains)
    if len(domains) != 2:
        return tuple(d for d in domains if d.casefold() == name.casefold())
    evals = {one.casefold() for one in request.table.evals}
    named = [d for d in domains if d.casefold() in evals]
    return (named[0] if len(named) == 1 else domains[1],)


def _models(request: _Request, targets: tuple[str, ...], other_size: bool) -> list[LawOrRegressor]:
    """What competes for a loss, in its order."""
    models = [m for name, m in MODELS.items() if request.law in ("auto", name) or m.baseline]
    if other_size and request.law == "auto":
        # Asked about a size that was not trained, only formulas can answer: the rest is not worth its cost.
        models = [m for m in models if not isinstance(m, Regressor)]
    if request.unique_d is None:
        return models
    columns = tuple(sorted(request.table.domains).index(d) for d in targets)
    # Rows repeated to different degrees would each be a budget of their own.
    laws = [m for m in models if not (isinstance(m, Regressor) or m.per_budget or m.one_budget)]
    return [*models, *(Repeated(m, request.unique_d, columns) for m in laws)]


@dataclass(frozen=True)
class _TestRows:
    """One loss of the runs that no fit sees."""

    points: Points
    losses_n: Floats

    @classmethod
    def of(
        cls,
        test: RunTable | None,
        weights: dict[str, float],
        shares: list[str],
        targets: tuple[str, ...],
        token_unit: float,
    ) -> _TestRows | None:
        frame = None if test is None else test.weighted(weights).filter(pl.col("tokens") > 0)
        if frame is None or not frame.height:
            return None
        return cls(make_points(frame, shares, targets, token_unit), frame["loss"].to_numpy())

    def score(self, candidate: Candidate, model: LawOrRegressor | None) -> Score | None:
        """The candidate's errors on the rows that its model may be asked about (a blend: all); None for none."""
        use_n = np.ones(len(self.points), bool) if model is None else model.usable(self.points)
        if not use_n.any():
            return None
        used = self.points.take(use_n)
        try:
            predicted_n = candidate.fitted.predict(used)[0]
        except NotApplicable:
            return None
        return score(predicted_n, self.losses_n[use_n], used)


def _law_fit(fitted: Candidate, name: str, points: Points, kind: Kind, test: Score | None) -> LawFit:
    known: dict[str, Any] = {}
    if isinstance(fitted.fitted, Solution):
        condition, at_bounds = identified(fitted.fitted, points)
        known = {"condition": condition, "at_bounds": at_bounds}
    return LawFit(
        law=fitted.name,
        eval=name,
        n_runs=fitted.runs,
        n_rows=fitted.rows,
        parameters=fitted.fitted.named(),
        token_unit=points.token_unit,
        train=fitted.train,
        cv=fitted.cv,
        cv_kind=kind,
        test=test,
        seconds=fitted.seconds,
        optimum=fitted.optimum,
        **known,
    )


def _held_out(name: str, fitted: list[Candidate], points: Points, losses_n: Floats) -> HeldOut | None:
    predicted_n = next((one.held_out_n for one in fitted if one.name == name), None)
    if predicted_n is None:
        return None
    rows = np.isfinite(predicted_n)
    return HeldOut(name, losses_n[rows], predicted_n[rows], points.tokens_n[rows], points.target_n[rows])
