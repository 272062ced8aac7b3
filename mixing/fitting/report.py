"""What a fit leaves: every law with its scores, the one chosen for each loss, and how that one did on rows left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mixing.arrays import Floats
from mixing.errors import InputError
from mixing.fitting.cross_validation import Kind, Score
from mixing.fitting.polish import Optimum
from mixing.laws import BASELINES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 6
"""Laws that a notebook shows of each loss, besides the chosen one and the baselines."""


@dataclass(frozen=True)
class LawFit:
    """One law on one loss: `parameters` in the law's own names (tokens in units of `token_unit`), and its scores.

    `train` is on the rows it was fitted on, `cv` on rows left out, `test` on a table no fit saw. `condition` is the
    condition number of a law's standardised columns (None for models without a formula), `at_bounds` names
    parameters that ended on a bound. `optimum` is what SciPy reports of the chosen law's fit.
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
    optimum: Optimum | None = None


@dataclass(frozen=True)
class Chosen:
    """The choice of a law for one loss. `by_luck` is the probability that runs whose losses have nothing to do with
    their mixture look as dependent on it (None: too few mixtures to tell), and `mixture_matters` says that this is
    small enough to look for a law.

    `cv` is the error of the whole procedure: what is left out is predicted by the law that the rest would choose. The
    least error of many laws, `LawFit.cv` of the chosen one, flatters. None where the rest is too little to choose by.
    """

    law: str
    by_luck: float | None
    mixture_matters: bool
    cv: Score | None


@dataclass(frozen=True)
class HeldOut:
    """Rows that were left out of the fit and what the chosen law predicted for them: observed_n and predicted_n
    (nats), tokens_n, and the target share target_n (NaN where a loss has none)."""

    law: str
    observed_n: Floats
    predicted_n: Floats
    tokens_n: Floats
    target_n: Floats


@dataclass(frozen=True, repr=False)
class FitReport:
    """All fits, the law chosen for each loss, and how that one predicted rows left out, where it could be scored.

    `choices` say how each automatic choice was made, and its error. `domains` are in the order of the numbers in
    parameters' names (`g0` is of the first). In a notebook the report shows the best laws of each loss.
    """

    laws: list[LawFit]
    chosen: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    held_out: dict[str, HeldOut] = field(default_factory=dict)
    domains: tuple[str, ...] = ()
    choices: dict[str, Chosen] = field(default_factory=dict)

    def __repr__(self) -> str:
        lines = [f"  {name}: {self._summary(name)}" for name in list(self.chosen)[:SHOWN]]
        if len(self.chosen) > SHOWN:
            lines.append(f"  ... and {len(self.chosen) - SHOWN} more")
        return "\n".join([f"FitReport of {len(self.laws)} fits, chosen by error on held-out rows", *lines])

    def _repr_html_(self) -> str:
        shown = [fit for name in self.chosen for fit in self._shown(name)]
        warnings = "".join(f"<li>{escape(warning)}</li>" for warning in self.warnings)
        return (
            "<table><tr><th>loss</th><th>law</th><th>runs</th><th>held-out error</th><th>relative</th>"
            "<th>Spearman</th></tr>"
            + "".join(_html_row(fit, self.chosen[fit.eval] == fit.law) for fit in shown)
            + "</table><p>Error on rows left out of the fit, in the unit of the losses; bold: chosen.</p>"
            + (f"<ul>{warnings}</ul>" if warnings else "")
        )

    def best(self, loss: str) -> LawFit:
        """The fit of the law chosen for a loss; raises InputError for a loss that was not fitted."""
        if loss not in self.chosen:
            raise InputError(f"no loss {loss!r} was fitted", f"Choose among: {', '.join(self.chosen)}")
        return next(fit for fit in self.laws if (fit.eval, fit.law) == (loss, self.chosen[loss]))

    def error(self, loss: str) -> Score | None:
        """How far off predictions of what was left out are: choice of the law included where it was made here.

        None where the runs are too few to say.
        """
        choice = self.choices.get(loss)
        if choice is not None and choice.cv is not None:
            return choice.cv
        return next(
            (fit.cv for fit in self.laws if (fit.eval, fit.law) == (loss, self.chosen.get(loss))), None
        )

    def to_frame(self) -> pl.DataFrame:
        """A row per loss and law, the least held-out error first: errors in the unit of the losses (`mae`), relative
        (`mre`) and rank correlations, on the rows fitted (`train`), left out (`cv`) and of the test table (`test`)."""
        rows = [
            {
                "eval": fit.eval,
                "law": fit.law,
                "chosen": self.chosen.get(fit.eval) == fit.law,
                "n_runs": fit.n_runs,
                "n_rows": fit.n_rows,
                "train_mae": fit.train.mae,
                **_scores("cv", fit.cv),
                "cv_kind": fit.cv_kind,
                **_scores("test", fit.test),
                "condition": fit.condition,
                "seconds": fit.seconds,
            }
            for name in dict.fromkeys(fit.eval for fit in self.laws)
            for fit in self._ordered(name)
        ]
        numbers = {f"{of}_{score}": pl.Float64 for of in ("cv", "test") for score in SCORES}
        return pl.DataFrame(
            rows, schema_overrides={**numbers, "condition": pl.Float64}, infer_schema_length=None
        )

    def plot(self, loss: str | None = None) -> Figure:
        """The held-out error of every law of a loss, by default the first that was scored.

        Raises InputError where the loss could not be scored.
        """
        # A report draws itself; figures stand above it and are loaded when they are wanted.
        from mixing.plots.fit import held_out_figure

        name = loss if loss is not None else next(iter(self.held_out), "")
        if name not in self.held_out:
            raise InputError(
                f"loss {name!r} has no law that was scored on rows left out",
                f"Choose among: {', '.join(self.held_out) or 'none; train more mixtures'}",
            )
        return held_out_figure(self, name)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, ready for JSON: what `mixlaw fit --json` prints."""
        return {
            "laws": [_law_json(f) for f in self.laws],
            "chosen": self.chosen,
            "choice": {name: _choice_json(choice) for name, choice in self.choices.items()},
            "domains": list(self.domains),
            "warnings": self.warnings,
        }

    def _ordered(self, name: str) -> list[LawFit]:
        """The fits of one loss, the least held-out error first, then those without one."""
        fits = [fit for fit in self.laws if fit.eval == name]
        return sorted(fits, key=lambda fit: fit.cv.mae if fit.cv else np.inf)

    def _shown(self, name: str) -> Iterator[LawFit]:
        for rank, fit in enumerate(self._ordered(name)):
            if rank < SHOWN or fit.law in (*BASELINES, self.chosen[name]):
                yield fit

    def _summary(self, name: str) -> str:
        law = self.chosen[name]
        fit = next((fit for fit in self._ordered(name) if fit.law == law), None)
        score = self.error(name)
        if fit is None or score is None:
            return f"{law}, not scored"
        return f"{law}, off by {score.mae:.2g} ({score.mre:.2%}) on {fit.n_runs} runs, {fit.cv_kind}"


SCORES = ("mae", "mre", "spearman")
COVARIANCE_UP_TO = 100
"""Parameters up to which JSON holds their covariance; standard errors it always does."""


def _scores(of: str, score: Score | None) -> dict[str, float | None]:
    return {f"{of}_{name}": None if score is None else getattr(score, name) for name in SCORES}


def _html_row(fit: LawFit, chosen: bool) -> str:
    cells = [fit.eval, fit.law, str(fit.n_runs), "-", "-", "-"]
    if fit.cv is not None:
        rank = "-" if fit.cv.spearman is None else f"{fit.cv.spearman:.3f}"
        cells[3:] = [f"{fit.cv.mae:.4f}", f"{fit.cv.mre:.3%}", rank]
    tag = "b" if chosen else "span"
    return "<tr>" + "".join(f"<td><{tag}>{escape(cell)}</{tag}></td>" for cell in cells) + "</tr>"


def _law_json(fit: LawFit) -> dict[str, Any]:
    out: dict[str, Any] = {
        "law": fit.law,
        "eval": fit.eval,
        "n_runs": fit.n_runs,
        "n_rows": fit.n_rows,
        "parameters": fit.parameters,
        "token_unit": fit.token_unit,
        "train": {"mae": fit.train.mae, "mre": fit.train.mre},
        "cv": None,
    }
    if fit.cv is not None:
        out["cv"] = {**_cv_json(fit.cv), "kind": fit.cv_kind}
    if fit.test is not None:
        out["test"] = {
            name: getattr(fit.test, name) for name in ("mae", "mre", "spearman", "pearson", "mse", "regret")
        }
    if fit.optimum is not None:
        out["least_squares"] = _optimum_json(fit.optimum)
    return {
        **out,
        "seconds": fit.seconds,
        "identifiability": {"condition": _finite(fit.condition), "at_bounds": list(fit.at_bounds)},
    }


def _optimum_json(optimum: Optimum) -> dict[str, Any]:
    few = len(optimum.parameters) <= COVARIANCE_UP_TO
    return {
        "status": optimum.status,
        "message": optimum.message,
        "optimality": optimum.optimality,
        "cost": optimum.cost,
        "evaluations": optimum.evaluations,
        "standard_errors": optimum.standard_errors,
        "covariance": [list(row) for row in optimum.covariance] if few else None,
    }


def _choice_json(choice: Chosen) -> dict[str, Any]:
    return {
        "law": choice.law,
        "by_luck": choice.by_luck,
        "mixture_matters": choice.mixture_matters,
        "cv": None if choice.cv is None else _cv_json(choice.cv),
    }


def _cv_json(score: Score) -> dict[str, float | None]:
    return {name: getattr(score, name) for name in SCORES}


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
