"""Figures of scores, margins, types of errors, joint failures and ensembles of two methods.

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

from itm_book.chapters.similarity_distributions.measures import standardised_queries
from itm_book.figures.distributions import BELOW, ridges
from itm_book.figures.style import (
    CARD,
    FAINT,
    INK,
    RIGHT,
    finished,
    styled,
)
from itm_core.experiments.runs import Run

MIN_LABELLED = 6.0  # percent; narrower parts of a bar have no room for their number
DIRECTIONS = {"i2t": "image to text", "t2i": "text to image"}


def score_ridges(runs: Mapping[str, Run], direction: str) -> Figure:
    """Return the densities of every run's positive and hardest negative scores, standardised."""
    queries = {
        name: standardised_queries(run.scores, run.caption_image)[direction]
        for name, run in runs.items()
    }
    return ridges(
        {
            name: {"positive": scores.positive, "hardest negative": scores.negative}
            for name, scores in queries.items()
        },
        title=DIRECTIONS[direction],
        unit="score in standard deviations of the negative pairs, from their mean",
        colours={"positive": RIGHT, "hardest negative": BELOW},
    )


def margin_ridges(runs: Mapping[str, Run], direction: str) -> Figure:
    """Return the density of every run's standardised margins; orange below zero."""
    return ridges(
        {
            name: {"margin": standardised_queries(run.scores, run.caption_image)[direction].margin}
            for name, run in runs.items()
        },
        title=f"{DIRECTIONS[direction]}: positive minus hardest negative",
        unit="margin in standard deviations of the negative pairs",
        colours={"margin": RIGHT},
        mark=0,
    )


def stacked_bars(table: pd.DataFrame, *, title: str) -> Figure:
    """Return a stacked bar for every row of a table of percentages of a method's errors.

    An empty table (a dataset without the ground truth) gives a figure that says so.
    """
    with styled():
        if table.empty:
            return _unavailable(title)
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
                if value >= MIN_LABELLED:
                    axes.text(
                        left + value / 2, place, f"{value:.0f}", ha="center", va="center",
                        fontsize=8.5, color=ink,
                    )  # fmt: skip
            start = start + values.to_numpy()
        axes.set_yticks(range(len(table)), [str(name) for name in table.index], fontsize=9)
        axes.invert_yaxis()
        axes.set(xlabel="percent of the method's errors", title=title)
        axes.set_xlim(0, max(100.0, start.max(initial=0)))
        figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
        return finished(figure)


def _unavailable(title: str) -> Figure:
    figure, axes = plt.subplots(figsize=(8.2, 1.0))
    axes.set_axis_off()
    axes.set_title(title)
    axes.text(0.5, 0.4, "needs the ground truth of Scenes", ha="center", color=FAINT)
    return finished(figure)


def kappa_heatmap(kappa: pd.DataFrame, *, title: str) -> Figure:
    """Return a heat map of the lower triangle of `measures.failure_kappa`."""
    with styled():
        count = len(kappa)
        figure, axes = plt.subplots(figsize=(8.2, 1.9 + 0.34 * count))
        upper = np.triu(np.ones(kappa.shape, bool))
        lower = kappa.iloc[1:, :-1].astype(float)
        sns.heatmap(
            lower,
            mask=upper[1:, :-1],
            ax=axes,
            cmap="crest",
            vmin=0,
            vmax=max(0.6, float(np.nanmax(np.where(upper, np.nan, kappa), initial=0))),
            annot=True,
            fmt=".2f",
            annot_kws={"fontsize": 8.5},
            linewidths=1,
            cbar_kws={"label": "Cohen's kappa"},
        )
        axes.tick_params(length=0, labelsize=8.5)
        axes.set_xticklabels(axes.get_xticklabels(), rotation=40, ha="right")
        axes.set(xlabel="", ylabel="", title=title)
        return finished(figure)


def error_rate_curves(panels: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Return the error rate against each property of a query, of all methods and their mean.

    ``panels`` are those of `measures.error_rates`. Methods are thin and grey; those with the
    lowest and the highest mean rate in the first panel are named.
    """
    with styled():
        figure, grid = plt.subplots(1, len(panels), figsize=(8.2, 3.4), sharey=True, squeeze=False)
        rates = next(iter(panels.values())).mean()
        ends = {f"lowest: {rates.idxmin()}": rates.idxmin()}
        ends[f"highest: {rates.idxmax()}"] = rates.idxmax()
        for axes, (name, table) in zip(grid[0], panels.items(), strict=True):
            lines = axes.plot(table.index, table, color=FAINT, lw=0.8, alpha=0.6)
            lines[0].set_label("every method")
            for colour, (label, method) in zip((RIGHT, BELOW), ends.items(), strict=True):
                axes.plot(table.index, table[method], color=colour, lw=1.6, ls="--", label=label)
            mean = table.mean(axis=1)
            axes.plot(table.index, mean, color=INK, lw=2.6, marker="o", ms=4, label="mean")
            axes.set(xlabel=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
            axes.grid(color=FAINT, alpha=0.2)
        grid[0, 0].set(ylabel="failed queries (%)")
        figure.suptitle(title, fontsize=11, fontweight="bold")
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=9)
        return finished(figure)


def failure_counts(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Return bars: percentage of queries by the number of methods that fail them.

    ``panels`` hold `measures.joint_failures` by direction; the line is for independent failures.
    """
    with styled():
        figure, grid = plt.subplots(1, len(panels), figsize=(8.2, 3.0), sharey=True, squeeze=False)
        for axes, (name, table) in zip(grid[0], panels.items(), strict=True):
            axes.bar(table.index, table["observed"], 0.8, color="#0072b2", label="observed")
            axes.plot(
                table.index, table["independent"], "o-", color="#d55e00", ms=3.5, lw=1.2,
                label="independent failures",
            )  # fmt: skip
            axes.set(title=name, xlabel="number of methods that fail the query")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        grid[0, 0].set(ylabel="queries (%)")
        figure.legend(
            *grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2,
            fontsize=8.5,
        )  # fmt: skip
        return finished(figure)


def ensemble_scatter(pairs: pd.DataFrame) -> Figure:
    """Return the gain of averaging two methods over the better one, against their kappa.

    ``pairs`` are those of `measures.ensemble_gains`; bars are 95 % intervals over images.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 3.8))
        error = np.stack([pairs["gain"] - pairs["low"], pairs["high"] - pairs["gain"]])
        level = (pairs["average"] - pairs["gain"]).to_numpy()
        axes.errorbar(
            pairs["kappa"], pairs["gain"], error, fmt="none", ecolor=FAINT, lw=0.7, zorder=1
        )
        dots = axes.scatter(pairs["kappa"], pairs["gain"], c=level, cmap="viridis", s=26, zorder=2)
        figure.colorbar(dots, ax=axes, label="rSum of the better method")
        axes.axhline(0, color=INK, lw=0.8)
        axes.set(
            xlabel="Cohen's kappa of their failures (text to image)",
            ylabel="gain in rSum over the better method",
            title="averages of two methods",
        )
        return finished(figure)
