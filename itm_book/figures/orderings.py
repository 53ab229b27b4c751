"""Two measures of the same methods against each other.

Page: "Real photographs".
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from itm_book.figures.style import FAINT, colour_of_row, finished, styled

APART = 0.052  # of the height, between two names


def scatter(pairs: pd.DataFrame, *, title: str, across: str, up: str) -> Figure:
    """Return a dot with both 95 % intervals for every row of `tables.orderings.paired`.

    Names are in a column at the right, in the order of ``y``, so that they do not overlap.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, max(3.6, 1.0 + 0.3 * len(pairs))))
        groups = list(dict.fromkeys(pairs["group"]))
        rows = pairs.sort_values("y").to_dict("records")
        colours = [colour_of_row(row, groups) for row in rows]
        for row, colour in zip(rows, colours, strict=True):  # published numbers have no interval
            axes.plot([row["x_low"], row["x_high"]], [row["y"]] * 2, color=colour, lw=1, alpha=0.6)
            axes.plot([row["x"]] * 2, [row["y_low"], row["y_high"]], color=colour, lw=1, alpha=0.6)
            axes.plot(row["x"], row["y"], "o", color=colour, ms=6)
        bottom, top = axes.get_ylim()
        heights = _spaced((np.array([row["y"] for row in rows]) - bottom) / (top - bottom))
        for row, colour, height in zip(rows, colours, heights, strict=True):
            axes.annotate(
                row["name"], (row["x"], row["y"]), xytext=(1.03, height),
                textcoords="axes fraction", va="center", fontsize=8.5, color=colour,
                arrowprops={"arrowstyle": "-", "lw": 0.5, "color": FAINT, "relpos": (0, 0.5)},
            )  # fmt: skip
        axes.set(xlabel=f"{across}\nlines: 95 % intervals over test images", ylabel=up, title=title)
        axes.grid(color=FAINT, alpha=0.2)
        return finished(figure)


def _spaced(wanted: np.ndarray) -> np.ndarray:
    """Return ascending heights at least `APART`, near the wanted ones, in [0, 1] if they fit."""
    step = min(APART, 1 / max(len(wanted) - 1, 1))
    heights = wanted.copy()
    for k in range(1, len(heights)):
        heights[k] = max(heights[k], heights[k - 1] + step)
    for k in range(len(heights) - 1, -1, -1):
        limit = 1.0 if k == len(heights) - 1 else heights[k + 1] - step
        heights[k] = min(heights[k], limit)
    return heights
