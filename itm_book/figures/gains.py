"""Gains of methods with intervals, the plug-in matrix, cost, and recall curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from itm_book.figures.dot_labels import Dot, label_dots
from itm_book.figures.style import (
    FAINT,
    INK,
    STROKES,
    colour_of_row,
    colours_of,
    finished,
    styled,
)
from itm_book.tables.labels import GAIN, LOSS, NO_EFFECT, UNTESTABLE

STRONG, PALE = 1.0, 0.35
PALER = 1.5  # the strongest colour stands for a gain that is larger by this: numbers are dark
CONTINUES = "arrowhead: the interval continues"
NAMED = 12  # dots of a chart that have their names beside them
OPACITY = {GAIN: STRONG, LOSS: STRONG, NO_EFFECT: PALE, UNTESTABLE: PALE}


def gains(
    table: pd.DataFrame,
    *,
    title: str,
    unit: str = "gain in rSum over the host",
    named_hosts: bool = False,
) -> Figure:
    """Return a bar and two 95 % intervals, over images and over seeds, for every gain.

    Columns are those of `comparison.gains`. Pale bars are not significant. Bars and image
    intervals set the axis limits. Intervals over two or three seeds are wide: an arrowhead at the
    limit says that one continues. A row with one seed has none.

    Args:
        table: a row for each gain.
        title: title of the axes.
        unit: label of the x axis.
        named_hosts: every label says over which row the gain is, as it also does where a name
            occurs twice; for tables whose rows have hosts that their names do not tell.
    """
    with styled():
        labels = _gain_labels(table, named_hosts=named_hosts)
        lines = sum(1.3 if "\n" in label else 1.0 for label in labels)
        figure, axes = plt.subplots(figsize=(8.2, 1.1 + 0.32 * lines))
        groups = list(dict.fromkeys(table["group"]))
        for place, row in enumerate(table.to_dict("records")):
            colour = colour_of_row(row, groups)
            ends = [row["seeds_low"], row["seeds_high"]]
            axes.barh(place, row["gain"], 0.6, color=colour, alpha=OPACITY[row["effect"]])
            axes.plot([row["low"], row["high"]], [place, place], color=INK, lw=2.5)
            axes.plot(ends, [place, place], color=INK, lw=0.8)
        axes.axvline(0, color=INK, lw=0.8)
        low, high = min(table["low"].min(), 0.0), max(table["high"].max(), 0.0)
        room = 0.25 * (high - low)
        axes.set_xlim(low - room, high + room)
        note = "95 % intervals: thick over test images, thin over seeds; pale: not significant"
        if _arrowheads(axes, table):
            note += f"\n{CONTINUES}"
        axes.set_yticks(range(len(table)), labels)
        axes.invert_yaxis()
        axes.grid(axis="x", color=FAINT, alpha=0.25)
        axes.set(xlabel=f"{unit}\n{note}", title=title)
        return finished(figure)


def _gain_labels(table: pd.DataFrame, *, named_hosts: bool) -> list[str]:
    """Return the names of the rows, with their hosts if asked for or if a name occurs twice."""
    if named_hosts or table["name"].duplicated().any():
        return list(table["name"] + "\nover " + table["host"])
    return list(table["name"])


def _arrowheads(axes: Axes, table: pd.DataFrame) -> int:
    """Mark where the axis limits cut an interval over seeds; return the number of marks."""
    low, high = axes.get_xlim()
    cut = [(low, place, "<") for place, end in enumerate(table["seeds_low"]) if end < low]
    cut += [(high, place, ">") for place, end in enumerate(table["seeds_high"]) if end > high]
    for limit, place, mark in cut:
        axes.plot(limit, place, mark, color=INK, ms=5, clip_on=False, zorder=3)
    return len(cut)


def heat(wide: pd.DataFrame, effects: pd.DataFrame, *, title: str, unit: str) -> Figure:
    """Return a heat map of hosts by plug-ins; cells without a run are empty.

    ``wide`` holds the gains, ``effects`` (same shape) the column ``effect`` of
    `comparison.gains`: significant gains are bold.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(1.6 + 1.1 * wide.shape[1], 1.3 + 0.42 * wide.shape[0]))
        reach = float(np.nanmax(np.abs(wide.to_numpy(float)), initial=1.0))
        sns.heatmap(
            wide.astype(float),
            ax=axes,
            cmap=sns.color_palette("vlag_r", as_cmap=True),
            center=0,
            vmin=-PALER * reach,
            vmax=PALER * reach,
            annot=True,
            annot_kws={"color": INK, "fontsize": 10.5},
            fmt="+.0f",
            linewidths=1,
            cbar_kws={"label": unit},
        )
        shown = effects.to_numpy()[~wide.isna().to_numpy()]
        for text, effect in zip(axes.texts, shown, strict=True):
            text.set_fontweight("bold" if effect in (GAIN, LOSS) else "normal")
        axes.set(xlabel="", ylabel="", title=title)
        axes.tick_params(length=0, labelrotation=0)
        return finished(figure)


def cost(table: pd.DataFrame, *, against: str = "minutes", unit: str) -> Figure:
    """Return rSum against cost, a dot for every row of `comparison.compare`.

    Up to `NAMED` dots have their names; more have numbers, from the best down, with a key.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, max(4.4, 0.9 + 0.175 * len(table))))
        groups = list(dict.fromkeys(table["group"]))
        rows = table.sort_values("rsum", ascending=False, kind="stable").to_dict("records")
        for row in rows:
            colour = colour_of_row(row, groups)
            axes.plot([row[against]] * 2, [row["rsum_low"], row["rsum_high"]], color=colour, lw=1)
            axes.plot(row[against], row["rsum"], "o", color=colour, ms=6)
        axes.set(xscale="log", xlabel=unit, ylabel="rSum on the test split")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(color=FAINT, alpha=0.2)
        axes.margins(x=0.1)
        names = [str(row["name"]) for row in rows]
        if len(rows) > NAMED:
            _key(axes, names)
            names = [str(number) for number in range(1, len(rows) + 1)]
        dots = [Dot(row[against], row["rsum"], n) for row, n in zip(rows, names, strict=True)]
        bars = [(row[against], row["rsum_low"], row["rsum_high"]) for row in rows]
        label_dots(axes, dots, bars=bars)
        return finished(figure)


def _key(axes: Axes, names: Sequence[str]) -> None:
    """Write numbered names in a column at the right of the axes."""
    for place, name in enumerate(names):
        height = 1 - place / max(len(names) - 1, 1)
        for text, across, side in ((f"{place + 1}", 1.045, "right"), (name, 1.055, "left")):
            axes.text(
                across, height, text, ha=side, va="center", fontsize=8.5, transform=axes.transAxes
            )


def recalls(curves: dict[str, np.ndarray], *, cuts: Sequence[int] = range(1, 11)) -> Figure:
    """Return Recall@K against K for both directions, a colour and a stroke for each method.

    ``curves[name] [2, len(cuts)]``: image to text and text to image, percent.
    """
    with styled():
        figure, panels = plt.subplots(1, 2, figsize=(8.2, 3.0), sharey=True)
        colours = colours_of(list(curves))
        for place, (name, both) in enumerate(curves.items()):
            style: dict[str, Any] = {"color": colours[place], "ls": STROKES[place % len(STROKES)]}
            for axes, values in zip(panels, both, strict=True):
                axes.plot(list(cuts), values, marker="o", ms=3, label=name, **style)
        for axes, title in zip(panels, ("image to text", "text to image"), strict=True):
            axes.set(xlabel="K", title=title, ylim=(0, 100))
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[0].set(ylabel="Recall@K (percent)")
        panels[1].legend(fontsize=9)
        return finished(figure)
