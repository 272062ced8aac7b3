"""How the figures look: colours, frames, headlines, token axes and labels that do not collide."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from mixing.amounts import abbreviate_amount
from mixing.atomic import replace_files
from mixing.decision.record import CurvePoint, Interval
from mixing.errors import MixlawError

Colour = tuple[float, float, float, float]
Values = Sequence[float] | pl.Series

# Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = {"general": "#0072B2", "target": "#D55E00"}
CRITICAL = "#111111"
INTERVAL = "#E0A800"
GREY = "#666666"

SCRIPTS = (
    *("Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans Devanagari"),
    *("Noto Sans Arabic", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Arial Unicode MS", "Hiragino Sans"),
    *("PingFang SC", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI"),
)
"""Fonts for names in scripts that matplotlib's own lacks, tried where they are installed."""
INSTALLED = {font.name for font in fontManager.ttflist}

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans", *(name for name in SCRIPTS if name in INSTALLED)],
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 10,
}

DIRECT_LABELS = 12
"""Lines labelled at their ends; more than this are told apart by a colour bar."""


def share_map() -> Colormap:
    """Viridis without its light end, which is too light for lines on white."""
    return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.75, 256)))


def share_colours(shares: Sequence[float]) -> dict[float, Colour]:
    """A colour for each share, dark to light: by rank where lines are labelled, so that no two look alike."""
    low, high, last = min(shares), max(shares), max(1, len(shares) - 1)
    chosen = share_map()
    if len(shares) <= DIRECT_LABELS:
        return {share: chosen(rank / last) for rank, share in enumerate(sorted(shares))}
    return {share: chosen((share - low) / (high - low)) for share in shares}


def token_axis(axes: Axes, low: float, high: float) -> None:
    """A log axis of token counts, with ticks at 1, 2 and 5."""
    axes.set_xscale("log")
    ticks = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
        if low * 0.98 <= digit * 10.0**power <= high * 1.02
    ]
    if len(ticks) < 3:
        ticks = list(np.geomspace(low, high, 3)) if high > low else [low]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([abbreviate_amount(tick) for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(low * 0.95, high * 1.05)
    axes.set_xlabel("training tokens (log scale)")


def side_by_side(panels: int) -> tuple[Figure, list[Axes]]:
    """A figure with its own canvas: nothing of pyplot's global state."""
    figure = Figure(figsize=(10, 5.6), dpi=120, layout=ConstrainedLayoutEngine())
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def title(axes: Axes, text: str) -> None:
    """A panel's title, short enough for half a figure."""
    axes.set_title(textwrap.shorten(text, 60, placeholder=" ..."), color="#333333")


def legend(figure: Figure, axes: Axes) -> None:
    """The legend of `axes` below the figure, where it hides no data."""
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(
        unique.values(),
        unique.keys(),
        loc="outside lower center",
        ncols=len(unique) if len(unique) <= 5 else (len(unique) + 1) // 2,
    )


def headline(figure: Figure, finding: str, doubt: str) -> None:
    """The finding in bold and its doubt below, above the panels."""
    first = textwrap.wrap(finding, 86) or [""]
    second = textwrap.wrap(doubt, 125)[:2]
    # Lines are as high on a low figure as on a high one.
    inch = 1 / figure.get_figheight()
    height = (0.31 * len(first) + 0.235 * len(second) + 0.14) * inch
    top = 1 - 0.085 * inch
    figure.text(0.012, top, "\n".join(first), fontsize=14, fontweight="bold", va="top")
    below = top - 0.31 * inch * len(first)
    figure.text(0.012, below, "\n".join(second), fontsize=10.5, color=GREY, va="top")
    figure.set_layout_engine(ConstrainedLayoutEngine(h_pad=0.07, rect=(0.006, 0.008, 0.988, 0.992 - height)))


def png(figure: Figure) -> bytes:
    """The figure's PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write figures by file name, all or none, and return their paths. Raises MixlawError."""
    contents = {folder / name: png(figure) for name, figure in figures.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MixlawError(
            f"{folder}: cannot be made: {error.strerror or error}", "Give a folder that can be written"
        ) from error
    replace_files(contents)
    return list(contents)


def band(axes: Axes, curve: Sequence[CurvePoint], colour: str) -> None:
    """The shaded interval of a fitted curve."""
    axes.fill_between(
        [point.x for point in curve],
        [point.low for point in curve],
        [point.high for point in curve],
        color=colour,
        alpha=0.18,
        lw=0,
    )


def dots(axes: Axes, x: Values, y: Values, colour: str, label: str) -> None:
    """Runs that a law is fitted to."""
    if len(x):
        axes.scatter(x, y, s=42, facecolor="white", edgecolor=colour, lw=1.8, zorder=4, label=label)


def stars(axes: Axes, x: Values, y: Values, label: str) -> None:
    """Runs trained to confirm a decision."""
    if len(x):
        axes.scatter(
            x, y, marker="*", s=190, facecolor=CRITICAL, edgecolor="white", lw=0.8, zorder=5, label=label
        )


def diamonds(axes: Axes, x: Values, y: Values, label: str | None) -> None:
    """Critical times."""
    axes.scatter(x, y, marker="D", s=50, color="white", edgecolor=CRITICAL, lw=1.5, zorder=5, label=label)


def error_bar(value: float, interval: Interval) -> list[list[float]]:
    """`yerr` of one point from the ends of its interval."""
    return [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]]


def label_ends(axes: Axes, ends: Mapping[float, float], colours: Mapping[float, Colour]) -> None:
    """Each share beside the height its line ends at, pushed apart where lines end together."""
    bottom, top = axes.get_ylim()
    gap = (top - bottom) * 0.045
    placed = sorted((height, share) for share, height in ends.items())
    heights: list[float] = []
    for height, _ in placed:
        heights.append(max(height, heights[-1] + gap) if heights else height)
    # Pushing up moves labels off their lines: spread it over both sides.
    shift = float(np.mean([new - old for new, (old, _) in zip(heights, placed, strict=True)]))
    for height, (_, share) in zip(heights, placed, strict=True):
        axes.annotate(
            f"{share:.3g}",
            (1.01, height - shift),
            xycoords=axes.get_yaxis_transform(),
            color=colours[share],
            va="center",
            fontweight="bold",
            fontsize=10,
            annotation_clip=False,
        )


def square(axes: Axes, points: pl.DataFrame) -> tuple[float, float]:
    """The same limits on both axes, over all values of `points`; returns them."""
    values = [
        value
        for column in ("observed", "predicted", "low", "high")
        for value in points[column]
        if value is not None
    ]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.01
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(low - pad, high + pad)
    axes.set_box_aspect(1)
    return low - pad, high + pad
