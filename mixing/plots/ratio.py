"""The figures of a decision: the fitted law over the runs, the critical ratio, and how well it predicts.

Two tables of plain points are drawn beside the decision, both in nats per token over the base model:

`OBSERVED`   one row per run and checkpoint: run, kind, share (of target tokens, R), tokens, general, target
`PREDICTED`  one row per run and eval: run, kind, eval (general or target), observed, predicted, low, high
             (low and high, the ends of the interval, may be null)

`kind` is "swarm" for the runs that the law is fitted to (in `PREDICTED`: each left out in turn) and
"confirmation" for runs trained at the chosen share afterwards.
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure

from mixing.amounts import abbreviate_amount
from mixing.decision.record import ROLES, DecisionRecord
from mixing.decision.wording import SAME, limited_by
from mixing.plots.style import (
    COLOURS,
    CRITICAL,
    DIRECT_LABELS,
    GREY,
    INTERVAL,
    STYLE,
    band,
    diamonds,
    dots,
    error_bar,
    headline,
    label_ends,
    legend,
    save,
    share_colours,
    share_map,
    side_by_side,
    square,
    stars,
    title,
    token_axis,
)

OBSERVED = ("run", "kind", "share", "tokens", "general", "target")
PREDICTED: dict[str, type[pl.DataType]] = {
    "run": pl.String,
    "kind": pl.String,
    "eval": pl.String,
    "observed": pl.Float64,
    "predicted": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def draw_all(
    decision: DecisionRecord, observed: pl.DataFrame, predicted_vs_observed: pl.DataFrame, folder: Path
) -> list[Path]:
    """Write the figures that there are data for, as PNG, and return their paths.

    `observed` has the columns `OBSERVED`, `predicted_vs_observed` those of `PREDICTED`; either may be empty.
    A "not_yet" decision is drawn without its marks. Raises MixlawError where the folder cannot be written.
    """
    checkpoints = observed.filter(pl.col("tokens") > 0).sort("share", "run", "tokens")
    scored = predicted_vs_observed.filter(pl.col("predicted").is_finite(), pl.col("observed").is_finite())
    figures: dict[str, Figure] = {}
    with matplotlib.rc_context(STYLE):
        if decision.ratio_curves or not checkpoints.is_empty():
            figures["increment_over_share.png"] = increment_over_share(decision, checkpoints)
        if not checkpoints.is_empty():
            figures["general_over_tokens.png"] = general_over_tokens(decision, checkpoints)
        if decision.cmr_curve:
            figures["critical_ratio_over_tokens.png"] = critical_ratio_over_tokens(decision, checkpoints)
        if not scored.is_empty():
            figures["predicted_over_observed.png"] = predicted_over_observed(decision, scored)
        return save(figures, folder)


def increment_over_share(decision: DecisionRecord, observed: pl.DataFrame) -> Figure:
    """Both increments against target share at the asked budget: law, band, runs, critical ratio."""
    question = decision.question
    figure, (left, right) = side_by_side(2)
    shown, at = _near_budget(observed, question.tokens)
    # A law that is asked about another budget than was trained does not go through the runs: say so.
    law = "fitted law" + (
        "" if abs(at / question.tokens - 1) < 0.02 else f" at {abbreviate_amount(question.tokens)} tokens"
    )
    for axes, name, evals in ((left, "general", question.general), (right, "target", question.target)):
        curve = decision.ratio_curves.get(name, [])
        if curve:
            band(axes, curve, COLOURS[name])
            axes.plot([p.x for p in curve], [p.value for p in curve], color=COLOURS[name], lw=2, label=law)
        single = [
            s for s in (*evals, *(decision.protect if axes is left else ())) if s in decision.ratio_curves
        ]
        _single_sets(axes, decision, [s for s in dict.fromkeys(single) if s not in ROLES])
        runs = shown.filter(pl.col("kind") == "swarm")
        dots(axes, runs["share"], runs[name], COLOURS[name], f"runs at {abbreviate_amount(at)} tokens")
        runs = shown.filter(pl.col("kind") == "confirmation")
        stars(axes, runs["share"], runs[name], "confirmation run")
        _mark_ratio(axes, decision)
        title(
            axes, f"{name} loss ({', '.join(evals) if len(evals) <= 3 else f'{len(evals)} validation sets'})"
        )
        axes.set_xlabel("share of target tokens")
        axes.set_xlim(-0.02, 1.02)
    _tolerance(left, decision)
    left.set_ylabel(f"increment over the base ({decision.question.loss_unit})")
    legend(figure, left)
    headline(figure, _finding(decision), _doubt(decision))
    return figure


def _single_sets(axes: Axes, decision: DecisionRecord, names: list[str]) -> None:
    """The increments of single validation sets, thin, and named where they are few."""
    for name in names:
        curve = decision.ratio_curves[name]
        axes.plot([p.x for p in curve], [p.value for p in curve], color=GREY, lw=0.9, zorder=1)
        if len(names) <= DIRECT_LABELS:
            axes.annotate(
                name,
                (curve[-1].x, curve[-1].value),
                xytext=(3, 0),
                textcoords="offset points",
                fontsize=7,
                color=GREY,
                va="center",
            )


def general_over_tokens(decision: DecisionRecord, observed: pl.DataFrame) -> Figure:
    """General increment over tokens, a line per run coloured by share, with tolerance and critical times."""
    figure, (axes,) = side_by_side(1)
    colours = share_colours(observed["share"].unique().sort().to_list())
    ends: dict[float, list[float]] = {share: [] for share in colours}
    for _, run in observed.group_by("run", maintain_order=True):
        share, confirmation = run["share"][0], run["kind"][0] == "confirmation"
        axes.plot(
            run["tokens"],
            run["general"],
            color=CRITICAL if confirmation else colours[share],
            lw=1.6,
            ls="--" if confirmation else "-",
            marker="o",
            ms=3.5,
            label="confirmation run" if confirmation else None,
        )
        ends[share].append(run["general"][-1])
    _mark_critical_times(axes, decision, observed)
    _tolerance(axes, decision)
    token_axis(axes, *_trained(observed))
    axes.set_ylabel(f"general increment over the base ({decision.question.loss_unit})")
    if len(colours) <= DIRECT_LABELS:
        explained = "one line per run, labelled by its share of target tokens"
        confirmed = set(observed.filter(pl.col("kind") == "confirmation")["share"])
        swarm = set(observed.filter(pl.col("kind") == "swarm")["share"])
        inks = {
            share: to_rgba(CRITICAL) if share in confirmed - swarm else colours[share] for share in colours
        }
        label_ends(axes, {share: float(np.mean(heights)) for share, heights in ends.items()}, inks)
    else:
        explained = "one line per run"
        mappable = ScalarMappable(Normalize(min(colours), max(colours)), share_map())
        figure.colorbar(mappable, ax=axes, label="share of target tokens", pad=0.02)
    legend(figure, axes)
    headline(figure, _tolerated(decision, observed), explained)
    return figure


def critical_ratio_over_tokens(decision: DecisionRecord, observed: pl.DataFrame) -> Figure:
    """The critical ratio against the token budget: band, trained range, and a dashed extrapolation."""
    figure, (axes,) = side_by_side(1)
    curve = decision.cmr_curve
    low, high = curve[0].x, curve[-1].x
    start, end = (low, high) if observed.is_empty() else _trained(observed)
    axes.axvspan(start, end, color="#F0F0F0", lw=0, label="trained range", zorder=0)
    band(axes, curve, COLOURS["general"])
    inside = [(point.x, point.value) for point in curve if point.x <= end]
    beyond = [*inside[-1:], *((point.x, point.value) for point in curve if point.x > end)]
    for part, style, label in ((inside, "-", "critical ratio"), (beyond, "--", "extrapolated")):
        if len(part) > 1:
            axes.plot(*zip(*part, strict=True), color=COLOURS["general"], lw=2, ls=style, label=label)
    times = {share: time for share, time in decision.critical_times.items() if time and low <= time <= high}
    # Critical times lie on this curve only where turning down is what binds.
    if times and decision.binding == "turning_point":
        diamonds(axes, list(times.values()), list(times), "a trained share turns down")
    if decision.critical_ratio is not None:
        axes.errorbar(
            decision.question.tokens,
            decision.critical_ratio,
            yerr=None if decision.interval is None else error_bar(decision.critical_ratio, decision.interval),
            fmt="o",
            ms=8,
            color=CRITICAL,
            capsize=5,
            lw=1.8,
            zorder=5,
            label="asked about",
        )
    token_axis(axes, min(low, start), max(high, end, decision.question.tokens))
    axes.set_ylabel("critical share of target tokens")
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(-0.02, bottom), min(1.02, top))
    legend(figure, axes)
    headline(figure, _course(decision), _doubt(decision))
    return figure


def predicted_over_observed(decision: DecisionRecord, points: pl.DataFrame) -> Figure:
    """Predicted against observed increments: left-out mixtures and confirmation runs."""
    evals = [name for name in ("general", "target") if name in set(points["eval"])]
    figure, panels = side_by_side(len(evals))
    for axes, name in zip(panels, evals, strict=True):
        mine = points.filter(pl.col("eval") == name)
        for kind, colour in (("swarm", COLOURS[name]), ("confirmation", CRITICAL)):
            rows = mine.filter(pl.col("kind") == kind)
            bars = rows.drop_nulls(["low", "high"])
            axes.vlines(bars["observed"], bars["low"], bars["high"], color=colour, lw=1.4, zorder=2)
            if kind == "swarm":
                dots(axes, rows["observed"], rows["predicted"], colour, "mixture left out of the fit")
            else:
                stars(axes, rows["observed"], rows["predicted"], "confirmation run")
        ends = square(axes, mine)
        axes.plot(ends, ends, color=GREY, lw=1.2, ls="--", zorder=1, label="predicted = observed")
        title(axes, f"{name} loss")
        axes.set_xlabel("observed increment (nats per token)")
    panels[0].set_ylabel("predicted increment (nats per token)")
    legend(figure, max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[1])))
    meaning = "" if points["low"].is_null().all() else f"; bars: {decision.question.level:.0%} intervals"
    headline(figure, _accuracy(points), f"law {decision.law}{meaning}")
    return figure


def _near_budget(observed: pl.DataFrame, tokens: int) -> tuple[pl.DataFrame, float]:
    """The checkpoint of each run nearest to the budget, and the tokens most of them have there."""
    if observed.is_empty():
        return observed, float(tokens)
    nearest = (
        observed.with_columns((pl.col("tokens") / tokens).log().abs().alias("distance"))
        .group_by("run")
        .agg(pl.all().sort_by("distance", "tokens").first())
    )
    return nearest, float(nearest["tokens"].median())  # type: ignore[arg-type]


def _mark_ratio(axes: Axes, decision: DecisionRecord) -> None:
    if decision.critical_ratio is None:
        return
    if decision.interval is not None:
        axes.axvspan(
            *decision.interval,
            color=INTERVAL,
            alpha=0.25,
            lw=0,
            label=f"{decision.question.level:.0%} interval",
            zorder=0,
        )
    name = "largest trained share" if decision.status == "bound" else "critical ratio"
    axes.axvline(decision.critical_ratio, color=CRITICAL, lw=1.5, label=name, zorder=1)
    share = decision.target_share
    if share is not None and abs(share - decision.critical_ratio) > SAME:
        label = f"recommended: safe at {decision.question.confidence:.0%}"
        axes.axvline(share, color=CRITICAL, lw=1.5, ls=(0, (2, 2)), label=label, zorder=1)


def _tolerance(axes: Axes, decision: DecisionRecord) -> None:
    tolerance = decision.question.tolerance
    axes.axhline(
        tolerance,
        color=GREY,
        lw=1.4,
        ls=(0, (5, 3)),
        zorder=2,
        label=f"tolerance {tolerance:g} {decision.question.unit}",
    )


def _mark_critical_times(axes: Axes, decision: DecisionRecord, observed: pl.DataFrame) -> None:
    """A diamond on each line where its objective turns down, if that is within the run."""
    drawn = False
    for share, time in decision.critical_times.items():
        run = observed.filter((pl.col("share") - share).abs() < 1e-6, pl.col("kind") == "swarm").sort(
            "tokens"
        )
        if time is None or run.is_empty() or not run["tokens"][0] <= time <= run["tokens"][-1]:
            continue
        mean = run.group_by("tokens", maintain_order=True).agg(pl.col("general").mean())
        height = np.interp(math.log(time), np.log(mean["tokens"].to_numpy()), mean["general"].to_numpy())
        diamonds(axes, [time], [height], None if drawn else "turns down (critical time)")
        drawn = True


def _finding(decision: DecisionRecord) -> str:
    budget = abbreviate_amount(decision.question.tokens)
    if decision.critical_ratio is None:
        return f"No critical ratio yet at {budget} tokens"
    if decision.status == "bound":
        return f"At least {decision.critical_ratio:.2f} at {budget} tokens: every trained share keeps the tolerance"
    interval = "" if decision.interval is None else " [{:.2f}, {:.2f}]".format(*decision.interval)
    share = decision.target_share
    safe = (
        "" if share is None or abs(share - decision.critical_ratio) <= SAME else f"; train with {share:.2f}"
    )
    return f"Critical ratio {decision.critical_ratio:.2f}{interval} at {budget} tokens{safe}"


def _doubt(decision: DecisionRecord) -> str:
    runs = f"{decision.n_runs} run{'' if decision.n_runs == 1 else 's'}"
    if decision.critical_ratio is None:
        reason = decision.reason or next(iter(decision.warnings), "more runs are needed")
        return f"{runs}; {reason}"
    return f"law {decision.law}, {runs}, {decision.question.level:.0%} interval; limited by: {limited_by(decision)}"


def _tolerated(decision: DecisionRecord, observed: pl.DataFrame) -> str:
    tolerance = decision.question.tolerance
    last = observed.group_by("run").agg(pl.all().sort_by("tokens").last()).sort("share")
    within_tolerance = (
        f"within {tolerance:g} {decision.question.unit} of the base" if tolerance else "at or below the base"
    )
    budget = f"at {abbreviate_amount(_trained(last)[1])} tokens"
    within = [general <= tolerance for general in last["general"]]
    safe = last["share"][: within.index(False)].to_list() if False in within else last["share"].to_list()
    if all(within):
        return f"Every trained share keeps the general loss {within_tolerance} {budget}"
    if not any(within):
        return f"No trained share keeps the general loss {within_tolerance} {budget}"
    if sum(within) > len(safe):
        return f"{sum(within)} of {len(within)} runs keep the general loss {within_tolerance} {budget}"
    return f"Of the trained shares, those up to {max(safe):.3g} keep the general loss {within_tolerance} {budget}"


def _course(decision: DecisionRecord) -> str:
    curve = decision.cmr_curve
    first, last = curve[0], curve[-1]
    tokens = min(max(decision.question.tokens, first.x), last.x)
    value = float(np.interp(tokens, [point.x for point in curve], [point.value for point in curve]))
    start, end = abbreviate_amount(first.x), abbreviate_amount(tokens)
    if abs(value - first.value) < 0.005:
        return f"The critical ratio stays near {value:.2f} from {start} to {end} tokens"
    course = "rises" if value > first.value else "falls"
    return f"The critical ratio {course} from {first.value:.2f} at {start} to {value:.2f} at {end} tokens"


def _trained(observed: pl.DataFrame) -> tuple[float, float]:
    tokens = observed["tokens"].to_numpy()
    return float(tokens.min()), float(tokens.max())


def _accuracy(points: pl.DataFrame) -> str:
    error = (pl.col("predicted") - pl.col("observed")).abs()
    confirmation = points.filter(pl.col("kind") == "confirmation")
    if confirmation.is_empty():
        off = points.group_by("eval").agg(error.mean().alias("off")).sort("eval")
        words = " and ".join(f"{row['off']:.3f} ({row['eval']})" for row in off.iter_rows(named=True))
        return f"Left-out mixtures are predicted to {words} nats on average"
    off = confirmation.group_by("eval").agg(error.max().alias("off")).sort("eval")
    words = " and ".join(f"{row['off']:.3f} ({row['eval']})" for row in off.iter_rows(named=True))
    return f"The confirmation run is {words} nats off its prediction"
