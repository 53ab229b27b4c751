"""What a search finds against what it takes, and how the score of distractors is spread."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from itm_book.figures.style import FAINT, INK, finished, styled

SIZES = ("#0072b2", "#009e73", "#e69f00", "#d55e00")  # from small galleries to large ones
TIMES = {
    "milliseconds": "milliseconds for a sentence (median)",
    "processor_milliseconds": "milliseconds of processor time for a sentence (median)",
}


def trade_off(table: pd.DataFrame, *, recall: float = 0.98, budget: float = 200.0) -> Figure:
    """Return the share of the exact best ten over time, one line for each size of the gallery.

    Two panels: by the clock on the wall, and by the time that processors spent. Columns of the
    table: ``gallery`` and those of `search_curve.curve`. Dotted lines are the wanted ``recall``
    and the ``budget`` in milliseconds; the cross is the exact ranking of everything.
    """
    with styled():
        figure, panels = plt.subplots(1, 2, figsize=(8.2, 3.6), sharey=True)
        for axes, (column, label) in zip(panels, TIMES.items(), strict=True):
            for place, (size, rows) in enumerate(table.groupby("gallery")):
                colour = SIZES[place % len(SIZES)]
                searched = rows[rows["candidates"] < size]
                exact = rows[rows["candidates"] >= size]
                look: dict[str, Any] = {"color": colour, "label": f"{size:,} images"}
                axes.plot(searched[column], searched["recall"], "o-", ms=3.5, **look)
                axes.plot(exact[column], exact["recall"], "x", color=colour, ms=7, mew=2)
            axes.axvline(budget, color=FAINT, lw=0.9, ls=":")
            axes.axhline(recall, color=FAINT, lw=0.9, ls=":")
            axes.set(xscale="log", xlabel=label, ylim=(0, 1.02))
            axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.grid(color=FAINT, alpha=0.2)
        panels[0].set(ylabel="share of the exact best ten", title="on the wall")
        panels[1].set(title="of processors")
        lines, names = panels[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=4, fontsize=8)
        return finished(figure)


def parts(table: pd.DataFrame, *, wanted: float = 0.98) -> Figure:
    """Return what the time of a search is made of, at the fewest candidates that reach a recall.

    One bar for each gallery that reaches ``wanted``; columns as `trade_off` takes them.
    """
    searched = table[table["candidates"] < table["gallery"]]
    rows = searched[searched["recall"] >= wanted].groupby("gallery").head(1)
    named = {"first": "first stage", "read": "read regions", "rank": "fine scores"}
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 1.3 + 0.4 * max(1, len(rows))))
        for place, row in enumerate(rows.to_dict("records")):
            left = 0.0
            for colour, (column, name) in zip(SIZES, named.items(), strict=False):
                label = name if place == 0 else None
                axes.barh(place, row[column], 0.6, left=left, color=colour, label=label)
                left += row[column]
        labels = [_bar_name(row) for row in rows.to_dict("records")]
        axes.set_yticks(range(len(rows)), labels, fontsize=9)
        axes.invert_yaxis()
        axes.set(xlabel="milliseconds for a sentence (median of each part)")
        if len(rows):
            figure.legend(loc="outside lower center", ncols=3, fontsize=8)
        else:
            axes.text(0.5, 0.5, f"no gallery reached {wanted:.0%}", ha="center", color=INK)
        return finished(figure)


def _bar_name(row: Mapping[Hashable, Any]) -> str:
    return f"{row['gallery']:,} images,\n{row['candidates']:,} candidates"


def spread(scores: Mapping[str, np.ndarray]) -> Figure:
    """Return how scores of several kinds of images are spread, each as a line of shares.

    ``scores`` are arrays of any shape, by name.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 2.8))
        low = min(values.min() for values in scores.values())
        high = max(values.max() for values in scores.values())
        edges = np.linspace(low, high, 60)
        for colour, (name, values) in zip(SIZES, scores.items(), strict=False):
            shares = np.histogram(values, edges)[0] / values.size
            axes.stairs(shares, edges, color=colour, lw=1.6, label=name)
        axes.set(xlabel="score with a caption", ylabel="share of images")
        axes.legend(fontsize=8)
        return finished(figure)
