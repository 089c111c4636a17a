"""The report's figures, as SVG text that stands inside a page and fetches nothing.

Separate from `report`, which words and orders the page: here records become drawings. Matplotlib only.
"""

from __future__ import annotations

import html
import io
import re
import zlib
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, SOFT, LINE = "#22303c", "#7b8794", "#e4e7eb"
MODEL_COLOURS = ("#2563c9", "#c2571a", "#1f8a65", "#7a45b8", "#b3325f")
BASELINE_COLOURS = ("#52606d", "#8a97a5", "#b8c2cc", "#d0d7de")
# parse_math off: a "$" in a name is a dollar. fonttype none: text stays text, in the page's own font. hashsalt: the same figure gives the same bytes.
STYLE = {
    "text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "llmrec", "font.family": "sans-serif", "font.size": 9.5, "text.color": INK,
    "axes.edgecolor": LINE, "axes.labelcolor": SOFT,
    "axes.titlecolor": INK, "axes.titlesize": 10.5, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "axes.axisbelow": True,
    "xtick.color": SOFT, "ytick.color": INK, "xtick.major.size": 0, "ytick.major.size": 0, "grid.color": LINE, "grid.linewidth": 0.8,
    "legend.frameon": False, "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
}
NOTE = {"textcoords": "offset points", "fontsize": 8.5, "color": SOFT}
WIDTH = 10.0

Record = Mapping[str, object]
# A series of a line plot: (x, y) or (x, y, low, high) points.
Series = Mapping[str, Sequence[tuple]]


def colours(models: Sequence[str], baselines: Sequence[str]) -> dict[str, str]:
    """A colour for each name: models in colour, baselines in greys, the best one darkest."""
    chosen = {name: MODEL_COLOURS[i % len(MODEL_COLOURS)] for i, name in enumerate(models)}
    return chosen | {name: BASELINE_COLOURS[min(i, len(BASELINE_COLOURS) - 1)] for i, name in enumerate(baselines)}


def dots_with_whiskers(panels: Mapping[str, Sequence[Record]], order: Sequence[str], colour: Mapping[str, str]) -> str:
    """One panel for each metric, one line for each model (`order`, best first): a dot at the mean, a whisker from low to high, the figure beside it."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.75 + 0.3 * len(order)), layout="constrained")
        for axes, (metric, rows) in zip(_row_of_axes(figure, len(panels), sharey=True), panels.items(), strict=True):
            axes.set_title(metric)
            for row in rows:
                place, shade = order.index(row["model"]), colour[row["model"]]
                if row["low"] is not None:
                    axes.plot([row["low"], row["high"]], [place, place], color=shade, linewidth=2.2, solid_capstyle="round", alpha=0.45)
                axes.plot(row["mean"], place, "o", color=shade, markersize=6.5)
                axes.annotate(format_figure(row["mean"]), (1.0, place), xycoords=("axes fraction", "data"), xytext=(4, 0), va="center", **NOTE)
            axes.grid(axis="x")
            axes.locator_params(axis="x", nbins=4)
            axes.margins(x=0.08)
            axes.set_ylim(len(order) - 0.4, -0.6)
            axes.set_yticks(range(len(order)), order)
        return to_svg(figure, " and ".join(panels) + " of each model, with 95 % intervals")


def lines(panels: Mapping[str, Series], colour: Mapping[str, str], *, label: str) -> str:
    """One panel for each grouping: a line for each model over ordered words (or numbers), with whiskers where points have low and high."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        for axes, (title, series) in zip(_row_of_axes(figure, len(panels)), panels.items(), strict=True):
            axes.set_title(title)
            ticks = list(dict.fromkeys(point[0] for points in series.values() for point in points))
            words = any(isinstance(tick, str) for tick in ticks)
            for i, (name, points) in enumerate(series.items()):
                # Side by side, so that whiskers at one place can be told apart.
                shift = (i - (len(series) - 1) / 2) * 0.08 if words else 0.0
                places = [(ticks.index(point[0]) if words else point[0]) + shift for point in points]
                width, marker = (1.3, "") if len(points) > 60 else (1.8, "o")
                axes.plot(places, [point[1] for point in points], color=colour[name], linewidth=width, marker=marker, markersize=4.5, label=name)
                for place, point in zip(places, points, strict=True):
                    if len(point) == 4 and point[2] is not None:
                        axes.plot([place, place], [point[2], point[3]], color=colour[name], linewidth=1.6, alpha=0.4, solid_capstyle="round")
            if words:
                axes.set_xticks(range(len(ticks)), ticks)
            axes.grid(axis="y")
            axes.locator_params(axis="y", nbins=5)
        _legend(figure)
        return to_svg(figure, label)


def calibration(curves: Mapping[str, Sequence[Record]], colour: Mapping[str, str]) -> str:
    """One square for each model: how often yes (or the rating) came true over the probability given, dots as large as the bin is full; the diagonal is
    truth."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        most = max(bin["count"] for bins in curves.values() for bin in bins)
        for axes, (name, bins) in zip(_row_of_axes(figure, max(4, len(curves))), curves.items()):
            axes.set_title(name)
            axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.4)
            x, y = [bin["probability"] for bin in bins], [bin["share"] for bin in bins]
            axes.plot(x, y, color=colour[name], linewidth=1.2, alpha=0.6)
            axes.scatter(x, y, s=[10 + 90 * bin["count"] / most for bin in bins], color=colour[name], linewidths=0, alpha=0.85)
            axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal", xlabel="probability given", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        figure.axes[0].set_ylabel("share that came true")
        for axes in figure.axes[len(curves):]:
            axes.set_axis_off()
        return to_svg(figure, "calibration of the probabilities of " + ", ".join(curves))


def scatters(panels: Sequence[tuple[str, str, Mapping[str, tuple[float, float]]]], colour: Mapping[str, str]) -> str:
    """One panel for each (x name, y name, model -> (x, y)): a named dot for each model."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        for axes, (x_name, y_name, points) in zip(_row_of_axes(figure, len(panels)), panels, strict=True):
            left, right = min(x for x, _ in points.values()), max(x for x, _ in points.values())
            for name, (x, y) in points.items():
                axes.plot(x, y, "o", color=colour[name], markersize=7)
                # Names stand on the side where there is room.
                side = -1 if x - left > (right - left) * 0.6 else 1
                axes.annotate(name, (x, y), xytext=(7 * side, 0), ha="right" if side < 0 else "left", va="center", **NOTE)
            axes.set(xlabel=x_name, title=y_name)
            axes.margins(0.12)
            axes.grid()
            axes.locator_params(nbins=5)
        return to_svg(figure, "; ".join(f"{y_name} over {x_name}" for x_name, y_name, _ in panels))


def to_svg(figure: Figure, label: str) -> str:
    """The figure as an <svg> element for a page: without the prologue and metadata that name outside addresses, its ids its own, and with a label for those
    who listen."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg"):], flags=re.DOTALL)
    # Figures share a page: an id that stands in two of them would make one point into the other.
    mark = f"f{zlib.crc32(text.encode()):08x}"
    text = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{mark}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}-\1)", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)


def format_figure(value: float) -> str:
    """Four places for fractions, stars and losses, two for per cents and bits."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def _row_of_axes(figure: Figure, number: int, *, sharey: bool = False) -> list[Axes]:
    return list(figure.subplots(1, number, sharey=sharey, squeeze=False)[0])


def _legend(figure: Figure) -> None:
    entries = {label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels())}
    if len(entries) > 1:
        figure.legend(entries.values(), entries.keys(), loc="outside lower left", ncols=6, fontsize=8.5, labelcolor=INK, handlelength=1.4, columnspacing=1.6)
