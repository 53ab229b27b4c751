"""Attention beside attributions: how far they agree, and what removing regions does to scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.chapters.does_attention_explain.agreement import (
    COPIES,
    GRADIENTS,
    LEFT_OUT,
    ORDERS,
    Looks,
)
from itm_book.chapters.does_attention_explain.tables import ANOTHER, falls
from itm_book.figures import attention_maps as looks
from itm_book.figures.style import FAINT, INK, finished, styled
from itm_book.pairs.pair_records import PairRecord

SERIES = {LEFT_OUT: "#e69f00", COPIES: "#d55e00", GRADIENTS: "#0072b2", ANOTHER: FAINT}
LINES = dict(zip(ORDERS, ("#0072b2", "#d55e00", FAINT, "#56b4e9"), strict=True))
COLUMNS = 4  # panels in a row


def agreement(table: pd.DataFrame) -> Figure:
    """Return a dot and its 95 % interval for every method and attribution.

    Columns are those of `attribution_tables.agreements`; grey is the comparison with the loss of
    another word.
    """
    methods = list(dict.fromkeys(table["method"]))
    shown = [what for what in SERIES if (table["what"] == what).any()]
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 1.5 + 0.5 * len(methods)))
        for k, what in enumerate(shown):
            part = table[table["what"] == what].set_index("method").loc[methods]
            places = [place + 0.17 * (k - (len(shown) - 1) / 2) for place in range(len(methods))]
            colour = SERIES[what]
            axes.hlines(places, part["low"], part["high"], color=colour, lw=3, alpha=0.5)
            axes.plot(part["value"], places, "o", color=colour, ms=5, label=what)
        axes.set_yticks(range(len(methods)), methods)
        axes.invert_yaxis()
        axes.axvline(0, color=INK, lw=0.8)
        axes.grid(axis="x", color=FAINT, alpha=0.25)
        note = "0: no common order, 1: the same; line: 95 % interval over test images"
        axes.set(xlabel=f"Kendall's tau of attention with an attribution, over regions\n{note}")
        figure.legend(loc="outside upper center", ncols=2, fontsize=9)
        return finished(figure)


def deletion(found: Mapping[str, Looks]) -> Figure:
    """Return a panel for each method: what is left of a score while regions go, by order.

    The unit is the lead, see `attribution_tables.falls`: at 1 the pair scores as with all
    regions, at 0 as its caption does with other images, on average.
    """
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    with styled():
        figure, grid = plt.subplots(
            rows,
            columns,
            figsize=(8.2, 0.9 + 2.1 * rows),
            squeeze=False,
            sharex=True,
            sharey="row",
        )
        for axes, (name, looks) in zip(grid.ravel(), found.items(), strict=False):
            _panel(axes, name, looks)
        for axes in grid.ravel()[len(found) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("left of the lead")
        for axes in grid[-1]:
            axes.set_xlabel("regions removed")
        lines, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside upper center", ncols=2, fontsize=9)
        return finished(figure)


def maps(found: Mapping[str, np.ndarray], record: PairRecord) -> Figure:
    """Return a row for each named map ``[L, R]`` of a pair, drawn as `looks.maps` does attention.

    ``record`` is of the pair; values below zero, where a region speaks against a word, count as
    zero.
    """
    side = record.direction("t2i")
    rows = [
        replace(record, name=name, directions=[replace(side, weights=[values.clip(0)])])
        for name, values in found.items()
    ]
    return looks.maps(rows)


def _panel(axes: Axes, name: str, looks: Looks) -> None:
    for order, fall in zip(ORDERS, falls(looks).mean(2), strict=True):
        axes.plot(looks.removed, 1 - fall, "o-", ms=2.5, lw=1.4, color=LINES[order], label=order)
    axes.axhline(0, color=INK, lw=0.6)
    axes.set_title(name, fontsize=9)
    axes.grid(color=FAINT, alpha=0.2)
