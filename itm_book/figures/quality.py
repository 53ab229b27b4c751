"""Attention quality against the threshold, and its distribution over pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.figures.style import FAINT, INK, STROKES, colour_of, finished, styled
from itm_core.evaluation.attention_measures import MULTIPLES, Quality

TITLES = ("precision", "recall", "F1")
COLUMNS = 3  # of the legend


def threshold_curves(qualities: Mapping[str, Quality]) -> Figure:
    """Return precision, recall and F1 against the threshold, one line per named method.

    The threshold is a multiple of the mean weight; the tables use one.
    """
    with styled():
        rows = math.ceil(len(qualities) / COLUMNS)
        figure, panels = plt.subplots(1, 3, figsize=(8.2, 2.9 + 0.2 * rows), sharey=True)
        used: list[str] = []
        for place, (name, quality) in enumerate(qualities.items()):
            colour = colour_of(name, place)
            style: dict[str, Any] = {"color": colour, "ls": STROKES[used.count(colour) % 4]}
            used.append(colour)
            for axes, values in zip(panels, quality.curve.T, strict=True):
                axes.plot(MULTIPLES, values, label=name, **style)
        for axes, title in zip(panels, TITLES, strict=True):
            axes.axvline(1, color=FAINT, lw=0.8, ls=":")
            axes.set(xscale="log", title=title, xlabel="threshold / mean weight")
            axes.set_xticks([0.25, 1, 4, 16], ["1/4", "1", "4", "16"])
            axes.minorticks_off()
        panels[0].set(ylabel="mean over queries", ylim=(0, 1))
        # below the panels: in one of them it would cover curves
        lines, names = panels[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=COLUMNS, fontsize=8.5)
        return finished(figure)


def distribution(table: pd.DataFrame) -> Figure | Markdown:
    """Return the distribution of attention F1 over pairs, a box per method.

    ``table`` is `SplitAttention.table`. There is a panel for words as queries and one for regions:
    the two are different measures. The box holds the middle half of the pairs, the line 90 %, the
    dot is the mean. A note instead of a figure for a dataset without word annotations.
    """
    annotated = table[table["f1"].notna()]
    if annotated.empty:
        return Markdown("*No attention F1: this dataset has no word annotations.*")
    sides = list(dict.fromkeys(annotated["queries"]))
    methods = {
        side: list(dict.fromkeys(annotated["method"][annotated["queries"] == side]))
        for side in sides
    }
    counts = [len(methods[side]) for side in sides]
    with styled():
        figure, panels = plt.subplots(
            len(sides), 1, figsize=(8.2, 0.9 + 0.3 * sum(counts) + 0.4 * len(sides)),
            squeeze=False, sharex=True, height_ratios=counts,
        )  # fmt: skip
        for axes, side in zip(panels[:, 0], sides, strict=True):
            rows = annotated[annotated["queries"] == side]
            for place, name in enumerate(methods[side]):
                _box(axes, place, 100 * rows["f1"][rows["method"] == name], colour_of(name, place))
            axes.set_yticks(range(len(methods[side])), methods[side], fontsize=9)
            axes.set(ylim=(len(methods[side]) - 0.5, -0.5), xlim=(0, 100))
            axes.set_title(f"{side} as queries", fontsize=10, loc="left")
            axes.grid(axis="x", color=FAINT, alpha=0.25)
        note = "box: middle half of the pairs; line: 90 %; dot: mean"
        panels[-1, 0].set_xlabel(f"attention F1 of a pair (percent)\n{note}")
        return finished(figure)


def _box(axes: Axes, place: int, values: pd.Series, colour: str) -> None:
    low, left, middle, right, high = np.percentile(values, [5, 25, 50, 75, 95])
    axes.plot([low, high], [place, place], color=colour, lw=1.2)
    axes.barh(place, right - left, 0.56, left=left, color=colour, alpha=0.45)
    axes.plot([middle, middle], [place - 0.28, place + 0.28], color=INK, lw=1.4)
    axes.plot(values.mean(), place, "o", color=INK, ms=4)
