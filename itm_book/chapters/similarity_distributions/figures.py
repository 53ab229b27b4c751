"""Where errors come from, and who fails together.

Page: "Similarity distributions".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from itm_book.figures.style import CARD, FAINT, INK, STROKES, colour_of, finished, styled

READABLE = 6.0  # percent; a narrower part of a bar has no room for its number


def stacked(table: pd.DataFrame, *, title: str, unit: str) -> Figure:
    """Return a bar for every row of a table of percents, its columns one after the other.

    An empty table, of what a dataset does not know, makes a figure that says so.
    """
    with styled():
        if table.empty:
            return _unknown(title)
        lines = -(-len(table.columns) // 3)
        figure, axes = plt.subplots(figsize=(8.2, 1.3 + 0.32 * len(table) + 0.22 * lines))
        colours = sns.color_palette("viridis_r", len(table.columns))
        start = np.zeros(len(table))
        for colour, (name, values) in zip(colours, table.items(), strict=True):
            axes.barh(
                range(len(table)), values, 0.74, left=start, color=colour, ec=CARD, lw=0.8,
                label=str(name),
            )  # fmt: skip
            ink = "white" if sum(to_rgb(colour)) < 1.4 else INK
            for place, (left, value) in enumerate(zip(start, values, strict=True)):
                if value >= READABLE:
                    axes.text(
                        left + value / 2, place, f"{value:.0f}", ha="center", va="center",
                        fontsize=7.5, color=ink,
                    )  # fmt: skip
            start = start + values.to_numpy()
        axes.set_yticks(range(len(table)), [str(name) for name in table.index], fontsize=9)
        axes.invert_yaxis()
        axes.set(xlabel=unit, title=title, xlim=(0, max(100.0, start.max(initial=0))))
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
        return finished(figure)


def _unknown(title: str) -> Figure:
    figure, axes = plt.subplots(figsize=(8.2, 1.0))
    axes.set_axis_off()
    axes.set_title(title)
    axes.text(0.5, 0.4, "not known on this dataset", ha="center", color=FAINT)
    return finished(figure)


def agreement(kappa: pd.DataFrame, *, title: str) -> Figure:
    """Return how far methods fail on the same queries: the lower half of `margins.agreement`."""
    with styled():
        count = len(kappa)
        figure, axes = plt.subplots(figsize=(8.2, 1.9 + 0.34 * count))
        upper = np.triu(np.ones(kappa.shape, bool))
        low = kappa.iloc[1:, :-1].astype(float)
        sns.heatmap(
            low,
            mask=upper[1:, :-1],
            ax=axes,
            cmap="crest",
            vmin=0,
            vmax=max(0.6, float(np.nanmax(np.where(upper, np.nan, kappa), initial=0))),
            annot=True,
            fmt=".2f",
            annot_kws={"fontsize": 7.5},
            linewidths=1,
            cbar_kws={"label": "agreement beyond chance"},
        )
        axes.tick_params(length=0, labelsize=8.5)
        axes.set_xticklabels(axes.get_xticklabels(), rotation=40, ha="right")
        axes.set(xlabel="", ylabel="", title=title)
        return finished(figure)


def rates(panels: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Return how many percent of the queries fail against each trait, thin lines for the methods.

    ``panels`` are those of `margins.rates`; the thick line is the mean over the methods.
    """
    with styled():
        figure, grid = plt.subplots(1, len(panels), figsize=(8.2, 3.4), sharey=True, squeeze=False)
        for axes, (name, table) in zip(grid[0], panels.items(), strict=True):
            seen: list[str] = []
            for place, (method, values) in enumerate(table.items()):
                colour = colour_of(str(method), place)
                stroke = STROKES[seen.count(colour) % len(STROKES)]
                seen.append(colour)
                axes.plot(table.index, values, color=colour, ls=stroke, lw=0.9, label=str(method))
            mean = table.mean(axis=1)
            axes.plot(table.index, mean, color=INK, lw=2.6, marker="o", ms=4, label="mean")
            axes.set(xlabel=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
            axes.grid(color=FAINT, alpha=0.2)
        grid[0, 0].set(ylabel="wrong (percent of the queries)")
        figure.suptitle(title, fontsize=11, fontweight="bold")
        lines, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=4, fontsize=7)
        return finished(figure)


def together(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Return by how many methods a query is failed, beside what independent methods would give.

    ``panels`` hold `margins.together` for each named direction.
    """
    with styled():
        figure, grid = plt.subplots(1, len(panels), figsize=(8.2, 3.0), sharey=True, squeeze=False)
        for axes, (name, table) in zip(grid[0], panels.items(), strict=True):
            axes.bar(table.index, table["found"], 0.8, color="#0072b2", label="found")
            axes.plot(
                table.index, table["independent"], "o-", color="#d55e00", ms=3.5, lw=1.2,
                label="if each failed by itself",
            )  # fmt: skip
            axes.set(title=name, xlabel="methods that fail the query")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        grid[0, 0].set(ylabel="percent of the queries")
        figure.legend(
            *grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2,
            fontsize=8.5,
        )  # fmt: skip
        return finished(figure)


def ensembles(pairs: pd.DataFrame) -> Figure:
    """Return what the average of two methods gains over the better, against their agreement.

    Columns are those of `margins.pairs`; bars are 95 % intervals over images.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 3.8))
        error = np.stack([pairs["gain"] - pairs["low"], pairs["high"] - pairs["gain"]])
        level = (pairs["average"] - pairs["gain"]).to_numpy()
        axes.errorbar(
            pairs["kappa"], pairs["gain"], error, fmt="none", ecolor=FAINT, lw=0.7, zorder=1
        )
        dots = axes.scatter(pairs["kappa"], pairs["gain"], c=level, cmap="viridis", s=26, zorder=2)
        figure.colorbar(dots, ax=axes, label="rSum of the better one")
        axes.axhline(0, color=INK, lw=0.8)
        axes.set(
            xlabel="agreement of their errors beyond chance (text to image)",
            ylabel="gain in rSum over the better one",
            title="two methods, averaged",
        )
        return finished(figure)
