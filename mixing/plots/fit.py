"""Figures of a fit: what the chosen laws predicted for rows that were left out, and by how much they missed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from mixing.amounts import abbreviate_amount
from mixing.fitting.cross_validation import Score
from mixing.fitting.report import FitReport, HeldOut, LawFit
from mixing.laws import BASELINES
from mixing.plots.style import (
    COLOURS,
    GREY,
    STYLE,
    headline,
    save,
    share_map,
    side_by_side,
    square,
    title,
)

SHOWN = 12
"""Laws drawn of each loss, the best ones; the baselines always are."""


def draw_fits(report: FitReport, folder: Path) -> list[Path]:
    """Write `<loss>_residuals.png` and `<loss>_laws.png` for every loss that could be scored; returns their paths.

    Raises MixlawError where the folder cannot be written.
    """
    figures: dict[str, Figure] = {}
    with matplotlib.rc_context(STYLE):
        for name, held_out in report.held_out.items():
            stem = re.sub(r"[^\w.-]+", "_", name)
            scored = [fit for fit in report.laws if fit.eval == name and fit.cv is not None]
            figures[f"{stem}_residuals.png"] = residuals(name, held_out, scored)
            figures[f"{stem}_laws.png"] = held_out_errors(name, scored, report.chosen[name])
        return save(figures, folder)


def held_out_figure(report: FitReport, name: str) -> Figure:
    """The held-out error of every law of one loss, as `draw_fits` draws it; the loss must have been scored."""
    with matplotlib.rc_context(STYLE):
        scored = [fit for fit in report.laws if fit.eval == name and fit.cv is not None]
        return held_out_errors(name, scored, report.chosen[name])


def residuals(name: str, held_out: HeldOut, scored: list[LawFit]) -> Figure:
    """Predicted over observed losses, and what is left over the target share (or the observed loss)."""
    figure, (left, right) = side_by_side(2)
    missed_n = held_out.observed_n - held_out.predicted_n
    colour = _by_tokens(figure, right, held_out.tokens_n)
    spots: dict[str, Any] = {"s": 26, "lw": 0, "alpha": 0.75, **colour}
    left.scatter(held_out.observed_n, held_out.predicted_n, **spots)
    points = {"observed": held_out.observed_n, "predicted": held_out.predicted_n}
    ends = square(left, pl.DataFrame(points).with_columns(low=None, high=None))
    left.plot(ends, ends, color=GREY, lw=1.2, ls="--", zorder=1)
    left.set_xlabel("observed loss (nats per token)")
    left.set_ylabel("predicted loss (nats per token)")
    title(left, "predicted; dashed: as observed")
    has_target = not np.isnan(held_out.target_n).any()
    right.scatter(held_out.target_n if has_target else held_out.observed_n, missed_n, **spots)
    right.axhline(0.0, color=GREY, lw=1.2, ls="--", zorder=1)
    right.set_xlabel("share of the target domains" if has_target else "observed loss (nats per token)")
    right.set_ylabel("observed - predicted (nats per token)")
    title(right, "residuals")
    own = next((fit.cv for fit in scored if fit.law == held_out.law), None)
    headline(
        figure,
        _finding(name, held_out, own),
        f"{len(missed_n)} rows, each left out of the fit that predicts it",
    )
    return figure


def held_out_errors(name: str, scored: list[LawFit], chosen: str) -> Figure:
    """The held-out error of every law with its standard error over mixtures, the least first."""
    ordered = sorted(scored, key=lambda fit: _error(fit)[0])
    drawn = [f for i, f in enumerate(ordered) if i < SHOWN or f.law in (*BASELINES, chosen)]
    figure, (axes,) = side_by_side(1)
    figure.set_figheight(max(3.6, 1.7 + 0.3 * len(drawn)))
    rows = np.arange(len(drawn))[::-1]
    for row, fit in zip(rows, drawn, strict=True):
        error, spread = _error(fit)
        colour = COLOURS["target"] if fit.law == chosen else COLOURS["general"]
        axes.errorbar(
            error, row, xerr=[[min(spread, 0.9 * error)], [spread]], fmt="o", ms=7, lw=2, color=colour
        )
    most = max(fit.n_rows for fit in scored)
    notes = {fit.law: " (fewer rows)" for fit in drawn if fit.n_rows < most} | {chosen: " (chosen)"}
    axes.set_yticks(rows, [fit.law + notes.get(fit.law, "") for fit in drawn])
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(
        "held-out mean absolute error (nats per token, log scale); bars: one standard error over mixtures"
    )
    axes.grid(axis="y", visible=False)
    best = next(fit for fit in ordered if fit.n_rows == most)
    finding = (
        f"{name}: {chosen} is chosen, at {_error(next(f for f in drawn if f.law == chosen))[0]:.2g} nats"
    )
    if _error(best)[0] < _error(next(f for f in drawn if f.law == chosen))[0]:
        finding += f"; {best.law} errs least ({_error(best)[0]:.2g})"
    rest = len(ordered) - len(drawn)
    doubt = "a simpler law within one standard error of the least is preferred, on the rows that all predict"
    headline(figure, finding, doubt + (f"; worse laws not drawn: {rest}" if rest else ""))
    return figure


def _by_tokens(figure: Figure, axes: Axes, tokens_n: np.ndarray) -> dict[str, Any]:
    """Colours by checkpoint with a bar, where there are several."""
    if np.ptp(tokens_n) == 0:
        return {"color": COLOURS["general"]}
    scale = LogNorm(float(tokens_n.min()), float(tokens_n.max()))
    bar = figure.colorbar(ScalarMappable(scale, share_map()), ax=axes, label="training tokens")
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: abbreviate_amount(value)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    return {"c": tokens_n, "cmap": share_map(), "norm": scale}


def _error(fit: LawFit) -> tuple[float, float]:
    assert fit.cv is not None
    return max(fit.cv.mae, 1e-12), fit.cv.standard_error


def _finding(name: str, held_out: HeldOut, own: Score | None) -> str:
    missed_n = held_out.observed_n - held_out.predicted_n
    message = f"{name}: {held_out.law} missed left-out rows by {np.abs(missed_n).mean():.2g} nats"
    if own is not None and own.spearman is not None:
        message += f", rank correlation {own.spearman:.3f}"
    return message
