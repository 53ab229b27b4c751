"""The same seed under several ways of rounding: a dot for every training."""

from __future__ import annotations

from collections.abc import Hashable

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.figures.style import FAINT, INK, colour_of, finished, styled
from itm_book.records.rounding import REFERENCE

MARKS = ("o", "s", "^", "D", "v", "P", "X")  # one for each rounding variant


def dots(rows: pd.DataFrame) -> Figure:
    """Return the rSum of every training: a panel for each recipe, a line for each seed.

    ``rows`` as `rounding.read` gives them, without changes. The mark tells the rounding variant;
    a bar joins the lowest and the highest rSum of a seed, a dash marks their mean.
    """
    variants = sorted(rows["variant"].unique(), key=lambda name: (name != REFERENCE, name))
    recipes = list(dict.fromkeys(rows["recipe"]))
    with styled():
        figure, grid = plt.subplots(
            1, len(recipes), figsize=(8.2, 1.3 + 0.36 * rows["seed"].nunique()), squeeze=False
        )
        for axes, recipe in zip(grid[0], recipes, strict=True):
            _panel(axes, rows[rows["recipe"] == recipe], variants, colour_of(recipe))
            axes.set_title(recipe, fontsize=10)
        marks = [
            plt.Line2D([], [], marker=mark, ls="", color=INK, ms=5)
            for _, mark in zip(variants, MARKS, strict=False)
        ]
        figure.legend(
            marks, variants, loc="outside lower center", ncols=len(variants), fontsize=8.5
        )
        return finished(figure)


def _panel(axes: Axes, rows: pd.DataFrame, variants: list[Hashable], colour: str) -> None:
    seeds = sorted(rows["seed"].unique())
    for place, seed in enumerate(seeds):
        own = rows[rows["seed"] == seed]
        low, high, mean = own["rsum"].min(), own["rsum"].max(), own["rsum"].mean()
        axes.plot([low, high], [place, place], color=FAINT, lw=1.5, zorder=1)
        axes.plot(mean, place, "|", color=INK, ms=14, zorder=1)
        for row in own.to_dict("records"):
            mark = MARKS[variants.index(row["variant"]) % len(MARKS)]
            axes.plot(row["rsum"], place, mark, color=colour, ms=5.5, alpha=0.85)
    axes.set_yticks(range(len(seeds)), [f"seed {seed}" for seed in seeds])
    axes.set(ylim=(len(seeds) - 0.5, -0.5), xlabel="rSum")
    axes.grid(axis="x", color=FAINT, alpha=0.25)
