"""Gains of methods with intervals, the plug-in matrix, cost, and recall curves."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from itm_book.figures.style import FAINT, INK, colour_of, colour_of_row, finished, styled
from itm_book.tables.labels import GAIN, LOSS, NO_EFFECT, UNTESTABLE

STRONG, PALE = 1.0, 0.35
OPACITY = {GAIN: STRONG, LOSS: STRONG, NO_EFFECT: PALE, UNTESTABLE: PALE}


def gains(table: pd.DataFrame, *, title: str, unit: str = "gain in rSum over the host") -> Figure:
    """Return a bar and two 95 % intervals, over images and over seeds, for every gain.

    Columns are those of `comparison.gains`; a name that occurs twice is shown with its host. Pale
    bars are not significant. Intervals over two or
    three seeds are wide and are cut at the axis limits, which bars and image intervals set.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 1.1 + 0.32 * len(table)))
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
        twice = table["name"].duplicated(keep=False)
        names = table["name"].where(~twice, table["name"] + "\nover " + table["host"])
        axes.set_yticks(range(len(table)), names)
        axes.invert_yaxis()
        axes.grid(axis="x", color=FAINT, alpha=0.25)
        note = "95 % intervals: thick over test images, thin over seeds; pale: not significant"
        axes.set(xlabel=f"{unit}\n{note}", title=title)
        return finished(figure)


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
            vmin=-reach,
            vmax=reach,
            annot=True,
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

    Dots are labelled from the best down, where a label does not overlap another.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 4.4))
        groups = list(dict.fromkeys(table["group"]))
        for row in table.to_dict("records"):
            colour = colour_of_row(row, groups)
            axes.plot([row[against]] * 2, [row["rsum_low"], row["rsum_high"]], color=colour, lw=1)
            axes.plot(row[against], row["rsum"], "o", color=colour, ms=6)
        for row in _with_room(table, against):
            axes.annotate(
                row["name"], (row[against], row["rsum"]), xytext=(6, 4),
                textcoords="offset points", fontsize=7.5,
            )  # fmt: skip
        axes.set(xscale="log", xlabel=unit, ylabel="rSum on the test split")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(color=FAINT, alpha=0.2)
        axes.margins(x=0.1)
        return finished(figure)


def _with_room(table: pd.DataFrame, against: str) -> list[dict[Hashable, Any]]:
    """Return the rows whose labels do not overlap that of a better row."""
    across, up = np.log(table[against].astype(float)), table["rsum"].astype(float)
    wide, tall = np.ptp(across) or 1.0, np.ptp(up) or 1.0
    named: list[tuple[dict[Hashable, Any], float, float]] = []
    for row in table.sort_values("rsum", ascending=False).to_dict("records"):
        x, y = np.log(row[against]) / wide, row["rsum"] / tall
        if all(abs(x - a) > 0.17 or abs(y - b) > 0.045 for _, a, b in named):
            named.append((row, x, y))
    return [row for row, _, _ in named]


def recalls(curves: dict[str, np.ndarray], *, cuts: Sequence[int] = range(1, 11)) -> Figure:
    """Return Recall@K against K for both directions, one line per method.

    ``curves[name] [2, len(cuts)]``: image to text and text to image, percent.
    """
    with styled():
        figure, panels = plt.subplots(1, 2, figsize=(8.2, 3.0), sharey=True)
        for place, (name, both) in enumerate(curves.items()):
            for axes, values in zip(panels, both, strict=True):
                axes.plot(
                    list(cuts), values, marker="o", ms=3, color=colour_of(name, place), label=name
                )
        for axes, title in zip(panels, ("image to text", "text to image"), strict=True):
            axes.set(xlabel="K", title=title, ylim=(0, 100))
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[0].set(ylabel="Recall@K (percent)")
        panels[1].legend(fontsize=8)
        return finished(figure)
