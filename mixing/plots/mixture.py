"""Figures of a decision among many sources: the mixture with its intervals, and the Pareto front."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixing.amounts import abbreviate_amount
from mixing.decision.record import DecisionRecord, Prediction
from mixing.plots.style import COLOURS, CRITICAL, GREY, STYLE, headline, legend, save, side_by_side
from mixing.runs.metrics import METRICS

SHOWN = 24
"""Domains drawn; the smallest beyond are left out, and said to be."""


def draw_sources(decision: DecisionRecord, folder: Path) -> list[Path]:
    """Write the figures that the decision has data for, as PNG, and return their paths.

    A "not yet" decision has none. Raises MixlawError where the folder cannot be written.
    """
    figures: dict[str, Figure] = {}
    with matplotlib.rc_context(STYLE):
        if decision.share_intervals:
            figures["mixture.png"] = mixture(decision)
        if len(decision.front) > 1:
            figures["pareto_front.png"] = pareto_front(decision)
        return save(figures, folder)


def mixture(decision: DecisionRecord) -> Figure:
    """Every domain's share with its interval, beside the natural (or mean trained) share."""
    figure, (axes,) = side_by_side(1)
    ordered = sorted(decision.shares, key=lambda d: decision.shares[d])[-SHOWN:]
    figure.set_figheight(max(3.6, 1.9 + 0.26 * len(ordered)))
    rows = np.arange(len(ordered))
    target = set(decision.question.target_domains)
    shares = np.array([decision.shares[d] for d in ordered])
    low, high = (np.array([decision.share_intervals[d][side] for d in ordered]) for side in (0, 1))
    colours = [COLOURS["target"] if d in target else COLOURS["general"] for d in ordered]
    axes.barh(rows, shares, height=0.62, color=colours, alpha=0.35, lw=0)
    axes.hlines(rows, low, high, color=colours, lw=2.2)
    axes.scatter(shares, rows, s=34, color=colours, zorder=4)
    axes.plot(
        [],
        [],
        color=GREY,
        marker="o",
        ms=6,
        lw=2.2,
        label=f"best mixture, {decision.question.level:.0%} interval",
    )
    natural = decision.baselines[0]
    axes.scatter(
        [natural.shares.get(d, 0.0) for d in ordered],
        rows,
        marker="|",
        s=130,
        color=CRITICAL,
        zorder=5,
        label=natural.name,
    )
    axes.set_yticks(rows, [f"{d} (target)" if d in target else d for d in ordered])
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    widest = float(max(high.max(), *natural.shares.values()))
    axes.set_xlim(-0.012 * widest, min(1.02, 1.05 * widest))
    axes.set_xlabel("share of training tokens")
    axes.grid(axis="y", visible=False)
    legend(figure, axes)
    top = list(reversed(ordered))[:3]
    finding = ", ".join(f"{d} {decision.shares[d]:.2f}" for d in top)
    rest = len(decision.shares) - len(ordered)
    limits = "; ".join(decision.limits[:3]) or "nothing"
    doubt = f"law {decision.law}, {decision.n_runs} runs; limited by: {limits}"
    headline(
        figure, f"Best mixture: {finding}", doubt + (f"; {rest} smaller domains not drawn" if rest else "")
    )
    return figure


def pareto_front(decision: DecisionRecord) -> Figure:
    """The best target increment for every general one, with the law's band, the answer, and the usual mixtures."""
    figure, (axes,) = side_by_side(1)
    general = [p.general.increment for p in decision.front]
    target = [p.target.increment for p in decision.front]
    axes.fill_between(
        general,
        [_low(p.target) for p in decision.front],
        [_high(p.target) for p in decision.front],
        color=COLOURS["target"],
        alpha=0.18,
        lw=0,
        label=f"{decision.question.level:.0%} band of the law",
    )
    axes.plot(general, target, color=COLOURS["target"], lw=2, marker="o", ms=4, label="best mixtures")
    tolerance = decision.question.tolerance
    axes.axvline(
        tolerance,
        color=GREY,
        lw=1.4,
        ls=(0, (5, 3)),
        label=f"tolerance {tolerance:g} {decision.question.unit}",
    )
    chosen = decision.predicted
    axes.errorbar(
        chosen["general"].increment,
        chosen["target"].increment,
        fmt="o",
        ms=9,
        color=CRITICAL,
        zorder=6,
        label="recommended",
    )
    _baselines(axes, decision)
    axes.margins(x=0.12)
    axes.set_xlabel(f"general increment ({decision.question.loss_unit})")
    axes.set_ylabel(f"target increment ({METRICS[decision.question.metric('target')].loss_unit})")
    legend(figure, axes)
    # A table without a tokens column counts every run as one.
    budget = f", {abbreviate_amount(decision.question.tokens)} tokens" if decision.question.tokens > 1 else ""
    gain = chosen["target"].increment - target[0]
    headline(
        figure,
        f"Recommended: target loss {chosen['target'].increment:+.3f} nats, general loss "
        f"{chosen['general'].increment:+.3f}",
        f"target {gain:+.3f} against the mixture with the least general loss; law {decision.law}, "
        f"{decision.n_runs} runs{budget}",
    )
    return figure


def _baselines(axes: Axes, decision: DecisionRecord) -> None:
    """A cross and a name for each usual mixture; names of crosses that lie together are stacked."""
    points = [
        (b.predicted["general"].increment, b.predicted["target"].increment, b.name)
        for b in decision.baselines
    ]
    axes.scatter([p[0] for p in points], [p[1] for p in points], marker="x", s=46, color=GREY, zorder=5)
    axes.autoscale_view()
    height = float(np.ptp(axes.get_ylim()))
    placed: list[float] = []
    for x, y, name in sorted(points, key=lambda p: p[1]):
        level = max([y, *(other + 0.045 * height for other in placed if abs(other - y) < 0.045 * height)])
        placed.append(level)
        axes.annotate(
            name,
            (x, y),
            xytext=(13, (level - y) / height * 300),
            textcoords="offset points",
            fontsize=9,
            color=GREY,
            va="center",
            zorder=7,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
            arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.6, "shrinkA": 0, "shrinkB": 3},
        )


def _low(prediction: Prediction) -> float:
    return prediction.increment - (prediction.loss - prediction.interval[0])


def _high(prediction: Prediction) -> float:
    return prediction.increment + (prediction.interval[1] - prediction.loss)
